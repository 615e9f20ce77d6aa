//! Every frame survives its codec, and no bytes break the decoder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod strategies;

use hulynet_protocol::{
    Call, ClientId, Event, Frame, FrameError, Hello, Role, ServerId, Welcome,
    frame::{MAGIC, check_payload},
    limits,
};
use proptest::{collection::vec, prelude::*};

use strategies::{call, frame};

proptest! {
    #[test]
    fn every_frame_survives_its_codec(frame in frame()) {
        let bytes = frame.encode().unwrap();
        prop_assert_eq!(bytes[0], MAGIC);
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn a_request_may_be_numbered_after_it_was_encoded(
        call in call(),
        (id, acknowledged, deadline_ms) in any::<(u64, u64, u32)>(),
    ) {
        let draft = Frame::Request { id: 0, acknowledged: 0, deadline_ms, call: call.clone() };
        let mut header = draft.encode_mut().unwrap();
        Frame::number(&mut header, id, acknowledged);
        let numbered = Frame::Request { id, acknowledged, deadline_ms, call };
        prop_assert_eq!(Frame::decode(&header), Ok(numbered));
        let other = Frame::Ping { acknowledged: 7 }.encode_mut().unwrap();
        let mut same = other.clone();
        Frame::number(&mut same, id, acknowledged);
        prop_assert_eq!(same, other);
    }

    #[test]
    fn a_frame_that_is_cut_or_prolonged_is_an_error(
        frame in frame(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame.encode().unwrap().to_vec();
        let short = &bytes[..cut.index(bytes.len())];
        prop_assert!(Frame::decode(short).is_err());
        bytes.push(0);
        prop_assert!(Frame::decode(&bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_never_breaks_the_decoder(
        frame in frame(),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut bytes = frame.encode().unwrap().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1u8 << bit;
        if let Ok(decoded) = Frame::decode(&bytes) {
            // What is accepted is a frame like any other.
            prop_assert_eq!(Frame::decode(&decoded.encode().unwrap()), Ok(decoded));
        }
    }

    #[test]
    fn random_bytes_never_break_the_decoder(mut bytes in vec(any::<u8>(), 0..200)) {
        let _any = Frame::decode(&bytes);
        bytes.insert(0, MAGIC);
        let _any = Frame::decode(&bytes);
    }
}

#[test]
fn an_announced_length_allocates_nothing() {
    // An event of 2^63 changes, in a dozen bytes.
    let mut bytes = Frame::Event(Event::Network(Vec::new())).encode().unwrap().to_vec();
    bytes.pop();
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Malformed(_))));
}

#[test]
fn what_is_over_its_limit_is_named_with_it() {
    let large = vec![MAGIC; limits::HEADER_BYTES + 1];
    assert_eq!(Frame::decode(&large), Err(FrameError::HeaderTooLarge(large.len())));
    let payload = &large[..=limits::PAYLOAD_BYTES];
    assert_eq!(check_payload(payload), Err(FrameError::PayloadTooLarge(payload.len())));
    assert_eq!(check_payload(&payload[1..]), Ok(()));
    assert_eq!(Frame::decode(&[]), Err(FrameError::Empty));
    assert_eq!(Frame::decode(b"5"), Err(FrameError::Language(b'5')));
}

#[test]
fn who_introduces_itself_in_another_version_can_be_told_so() {
    for (number, frame) in [
        (0, Frame::Hello(hello())),
        (
            1,
            Frame::Welcome(Welcome {
                version: 7,
                features: 0,
                server: ServerId::random(),
                resumed: false,
                session: 1,
                proof: None,
            }),
        ),
    ] {
        // The number of the frame and the version stand where all versions
        // look for them; what follows may be anything.
        let bytes = frame.encode().unwrap();
        assert_eq!(bytes[..3], [MAGIC, number, 7]);
        match Frame::decode(&[&bytes[..3], b"\xff\xff\xff"].concat()) {
            Err(FrameError::Introduction { version: 7, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(Frame::decode(&[MAGIC, 0]), Err(FrameError::Malformed(_))));
}

fn hello() -> Hello {
    let (client, role) = (ClientId::random(), Role::Client);
    let (alive_timeout_ms, nonce, proof) = (1, None, None);
    Hello { version: 7, features: 0, client, run: 1, role, alive_timeout_ms, nonce, proof }
}

#[test]
fn a_request_that_cannot_be_decoded_keeps_its_id() {
    let (id, acknowledged, deadline_ms) = (300, 0, 1);
    let request = Frame::Request { id, acknowledged, deadline_ms, call: Call::Kinds };
    let mut bytes = request.encode().unwrap().to_vec();
    *bytes.last_mut().unwrap() = 0x7f;
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Request { id: 300, .. })));
}
