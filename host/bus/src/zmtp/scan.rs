//! Reads ZMTP 3 framing as it streams by, without buffering frames. A frame is a byte of flags, a
//! length of one byte or eight, and its body.

use bytes::Bytes;

/// The largest command, in bytes. READY carries a socket type and an identity
/// of at most 255 bytes; PING a context of at most 16.
const COMMAND: u64 = 1024;

const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
const IS_COMMAND: u8 = 0b100;

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) first_frame: u64,
    pub(crate) frame: u64,
    pub(crate) frames: usize,
    /// From the third frame of a message on, one over `frame` is left out up to
    /// this length instead of refused. 0 where nothing is.
    pub(crate) left_out: u64,
}

impl Limits {
    /// For what our own socket sends.
    pub(crate) const NONE: Self =
        Self { first_frame: u64::MAX, frame: u64::MAX, frames: usize::MAX, left_out: 0 };
}

/// What stands in the place of a frame that was left out. No language of the
/// port says this.
pub(crate) const LEFT_OUT: &[u8; 1] = b"\0";

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a frame header with the unknown flags {0:#010b}")]
    Flags(u8),
    #[error("a frame of {length} bytes is announced; at most {limit} are allowed")]
    Length { length: u64, limit: u64 },
    #[error("a message of more than {0} frames")]
    Frames(usize),
    #[error("a command within a message")]
    Misplaced,
    #[error("a command that is not well-formed")]
    Command,
}

/// What the front of the input is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes may pass as they are.
    Pass(usize),
    /// So many bytes do not pass; instead of the header of their frame, if it
    /// is among them, this does.
    LeaveOut(usize, Option<[u8; 3]>),
    /// A whole command of so many bytes with its body.
    Command(usize, Command),
    /// More bytes are needed to tell.
    Starved,
}

/// A command between messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The peer wants this echoed.
    Ping(Bytes),
    /// Any other.
    Other,
}

/// The place in a stream of frames. Feed [`Self::step`] with the input from
/// where the former step ended.
#[derive(Debug)]
pub(crate) struct Scanner {
    limits: Limits,
    /// What is left of the current body.
    body: u64,
    /// It does not pass.
    is_left_out: bool,
    /// Frames of the current message so far.
    frames: usize,
    more: bool,
    /// Bytes of the current message so far.
    passed: usize,
    /// Messages whose last frame has begun.
    messages: usize,
}

impl Scanner {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, body: 0, is_left_out: false, frames: 0, more: false, passed: 0, messages: 0 }
    }

    /// Whether a command may be put in here.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.body == 0 && !self.more
    }

    /// Other limits from here on.
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of the message that has not ended.
    pub(crate) fn unfinished(&self) -> usize {
        if self.is_between_messages() { 0 } else { self.passed }
    }

    /// How many messages passed since the last time that this was asked.
    pub(crate) fn take_messages(&mut self) -> usize {
        std::mem::take(&mut self.messages)
    }

    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, Violation> {
        if self.body > 0 {
            return Ok(match self.take_body(input.len()) {
                0 => Step::Starved,
                length if self.is_left_out => Step::LeaveOut(length, None),
                length => Step::Pass(length),
            });
        }
        let Some(header) = Header::read(input)? else { return Ok(Step::Starved) };
        if header.is_command {
            let command = header.command(input, self.more)?;
            return Ok(
                command.map_or(Step::Starved, |(size, command)| Step::Command(size, command))
            );
        }
        if !self.more {
            (self.frames, self.passed) = (0, 0);
        }
        self.is_left_out = self.frames >= 2
            && header.length > self.limits.frame
            && header.length <= self.limits.left_out;
        if !self.is_left_out {
            header.check(self.more, &self.limits)?;
        }
        self.frames += 1;
        if self.frames > self.limits.frames {
            return Err(Violation::Frames(self.limits.frames));
        }
        self.more = header.more;
        self.messages += usize::from(!header.more);
        self.body = header.length;
        let used = header.size + self.take_body(input.len() - header.size);
        if self.is_left_out {
            let &[instead] = LEFT_OUT;
            let header = [if header.more { MORE } else { 0 }, 1, instead];
            return Ok(Step::LeaveOut(used, Some(header)));
        }
        Ok(Step::Pass(used))
    }

    fn take_body(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.body).map_or(available, |body| body.min(available));
        self.body -= taken as u64;
        if !self.is_left_out {
            self.passed += taken;
        }
        taken
    }
}

