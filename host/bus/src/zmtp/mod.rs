//! ZMTP 3 as far as this crate reads and writes it itself: for what comes
//! through the door, before the `zeromq` crate sees it, and for a peer's own
//! connection, whose server is no more trusted than a client is.
//!
//! Framing: <https://rfc.zeromq.org/spec/23/>.

mod codec;
mod handshake;
mod scan;

pub(crate) use codec::{Decoded, Decoder, Encoder, Frames};
pub(crate) use handshake::{GREETING, HandshakeError, greet, greeting, shake};
pub(crate) use scan::{Command, LEFT_OUT, Limits, Scanner, Step, Violation, pong};
