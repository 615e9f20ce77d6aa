//! ZeroMQ messages to frames and back.

use std::{iter, time::Duration};

use bytes::Bytes;
use hulynet_backrpc::Message;
use hulynet_protocol::{
    Call, ErrorKind, Frame, FrameError, NetworkError,
    frame::{MAGIC, VERSION, check_payload},
};
use zeromq::ZmqMessage;

use crate::account;

#[cfg(test)]
thread_local! {
    /// How many messages this thread encoded.
    pub(crate) static ENCODED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// An encoded message, made on the thread of its author.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    header: Bytes,
    payload: Bytes,
}

/// An encoded request that has no number yet.
#[derive(Debug)]
pub(crate) struct Draft {
    header: Vec<u8>,
    payload: Bytes,
}

impl Draft {
    /// Encodes; refuses what is over a limit. `left` is sent in whole
    /// milliseconds, rounded up: the other side gives up after its caller.
    pub(crate) fn new(call: Call, payload: Bytes, left: Duration) -> Result<Self, NetworkError> {
        check_payload(&payload).map_err(refuse)?;
        let deadline_ms = left.as_nanos().div_ceil(1_000_000).max(1);
        let deadline_ms = u32::try_from(deadline_ms).unwrap_or(u32::MAX);
        let frame = Frame::Request { id: 0, acknowledged: 0, deadline_ms, call };
        Ok(Self { header: frame.encode_mut().map_err(refuse)?, payload })
    }

    pub(crate) fn cost(&self) -> usize {
        cost(self.header.len(), self.payload.len())
    }

    pub(crate) fn number(mut self, id: u64, acknowledged: u64) -> Outgoing {
        Frame::number(&mut self.header, id, acknowledged);
        Outgoing { header: self.header.into(), payload: self.payload }
    }
}

fn cost(header: usize, payload: usize) -> usize {
    let payload = if payload == 0 { 0 } else { on_the_wire(payload) };
    on_the_wire(header) + payload + account::MESSAGE
}

impl Outgoing {
    /// Encodes; refuses what is over a limit.
    pub(crate) fn new(frame: &Frame, payload: Bytes) -> Result<Self, NetworkError> {
        #[cfg(test)]
        ENCODED.set(ENCODED.get() + 1);
        check_payload(&payload).map_err(refuse)?;
        Ok(Self { header: frame.encode().map_err(refuse)?, payload })
    }

    /// What it costs in the queues; the door counts the same from the wire.
    pub(crate) fn cost(&self) -> usize {
        cost(self.header.len(), self.payload.len())
    }

    /// The message for a ROUTER, with the peer's routing id.
    pub(crate) fn into_message(self, route: Bytes) -> ZmqMessage {
        let mut message = ZmqMessage::from(self.header);
        if !self.payload.is_empty() {
            message.push_back(self.payload);
        }
        message.push_front(route);
        message
    }

    /// Its header and payload.
    pub(crate) fn into_frames(self) -> (Bytes, Bytes) {
        (self.header, self.payload)
    }
}

/// What a message in the language of the original costs in the queues.
pub(crate) fn original_cost(message: &Message) -> usize {
    let Message { operation, id, body } = message;
    let lengths = [operation.frame().len(), id.as_str().len(), body.len()];
    lengths.map(on_the_wire).iter().sum::<usize>() + account::MESSAGE
}

/// The same message for a ROUTER, with the peer's routing id. It has three
/// frames, empty or not.
pub(crate) fn original_message(message: &Message, route: Bytes) -> ZmqMessage {
    let mut whole = ZmqMessage::from(route);
    message.frames().into_iter().for_each(|frame| whole.push_back(frame));
    whole
}

/// The length of a ZMTP frame with its own header.
fn on_the_wire(length: usize) -> usize {
    length + if length > 255 { 9 } else { 2 }
}

fn refuse(error: FrameError) -> NetworkError {
    let kind = match error {
        FrameError::HeaderTooLarge(_) | FrameError::PayloadTooLarge(_) => ErrorKind::TooLarge,
        _ => ErrorKind::Internal,
    };
    NetworkError::refused(kind, error.to_string())
}

/// A message in one of the languages of the port.
#[derive(Debug)]
pub(crate) enum Language {
    /// The native one.
    Native(Frame, Bytes),
    /// The original's: an operation as an ASCII digit, an id, then JSON.
    Original(Message),
}

/// Reads a message (without routing id) that nobody has checked.
pub(crate) fn read(mut frames: impl Iterator<Item = Bytes>) -> Result<Language, FrameError> {
    let header = frames.next().ok_or(FrameError::Empty)?;
    match header.first() {
        None => Err(FrameError::Empty),
        Some(b'0'..=b'9') => Message::read(iter::once(header).chain(frames))
            .map(Language::Original)
            .map_err(|error| FrameError::Malformed(error.to_string())),
        Some(&MAGIC) => {
            let payload = frames.next().unwrap_or_default();
            check_payload(&payload)?;
            if frames.next().is_some() {
                return Err(FrameError::Malformed("a third frame follows".to_owned()));
            }
            Ok(Language::Native(Frame::decode(&header)?, payload))
        }
        Some(&other) => Err(FrameError::Language(other)),
    }
}

/// The refusal of a peer whose introduction cannot be understood. `ours` and
/// `theirs` name the sides for whoever reads it.
pub(crate) fn foreign(
    ours: &str,
    theirs: &str,
    version: u16,
    problem: Option<&str>,
) -> NetworkError {
    let remedy = "run the same release of hulynet on both sides";
    let message = match problem {
        Some(problem) if version == VERSION => format!(
            "{ours} and {theirs} both name version {VERSION} of the protocol and mean different \
             ones ({problem}); {remedy}"
        ),
        _ => format!(
            "{ours} speaks version {VERSION} of the protocol and {theirs} version {version}; {remedy}"
        ),
    };
    NetworkError::refused(ErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_the_language() {
        let native = Frame::AskHello.encode().unwrap();
        let read = |frames: Vec<Bytes>| read(frames.into_iter());
        assert!(matches!(read(vec![native.clone()]), Ok(Language::Native(Frame::AskHello, _))));
        assert!(matches!(read(vec![Bytes::from_static(b"5")]), Ok(Language::Original(_))));
        assert!(matches!(read(vec![Bytes::from_static(b"55")]), Err(FrameError::Malformed(_))));
        assert!(matches!(read(vec![Bytes::from_static(b"x")]), Err(FrameError::Language(b'x'))));
        assert!(matches!(read(vec![Bytes::new()]), Err(FrameError::Empty)));
        assert!(matches!(read(vec![]), Err(FrameError::Empty)));
        assert!(matches!(
            read(vec![native, Bytes::new(), Bytes::new()]),
            Err(FrameError::Malformed(_))
        ));
    }
}
