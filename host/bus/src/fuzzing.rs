//! What fuzzing reaches of this crate.

use bytes::{Bytes, BytesMut};

use crate::zmtp::{Decoded, Decoder, Limits, Scanner, Step, Violation};

/// As before hello, where some frames are left out.
const LIMITS: Limits = Limits { first_frame: 4096, frame: 1 << 10, frames: 4, left_out: 1 << 16 };

/// As a peer reads.
const WHOLE: Limits = Limits { first_frame: 4096, frame: 1 << 16, frames: 4, left_out: 0 };

/// Reads the bytes as the door and as a peer do, whole and in pieces.
///
/// # Panics
/// When what comes out depends on the pieces, or when more passes than came.
#[expect(clippy::panic, reason = "a failed check is a panic, for every fuzzer")]
pub fn zmtp(bytes: &[u8]) {
    let (whole, cut) = (scan(bytes, bytes.len()), scan(bytes, 7));
    if whole != cut || whole.as_ref().is_ok_and(|passed| *passed > bytes.len()) {
        panic!("{whole:?} passed of the whole, {cut:?} in pieces");
    }
    let (whole, cut) = (decode(bytes, bytes.len()), decode(bytes, 7));
    if whole != cut {
        panic!("{whole:?} was read of the whole, {cut:?} in pieces");
    }
}

/// How many bytes pass.
fn scan(bytes: &[u8], piece: usize) -> Result<usize, Violation> {
    let (mut scanner, mut held, mut passed) = (Scanner::new(LIMITS), Vec::new(), 0);
    for piece in bytes.chunks(piece.max(1)) {
        held.extend_from_slice(piece);
        loop {
            let used = match scanner.step(&held)? {
                Step::Starved => break,
                Step::Command(used, _) => used,
                Step::LeaveOut(used, instead) => {
                    passed += instead.map_or(0, |instead| instead.len());
                    used
                }
                Step::Pass(used) => {
                    passed += used;
                    used
                }
            };
            held.drain(..used);
        }
    }
    Ok(passed)
}

/// The messages that are read.
fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Vec<Bytes>>, Violation> {
    let (mut decoder, mut input, mut messages) = (Decoder::new(WHOLE), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        while let Some(decoded) = decoder.next(&mut input)? {
            if let Decoded::Message(frames) = decoded {
                messages.push(frames.into_iter().collect());
            }
        }
    }
    Ok(messages)
}
