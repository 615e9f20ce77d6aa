//! How often memory is asked for on the way of a message, which costs more
//! than to write and read it.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::hint::black_box;

use allocation_counter::measure;
use hulynet_protocol::{
    AccountId, Call, Caller, ConnectionId, ContainerCall, ContainerId, Epoch, Event, Frame, Kind,
    Reply, Target, Uuid, limits,
};

/// A request to a container as clients send it.
fn request(operation: &str) -> Frame {
    let id = ContainerId {
        kind: Kind::new("transactor").unwrap(),
        uuid: Uuid::new("8f14e45f-ceea-467f-a9d5-2c1f6b1d9a3e").unwrap(),
    };
    let call = ContainerCall {
        target: Target { id, epoch: Some(Epoch { term: 1_795_372_228_882, counter: 77 }) },
        operation: operation.to_owned(),
        caller: Caller::outside(Some(AccountId::new("someone@example.com").unwrap())),
        idempotency: None,
        trace: u128::MAX,
        send: false,
    };
    Frame::Request { id: 0, acknowledged: 0, deadline_ms: 30_000, call: Call::Container(call) }
}

/// What is not a request, as it passes for each message.
fn others() -> [Frame; 6] {
    [
        Frame::Response { id: 9, result: Ok(Reply::Payload) },
        Frame::Chunk { id: 9, end: None },
        Frame::Credit { id: 9, chunks: 8 },
        Frame::Cancel { id: 9 },
        Frame::Ping { acknowledged: 8 },
        Frame::Pong { acknowledged: 8 },
    ]
}

fn written(frame: &Frame) -> u64 {
    measure(|| drop(black_box(frame.encode().unwrap()))).count_total
}

fn read(frame: &Frame) -> u64 {
    let header = frame.encode().unwrap();
    measure(|| drop(black_box(Frame::decode(&header).unwrap()))).count_total
}

#[test]
fn the_count_counts() {
    assert_eq!(measure(|| drop(black_box(vec![1u8]))).count_total, 1);
    let none = measure(|| {
        let _on_the_stack = black_box([1u8]);
    });
    assert_eq!(none.count_total, 0);
}

/// The header leaves as it is written, so it is memory of its own.
#[test]
fn a_header_is_written_in_one_allocation() {
    let event = Event::single(ConnectionId::new("c").unwrap(), Epoch::default());
    for frame in others().into_iter().chain([request("load"), Frame::Event(event)]) {
        assert_eq!(written(&frame), 1, "{frame:?}");
        // And so is one that is given its number first.
        let numbered = measure(|| {
            let mut header = frame.encode_mut().unwrap();
            Frame::number(&mut header, 5, 4);
            drop(black_box(bytes::Bytes::from(header)));
        });
        assert_eq!(numbered.count_total, 1, "{frame:?}");
    }
}

/// A vector with room to spare, and what `Bytes` needs for one of those.
#[test]
fn a_header_of_unusual_length_is_written_in_two() {
    assert_eq!(written(&request(&"x".repeat(limits::OPERATION_BYTES))), 2);
}

/// Its kind, its uuid, the account and the operation are handed on, to
/// containers and logs that keep them for longer than the message.
#[test]
fn a_request_is_read_with_one_allocation_for_each_text() {
    assert_eq!(read(&request("load")), 4);
}

/// The list of connections, and the name of each.
#[test]
fn an_event_is_read_with_one_allocation_for_each_connection_and_one_for_all() {
    let connections: Vec<_> =
        (0..50).map(|n| ConnectionId::new(format!("c{n}")).unwrap()).collect();
    let event =
        Event::Container { connections, epoch: Epoch::default(), missed: 0, lengths: Vec::new() };
    assert_eq!(read(&Frame::Event(event)), 51);
}

#[test]
fn what_carries_no_text_is_read_without_allocation() {
    for frame in others() {
        assert_eq!(read(&frame), 0, "{frame:?}");
    }
}
