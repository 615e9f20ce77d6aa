//! Whole messages from and to bytes, for a socket with one connection.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::scan::{Command, Header, Limits, Violation, long, pong};

/// The most frames in one message that is read.
const FRAMES: usize = 4;

/// The frames of one message.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    frames: [Bytes; FRAMES],
    count: usize,
}

impl Frames {
    fn push(&mut self, frame: Bytes) -> Result<(), Violation> {
        let place = self.frames.get_mut(self.count).ok_or(Violation::Frames(FRAMES))?;
        *place = frame;
        self.count += 1;
        Ok(())
    }
}

impl IntoIterator for Frames {
    type Item = Bytes;
    type IntoIter = std::iter::Take<std::array::IntoIter<Bytes, FRAMES>>;

    fn into_iter(self) -> Self::IntoIter {
        self.frames.into_iter().take(self.count)
    }
}

/// What the front of the input was.
#[derive(Debug)]
pub(crate) enum Decoded {
    Message(Frames),
    Command(Command),
}

/// Reads messages and commands, none over its limits.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    message: Frames,
}

impl Decoder {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, message: Frames::default() }
    }

    /// The bytes of a message whose end did not come yet, but for those that are
    /// still in the input.
    pub(crate) fn unfinished(&self) -> usize {
        self.message.frames.iter().map(Bytes::len).sum()
    }

    /// Takes the next message or command off the input; `None` when there is
    /// no whole one. The frames share the input's memory.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Decoded>, Violation> {
        loop {
            let Some(header) = Header::read(input)? else { return Ok(None) };
            let within = self.message.count > 0;
            if header.is_command {
                let Some((length, command)) = header.command(input, within)? else {
                    return Ok(None);
                };
                input.advance(length);
                return Ok(Some(Decoded::Command(command)));
            }
            let length = header.check(within, &self.limits)?;
            let whole = header.size + length;
            if input.len() < whole {
                // One allocation for a large frame; its limit bounds it.
                input.reserve(whole - input.len());
                return Ok(None);
            }
            let mut frame = input.split_to(whole);
            frame.advance(header.size);
            self.message.push(frame.freeze())?;
            if !header.more {
                return Ok(Some(Decoded::Message(std::mem::take(&mut self.message))));
            }
        }
    }
}

/// Frames up to this length are copied next to one another, so that many small
/// messages leave in one piece; longer ones leave from where they are.
const COPIED: usize = 2048;

