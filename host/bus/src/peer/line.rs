//! The connection of a peer: a DEALER's end of ZMTP over TCP.
//!
//! The server is as little trusted as a client is: lengths that it announces
//! are checked before anything is reserved for them. The `zeromq` crate
//! believes them, so it is not used on this side; and since a peer has exactly
//! one connection, all that a DEALER needs is to read and write frames in
//! order.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use bytes::BytesMut;
use hulynet_backrpc::Message;
use hulynet_protocol::limits;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use super::dial::DialError;
use crate::{
    account,
    wire::Outgoing,
    zmtp::{Command, Decoded, Decoder, Encoder, Frames, HandshakeError, Limits, Violation, greet},
};

/// Longer than a handshake takes, shorter than people wait.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// Pieces that leave in one system call.
const PIECES: usize = 64;

/// A server that takes nothing for so long is lost.
const STALL: Duration = Duration::from_secs(10);

/// What a server may send in the native language.
pub(super) const NATIVE: Limits = Limits {
    first_frame: limits::HEADER_BYTES as u64,
    frame: limits::PAYLOAD_BYTES as u64,
    frames: 4,
    left_out: 0,
};

/// What one may send in the language of the original: the first frame is one
/// digit.
pub(crate) const ORIGINAL: Limits = Limits { first_frame: 255, ..NATIVE };

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("it sent {0}")]
    Hostile(#[from] Violation),
    #[error("it takes nothing any more")]
    Stalled,
}

/// An open connection after its handshake.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
    output: Encoder,
    /// When the server took something last, or had nothing to take.
    taken: Instant,
}

impl Line {
    /// Does the handshake on a new connection to a server that may send so much.
    pub(super) async fn open(mut stream: TcpStream, limits: Limits) -> Result<Self, DialError> {
        stream.set_nodelay(true)?;
        let mut input = BytesMut::with_capacity(BUFFER);
        let greeted = timeout(TIMEOUT, greet(&mut stream, &mut input)).await;
        let greeted =
            greeted.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        greeted.map_err(|error: HandshakeError| {
            let why = if error.is_hang_up() && input.is_empty() {
                "it closes the connection without a word: it has too many, or accepts none from here"
                    .to_owned()
            } else {
                format!("it does not answer as a server: {error}")
            };
            DialError { why, refused: false }
        })?;
        let (decoder, output) = (Decoder::new(limits), Encoder::default());
        Ok(Self { stream, input, decoder, output, taken: Instant::now() })
    }

    /// Ends when something was read, or when there is room for what waits to be
    /// written; safe to drop.
    pub(crate) async fn receive(&mut self) -> Result<(), LineError> {
        if self.input.capacity() - self.input.len() < BUFFER / 4 {
            self.input.reserve(BUFFER);
        }
        let waits = self.output.len() > 0;
        let stalled = self.taken + STALL;
        let (mut read, write) = self.stream.split();
        tokio::select! {
            read = read.read_buf(&mut self.input) => match read? {
                0 => Err(LineError::Closed),
                _ => Ok(()),
            },
            writable = write.writable(), if waits => Ok(writable?),
            () = sleep_until(stalled), if waits => Err(LineError::Stalled),
        }
    }

    /// The next message that was read.
    pub(crate) fn next(&mut self) -> Result<Option<Frames>, LineError> {
        while let Some(decoded) = self.decoder.next(&mut self.input)? {
            match decoded {
                Decoded::Message(frames) => return Ok(Some(frames)),
                Decoded::Command(Command::Ping(context)) => self.output.pong(&context),
                Decoded::Command(Command::Other) => {}
            }
        }
        Ok(None)
    }

    /// The bytes of a message whose end did not come yet.
    pub(crate) fn unfinished(&self) -> usize {
        self.input.len() + self.decoder.unfinished()
    }

    /// Queues a message; [`Self::flush`] sends it.
    pub(super) fn post(&mut self, message: Outgoing) -> Result<(), LineError> {
        let (header, payload) = message.into_frames();
        self.queue(|output| output.message(header, payload))
    }

    /// The same in the language of the original.
    pub(crate) fn post_original(&mut self, message: &Message) -> Result<(), LineError> {
        self.queue(|output| output.frames(message.frames()))
    }

    fn queue(&mut self, message: impl FnOnce(&mut Encoder)) -> Result<(), LineError> {
        if self.output.len() == 0 {
            self.taken = Instant::now();
        }
        message(&mut self.output);
        if self.output.len() > account::DISCONNECT { Err(LineError::Stalled) } else { Ok(()) }
    }

    /// Writes as much as the connection takes now.
    pub(crate) fn flush(&mut self) -> Result<(), LineError> {
        while self.output.len() > 0 {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let count = self.output.slices(&mut slices);
            match self.stream.try_write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(written) => {
                    self.output.written(written);
                    self.taken = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
