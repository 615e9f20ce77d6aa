//! Nothing that a peer sends breaks the reading of it, and what is kept of it
//! is bounded.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use bytes::Bytes;
use hulynet_backrpc::{
    Malformed, Message, Operation, Text, back,
    calls::{ToAgent, ToCoordinator},
    codec::ID_BYTES,
    endpoints, json,
    session::{Greeted, IN_PROGRESS, Session, Turn},
};
use hulynet_protocol::limits;
use proptest::prelude::*;

fn frames(frames: &[&[u8]]) -> Vec<Bytes> {
    frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
}

fn read(all: &[&[u8]]) -> Result<Message, Malformed> {
    Message::read(frames(all).into_iter())
}

#[test]
fn operations_out_of_range_are_no_messages() {
    for first in [&b""[..], b"junk", b"10", b"99", b"-1", b"0 ", b"\xff", b"a"] {
        assert_eq!(read(&[first, b"x", b"y"]), Err(Malformed::Operation), "{first:?}");
    }
    assert_eq!(Message::read(std::iter::empty()), Err(Malformed::Operation));
}

#[test]
fn an_id_of_a_megabyte_and_one_that_is_no_text_are_no_messages() {
    let long = vec![b'x'; 1 << 20];
    assert_eq!(read(&[b"1", &long, b"[]"]), Err(Malformed::LongId(1 << 20)));
    assert_eq!(read(&[b"0", &long, b"{}"]), Err(Malformed::LongId(1 << 20)));
    assert_eq!(read(&[b"1", b"\xff", b"[]"]), Err(Malformed::Id));
    assert!(read(&[b"1", &vec![b'x'; ID_BYTES], b"[]"]).is_ok());
    let body = vec![b' '; limits::PAYLOAD_BYTES + 1];
    assert_eq!(read(&[b"1", b"x", &body]), Err(Malformed::LongBody(body.len())));
}

#[test]
fn a_fourth_frame_is_accepted_and_so_is_its_absence() {
    let four = read(&[b"0", b"ann", b"{}", b""]).unwrap();
    assert_eq!(four, read(&[b"0", b"ann", b"{}"]).unwrap());
    assert_eq!(read(&[b"5"]).unwrap(), read(&[b"5", b"", b"", b""]).unwrap());
}

#[test]
fn a_million_brackets_are_answered_with_an_error() {
    for brackets in ["[", "{\"a\":", "[\"cs\",[\"c\",\"o\",["] {
        let body = Bytes::from(brackets.repeat(1_000_000));
        let refusal = ToCoordinator::read(&body).unwrap_err();
        assert!(refusal.0.len() < 1000, "{refusal}");
        assert!(ToAgent::read(&body).is_err());
        assert!(json::payload(&body).is_err());
    }
}

/// Any JSON-like text: more likely to pass the first checks than any bytes.
fn jsonish() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"",
            "\"cs\"",
            "\"gg\"",
            "\"ar\"",
            "\"uuid\"",
            "null",
            "1",
            "1e999",
            "\\u0000",
            "\"kind\"",
            "\"labels\"",
            "é",
            "\"request\"",
            " ",
        ]),
        0..40,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        digit in 0usize..10,
        id in "[ -~]{0,60}",
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let operation = read(&[digit.to_string().as_bytes()]).unwrap().operation;
        let message = Message::new(operation, Text::new(&id), body);
        let again = Message::read(message.frames().into_iter()).unwrap();
        prop_assert_eq!(again.operation, message.operation);
        prop_assert_eq!(again.body, message.body);
    }

    #[test]
    fn no_frames_break_a_session(
        all in prop::collection::vec(prop::collection::vec("[0-9]?|[a-c]|.{0,9}", 0..5), 0..200),
    ) {
        let mut session: Session<(), ()> = Session::new(Text::new("server"));
        let (mut open, mut turns) = (0, Vec::new());
        for frames in all {
            let Ok(message) = Message::read(frames.into_iter().map(Bytes::from)) else { continue };
            session.receive(message, &mut turns);
            for turn in std::mem::take(&mut turns) {
                match turn {
                    Turn::Greet(_) => session.greeted(Greeted::Welcome, false, &mut turns),
                    Turn::Leave => session.left(),
                    Turn::Request(..) => open += 1,
                    _ => {}
                }
            }
            turns.clear();
        }
        prop_assert!(open <= IN_PROGRESS);
    }

    #[test]
    fn no_bytes_break_the_reading_of_json(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in jsonish(),
    ) {
        for body in [Bytes::from(bytes), Bytes::from(text)] {
            let _read = (ToCoordinator::read(&body), ToAgent::read(&body));
            let _answer = (back::given(Ok(body.clone())), back::failure(&body));
            let _lines = (json::lines(&body), json::payload(&body));
            let _way = std::str::from_utf8(&body).map(endpoints::read);
        }
    }
}

#[test]
fn operations_are_their_digits() {
    let all = [Operation::Hello, Operation::Request, Operation::Response, Operation::Error];
    for (digit, operation) in all.into_iter().enumerate() {
        assert_eq!(operation.frame(), digit.to_string().as_bytes());
    }
}