/// The PONG that answers a PING.
pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    command(&[b"\x04PONG", context].concat())
}

/// The flags of a frame whose length takes eight bytes.
pub(crate) fn long(flags: u8) -> u8 {
    flags | LONG
}

/// A command frame around a body.
pub(crate) fn command(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(length) => frame.extend([IS_COMMAND, length]),
        Err(_) => {
            frame.push(IS_COMMAND | LONG);
            frame.extend((body.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(body);
    frame
}

/// The header of one frame.
#[derive(Debug)]
pub(crate) struct Header {
    /// Its own size in bytes.
    pub(crate) size: usize,
    /// The length of the body.
    pub(crate) length: u64,
    pub(crate) is_command: bool,
    pub(crate) more: bool,
}

impl Header {
    /// `None` when it is not there as a whole.
    pub(crate) fn read(input: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&flags, rest)) = input.split_first() else { return Ok(None) };
        if flags & !(MORE | LONG | IS_COMMAND) != 0 {
            return Err(Violation::Flags(flags));
        }
        let (size, length) = if flags & LONG == 0 {
            let Some(&length) = rest.first() else { return Ok(None) };
            (2, u64::from(length))
        } else {
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (9, u64::from_be_bytes(*length))
        };
        let (is_command, more) = (flags & IS_COMMAND != 0, flags & MORE != 0);
        Ok(Some(Self { size, length, is_command, more }))
    }

    /// The length of a message's frame, checked.
    pub(crate) fn check(&self, within: bool, limits: &Limits) -> Result<usize, Violation> {
        let limit = if within { limits.frame } else { limits.first_frame };
        let refused = Violation::Length { length: self.length, limit };
        if self.length > limit {
            return Err(refused);
        }
        usize::try_from(self.length).map_err(|_| refused)
    }

    /// The command that the input begins with and its size, `None` when it is
    /// not there as a whole.
    pub(crate) fn command(
        &self,
        input: &[u8],
        within: bool,
    ) -> Result<Option<(usize, Command)>, Violation> {
        if within || self.more {
            return Err(Violation::Misplaced);
        }
        let Some(body) = self.body(input)? else { return Ok(None) };
        let command = match body.strip_prefix(b"\x04PING") {
            // The context follows a time to live of two bytes.
            Some(rest) => match rest.get(2..) {
                Some(context) if context.len() <= 16 => {
                    Command::Ping(Bytes::copy_from_slice(context))
                }
                _ => return Err(Violation::Command),
            },
            None => Command::Other,
        };
        Ok(Some((self.size + body.len(), command)))
    }

    /// The body of a command, `None` when it is not there as a whole.
    pub(crate) fn body<'input>(
        &self,
        input: &'input [u8],
    ) -> Result<Option<&'input [u8]>, Violation> {
        if self.length > COMMAND {
            return Err(Violation::Length { length: self.length, limit: COMMAND });
        }
        let length = usize::try_from(self.length).map_err(|_| Violation::Command)?;
        Ok(input.get(self.size..self.size + length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { first_frame: 300, frame: 20, frames: 2, left_out: 0 };

    /// Feeds `input` in pieces; gives what passed and the contexts of pings.
    fn scan(input: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<Bytes>), Violation> {
        scan_within(LIMITS, input, piece)
    }

    fn scan_within(
        limits: Limits,
        input: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Vec<Bytes>), Violation> {
        let (mut scanner, mut buffer) = (Scanner::new(limits), Vec::new());
        let (mut passed, mut pings) = (Vec::new(), Vec::new());
        for piece in input.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                let used = match scanner.step(&buffer)? {
                    Step::Starved => break,
                    Step::Pass(used) => {
                        passed.extend_from_slice(&buffer[..used]);
                        used
                    }
                    Step::LeaveOut(used, instead) => {
                        passed.extend(instead.into_iter().flatten());
                        used
                    }
                    Step::Command(used, command) => {
                        if let Command::Ping(context) = command {
                            pings.push(context);
                        }
                        used
                    }
                };
                buffer.drain(..used);
            }
        }
        Ok((passed, pings))
    }

    #[test]
    fn a_giant_length_is_refused_before_its_body() {
        let mut header = vec![LONG];
        header.extend((64u64 << 30).to_be_bytes());
        let refused = Violation::Length { length: 64 << 30, limit: 300 };
        assert_eq!(scan(&header, 1), Err(refused));
        header[0] = LONG | IS_COMMAND;
        let refused = Violation::Length { length: 64 << 30, limit: COMMAND };
        assert_eq!(scan(&header, 1), Err(refused));
    }

    #[test]
    fn later_frames_and_their_number_are_limited() {
        let long_second = [&[MORE, 0, 0, 21][..], &[0; 21]].concat();
        let refused = Violation::Length { length: 21, limit: 20 };
        assert_eq!(scan(&long_second, 4), Err(refused));
        assert_eq!(scan(&[MORE, 0, MORE, 0, 0, 0], 6), Err(Violation::Frames(2)));
        assert_eq!(scan(&[8, 0], 2), Err(Violation::Flags(8)));
        assert_eq!(scan(&[MORE, 0, IS_COMMAND, 0], 4), Err(Violation::Misplaced));
    }

    #[test]
    fn pings_are_taken_out_and_messages_pass_in_any_pieces() {
        let message = [&[MORE, 3][..], b"abc", &[LONG, 0, 0, 0, 0, 0, 0, 0, 2], b"de"].concat();
        let ping = command(b"\x04PING\x00\x10hi");
        let input = [&message[..], &ping, &message].concat();
        for piece in 1..input.len() {
            let (passed, pings) = scan(&input, piece).unwrap();
            assert_eq!(passed, [&message[..], &message].concat());
            assert_eq!(pings, [Bytes::from_static(b"hi")]);
        }
        assert_eq!(pong(b"hi"), b"\x04\x07\x04PONGhi");
    }

    #[test]
    fn a_long_payload_is_left_out_where_it_may_be() {
        let limits = Limits { frames: 4, left_out: 1000, ..LIMITS };
        let frame =
            |flags: u8, length: u8| [&[flags, length][..], &vec![b'x'; length.into()]].concat();
        let begin = [frame(MORE, 1), frame(MORE, 20)].concat();
        let message = |flags| [&begin[..], &frame(flags, 200)].concat();
        let input = [message(0), message(MORE), frame(0, 0), message(0)].concat();
        let short = |flags| [&begin[..], &[flags, 1], LEFT_OUT].concat();
        let expected = [short(0), short(MORE), frame(0, 0), short(0)].concat();
        for piece in 1..input.len() {
            assert_eq!(scan_within(limits, &input, piece).unwrap().0, expected, "{piece}");
        }
        // Not the first two, and not at any length.
        let second = [frame(MORE, 1), frame(0, 21)].concat();
        let refused = Err(Violation::Length { length: 21, limit: 20 });
        assert_eq!(scan_within(limits, &second, 3), refused);
        let giant = [&begin[..], &[LONG, 0, 0, 0, 0, 0, 0, 3, 0xe9]].concat();
        let refused = Err(Violation::Length { length: 1001, limit: 20 });
        assert_eq!(scan_within(limits, &giant, 3), refused);
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_same_in_any_pieces(
            input in prop::collection::vec(0u8..8, 0..200),
            piece in 1usize..50,
        ) {
            prop_assert_eq!(scan(&input, piece), scan(&input, input.len().max(1)));
        }
    }
}