/// Collects what is to be written.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Before the tail.
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Encoder {
    pub(crate) fn message(&mut self, header: Bytes, payload: Bytes) {
        let more = !payload.is_empty();
        self.frame(header, more);
        if more {
            self.frame(payload, false);
        }
    }

    /// A message of frames, each of which may be empty.
    pub(crate) fn frames<const N: usize>(&mut self, frames: [Bytes; N]) {
        for (place, frame) in frames.into_iter().enumerate() {
            self.frame(frame, place + 1 < N);
        }
    }

    pub(crate) fn pong(&mut self, context: &[u8]) {
        let pong = pong(context);
        self.length += pong.len();
        self.tail.extend_from_slice(&pong);
    }

    fn frame(&mut self, body: Bytes, more: bool) {
        let before = self.tail.len();
        let more = u8::from(more);
        match u8::try_from(body.len()) {
            Ok(length) => self.tail.extend_from_slice(&[more, length]),
            Err(_) => {
                self.tail.put_u8(long(more));
                self.tail.put_u64(body.len() as u64);
            }
        }
        self.length += self.tail.len() - before + body.len();
        if body.len() <= COPIED {
            self.tail.extend_from_slice(&body);
        } else {
            self.pieces.push_back(self.tail.split().freeze());
            self.pieces.push_back(body);
        }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// What to write next, as many pieces as fit; how many there are.
    pub(crate) fn slices<'bytes>(&'bytes self, into: &mut [IoSlice<'bytes>]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let pieces = self.pieces.iter().map(|piece| &piece[..]).chain(tail);
        into.iter_mut().zip(pieces).map(|(place, piece)| *place = IoSlice::new(piece)).count()
    }

    /// So many bytes were written.
    pub(crate) fn written(&mut self, mut count: usize) {
        self.length -= count;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
        self.tail.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { first_frame: 10_000, frame: 20_000, frames: 4, left_out: 0 };

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Vec<Bytes>>, Violation> {
        let (mut decoder, mut input) = (Decoder::new(LIMITS), BytesMut::new());
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            while let Some(decoded) = decoder.next(&mut input)? {
                if let Decoded::Message(frames) = decoded {
                    messages.push(frames.into_iter().collect());
                }
            }
        }
        Ok(messages)
    }

    /// Writes as a slow socket would, so many bytes at a time.
    fn drain(encoder: &mut Encoder, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while encoder.len() > 0 {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = encoder.slices(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            let some = bytes.len().min(step);
            written.extend_from_slice(&bytes[..some]);
            encoder.written(some);
        }
        written
    }

    #[test]
    fn a_giant_length_allocates_nothing() {
        let giant = [&[2u8][..], &(64u64 << 30).to_be_bytes()].concat();
        let refused = Violation::Length { length: 64 << 30, limit: 10_000 };
        assert_eq!(decode(&giant, 9).unwrap_err(), refused);
        let more = [1, 0, 1, 0, 1, 0, 1, 0, 0, 0];
        assert_eq!(decode(&more, 10).unwrap_err(), Violation::Frames(4));
    }

    #[test]
    fn empty_frames_are_frames() {
        let mut encoder = Encoder::default();
        encoder.frames([Bytes::from_static(b"5"), Bytes::new(), Bytes::new()]);
        let bytes = drain(&mut encoder, 100);
        assert_eq!(bytes, [1, 1, b'5', 1, 0, 0, 0]);
        assert_eq!(
            decode(&bytes, 2).unwrap(),
            [vec![Bytes::from_static(b"5"), Bytes::new(), Bytes::new()]]
        );
    }

    #[test]
    fn short_messages_leave_in_one_piece_and_long_payloads_from_where_they_are() {
        let mut encoder = Encoder::default();
        let short = Bytes::from_static(b"short");
        for _ in 0..100 {
            encoder.message(short.clone(), short.clone());
        }
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(encoder.slices(&mut slices), 1);
        let long = Bytes::from(vec![7; COPIED + 1]);
        encoder.message(short.clone(), long.clone());
        encoder.message(short.clone(), short);
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(encoder.slices(&mut slices), 3);
        assert_eq!(slices[1].as_ptr(), long.as_ptr());
    }

    #[test]
    fn frames_share_the_memory_into_which_they_were_read() {
        let (mut decoder, mut input) = (Decoder::new(LIMITS), BytesMut::new());
        input.extend_from_slice(&[1, 1, b'a', 0, 3, b'x', b'y', b'z']);
        let read = input.as_ptr();
        let Ok(Some(Decoded::Message(frames))) = decoder.next(&mut input) else { panic!() };
        let frames: Vec<Bytes> = frames.into_iter().collect();
        assert_eq!(frames, ["a", "xyz"]);
        assert_eq!(frames[1].as_ptr(), read.wrapping_add(5));
    }

    #[test]
    fn what_has_not_ended_is_counted() {
        let (mut decoder, mut input) = (Decoder::new(LIMITS), BytesMut::new());
        input.extend_from_slice(&[1, 3, b'a', b'b', b'c', 0, 2, b'd']);
        assert!(decoder.next(&mut input).unwrap().is_none());
        assert_eq!((decoder.unfinished(), input.len()), (3, 3));
        input.extend_from_slice(b"e");
        assert!(decoder.next(&mut input).unwrap().is_some());
        assert_eq!((decoder.unfinished(), input.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn messages_survive_any_pieces(
            messages in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..400), 0usize..5000),
                1..8,
            ),
            step in 1usize..6000,
        ) {
            let mut encoder = Encoder::default();
            let messages: Vec<(Bytes, Bytes)> = messages
                .into_iter()
                .map(|(header, payload)| (header.into(), vec![7; payload].into()))
                .collect();
            for (header, payload) in &messages {
                encoder.message(header.clone(), payload.clone());
                encoder.pong(b"x");
            }
            let bytes = drain(&mut encoder, step);
            let expected: Vec<Vec<Bytes>> = messages
                .into_iter()
                .map(|(header, payload)| {
                    [header, payload].into_iter().filter(|frame| !frame.is_empty()).collect()
                })
                .collect();
            prop_assert_eq!(decode(&bytes, step).unwrap(), expected);
        }

        #[test]
        fn any_bytes_end_the_same_in_any_pieces(
            input in prop::collection::vec(0u8..8, 0..200),
            piece in 1usize..50,
        ) {
            prop_assert_eq!(decode(&input, piece), decode(&input, input.len().max(1)));
        }
    }
}
