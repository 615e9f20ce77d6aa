//! What fuzzing checks: one function for each decoder of bytes from outside.
//!
//! `cargo fuzz run TARGET` in the checkout's root calls them for as long as it
//! is let to (it needs nightly and `cargo install cargo-fuzz`); `tests/bounded.rs`
//! calls them on stable, with the corpus of `fuzz/corpus` and mutations of it.
//! A check panics when it fails.

#![allow(clippy::panic, reason = "a failed check is a panic, for every fuzzer")]

mod original;

use hulynet_protocol::Frame;

pub use original::{FRAME, MESSAGE, original};

/// A decoder, by the name of its target and of its corpus.
pub struct Target {
    /// The name of its file in `fuzz/fuzz_targets` and its directory in
    /// `fuzz/corpus`.
    pub name: &'static str,
    /// The check.
    pub check: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "native", check: native },
    Target { name: "original", check: original },
    Target { name: "zmtp", check: zmtp },
];

/// The header of a native message: whatever decodes survives its codec, and
/// numbering leaves every other frame alone.
pub fn native(bytes: &[u8]) {
    let mut numbered = bytes.to_vec();
    Frame::number(&mut numbered, 1, 2);
    let Ok(frame) = Frame::decode(bytes) else { return };
    match frame.encode().map(|encoded| Frame::decode(&encoded)) {
        Ok(Ok(again)) if again == frame => {}
        other => panic!("{frame:?} became {other:?}"),
    }
    let is_request = matches!(frame, Frame::Request { .. });
    if !is_request && numbered != bytes {
        panic!("{frame:?} was numbered");
    }
}

/// The transport below, as the door and a peer read it: the same bytes are the
/// same messages however they are cut.
pub fn zmtp(bytes: &[u8]) {
    hulynet_bus::fuzzing::zmtp(bytes);
}
