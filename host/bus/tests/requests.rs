//! Requests in both directions over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{LONG, Pair, call, client, echo, payload, soon};
use hulynet_bus::{Body, Bus, Incoming, PeerConfig, PeerEvent, Request};
use hulynet_protocol::{
    ConnectionId, Epoch, ErrorKind, Event, Reply, Retry, Role,
    frame::INITIAL_CREDIT,
    limits::{CHUNK_BYTES, PAYLOAD_BYTES},
};

#[tokio::test]
async fn a_request_is_answered_in_both_directions() {
    let Pair { bus: _bus, server, incoming, peer, mut events } = Pair::new().await;
    tokio::spawn(echo(incoming));
    let body = Bytes::from(vec![7; 300_000]);
    assert_eq!(payload(peer.call(call("echo"), body.clone(), LONG).await), body);
    assert_eq!(payload(peer.call(call("echo"), Bytes::new(), LONG).await), Bytes::new());

    let back = tokio::spawn(async move {
        server.call(&client("ann"), call("back"), Bytes::from_static(b"b"), LONG).await
    });
    let Some(PeerEvent::Request(request)) = soon(events.recv()).await else { panic!("none") };
    assert_eq!(common::operation(&request.call), "back");
    request.responder.reply(Ok((Reply::Payload, request.payload)));
    assert_eq!(payload(back.await.unwrap()), "b");
}

#[tokio::test]
async fn sockets_and_what_uses_them_may_share_the_thread_of_the_program() {
    let bus = Bus::current();
    let (server, incoming) = common::serve(&bus, "127.0.0.1:0").await;
    let here = std::thread::current().id();
    let echoing = bus.spawn(async move {
        assert_eq!(std::thread::current().id(), here);
        echo(incoming).await;
    });
    let (peer, mut events) = common::join(&bus, &server, "ann").await;
    assert!(!common::joined(&mut events).await);
    assert_eq!(payload(peer.call(call("echo"), Bytes::from_static(b"a"), LONG).await), "a");
    peer.close(LONG).await;
    server.close(LONG).await;
    soon(echoing).await.unwrap();
}

#[tokio::test]
async fn many_requests_in_flight_find_their_own_answers() {
    let Pair { bus: _bus, server: _server, incoming, peer, events: _events } = Pair::new().await;
    tokio::spawn(echo(incoming));
    let calls = (0..2000u32).map(|number| {
        let peer = peer.clone();
        tokio::spawn(async move {
            let body = Bytes::from(number.to_be_bytes().to_vec());
            assert_eq!(payload(peer.call(call("echo"), body.clone(), LONG).await), body);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn an_event_reaches_its_peer_and_an_unknown_peer_is_an_error() {
    let mut pair = Pair::new().await;
    let event = || Event::single(ConnectionId::new("c").unwrap(), Epoch::default());
    pair.server.event(&client("ann"), event(), Bytes::from_static(b"news")).unwrap();
    let told = soon(pair.events.recv()).await;
    assert!(matches!(told, Some(PeerEvent::Event { payload, .. }) if payload == "news"));
    let error = pair.server.event(&client("bob"), event(), Bytes::new()).unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));

    pair.peer.event(event(), Bytes::from_static(b"back")).unwrap();
    let told = soon(pair.incoming.recv()).await;
    assert!(matches!(told, Some(Incoming::Event { payload, .. }) if payload == "back"));
}

#[tokio::test]
async fn more_events_than_fit_at_once_pass_as_the_server_receives_them() {
    let mut pair = Pair::new().await;
    let reading = tokio::spawn(async move {
        let mut bytes = 0;
        while bytes < 100 << 20 {
            if let Some(Incoming::Event { payload, .. }) = soon(pair.incoming.recv()).await {
                bytes += payload.len();
            }
        }
    });
    let connection = ConnectionId::new("c").unwrap();
    let mut sent = 0;
    while sent < 100 {
        let event = Event::single(connection.clone(), Epoch::default());
        match pair.peer.event(event, Bytes::from(vec![0; 1 << 20])) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Busy);
                tokio::task::yield_now().await;
            }
        }
    }
    soon(reading).await.unwrap();
}

#[tokio::test]
async fn a_stream_waits_for_its_reader() {
    let mut pair = Pair::new().await;
    let peer = pair.peer.clone();
    let asking = tokio::spawn(async move { peer.call(call("stream"), Bytes::new(), LONG).await });
    let mut sender = pair.asked().await.responder.stream();
    let Body::Stream(mut chunks) = asking.await.unwrap().unwrap().body else { panic!("none") };
    for number in 0..INITIAL_CREDIT {
        sender.send(Bytes::from(number.to_string())).await.unwrap();
    }
    let waits = tokio::time::timeout(Duration::from_millis(50), sender.send(Bytes::from("late")));
    assert!(waits.await.is_err(), "a chunk was sent without credit");
    for number in 0..INITIAL_CREDIT {
        assert_eq!(soon(chunks.next()).await.unwrap().unwrap(), number.to_string());
    }
    let large = Bytes::from(vec![1; 3 * CHUNK_BYTES + 1]);
    soon(sender.send(large.clone())).await.unwrap();
    sender.finish(Ok(()));
    let mut received = 0;
    while let Some(chunk) = soon(chunks.next()).await {
        received += chunk.unwrap().len();
    }
    assert_eq!(received, large.len());
}

#[tokio::test]
async fn a_dropped_reader_stops_the_stream_and_a_dropped_sender_ends_it_with_an_error() {
    let mut pair = Pair::new().await;
    for drops_reader in [true, false] {
        let peer = pair.peer.clone();
        let asking = tokio::spawn(async move { peer.call(call("s"), Bytes::new(), LONG).await });
        let mut sender = pair.asked().await.responder.stream();
        let Body::Stream(mut chunks) = asking.await.unwrap().unwrap().body else { panic!("none") };
        if drops_reader {
            drop(chunks);
            let refused = async { while sender.send(Bytes::from_static(b"x")).await.is_ok() {} };
            soon(refused).await;
        } else {
            drop(sender);
            assert!(soon(chunks.next()).await.unwrap().is_err());
            assert!(soon(chunks.next()).await.is_none());
        }
    }
}

#[tokio::test]
async fn a_request_past_its_deadline_ends_and_its_server_hears_of_it() {
    let mut pair = Pair::new().await;
    let time = Duration::from_millis(30);
    let error = pair.peer.call(call("slow"), Bytes::new(), time).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
    let mut request = pair.asked().await;
    // It counts from the request's arrival, and never more than was asked for.
    assert!(request.responder.remaining() <= time);
    soon(request.responder.cancelled()).await;
}

#[tokio::test]
async fn a_dropped_call_cancels_its_request() {
    let mut pair = Pair::new().await;
    let peer = pair.peer.clone();
    let asking = tokio::spawn(async move { peer.call(call("slow"), Bytes::new(), LONG).await });
    let mut request = pair.asked().await;
    asking.abort();
    soon(request.responder.cancelled()).await;
    assert!(request.responder.remaining() > Duration::ZERO);
}

#[tokio::test]
async fn an_unanswered_request_ends_with_an_error() {
    let mut pair = Pair::new().await;
    let peer = pair.peer.clone();
    let asking = tokio::spawn(async move { peer.call(call("lost"), Bytes::new(), LONG).await });
    drop(pair.asked().await);
    assert_eq!(soon(asking).await.unwrap().unwrap_err().kind, ErrorKind::Internal);
}

#[tokio::test]
async fn what_is_too_large_is_refused_on_both_sides() {
    let mut pair = Pair::new().await;
    let large = Bytes::from(vec![0; PAYLOAD_BYTES + 1]);
    let error = pair.peer.call(call("large"), large.clone(), LONG).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::TooLarge, Retry::Final));
    let peer = pair.peer.clone();
    let asking = tokio::spawn(async move { peer.call(call("large"), Bytes::new(), LONG).await });
    let Request { responder, .. } = pair.asked().await;
    responder.reply(Ok((Reply::Payload, large)));
    assert_eq!(soon(asking).await.unwrap().unwrap_err().kind, ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_the_cause() {
    let bus = Bus::start("test").unwrap();
    // Bound and closed again: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = PeerConfig::new(client("ann"), Role::Client);
    let (peer, _events) = bus.connect(&free.to_string(), config);
    let time = Duration::from_millis(100);
    let error = peer.call(call("echo"), Bytes::new(), time).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    assert!(error.message.contains(&free.to_string()), "{error}");
    assert!(error.message.to_lowercase().contains("refused"), "{error}");
    soon(peer.close(LONG)).await;
}

#[tokio::test]
async fn a_call_waits_for_its_server_to_come_up() {
    let bus = Bus::start("test").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (peer, _events) =
        bus.connect(&free.to_string(), PeerConfig::new(client("ann"), Role::Client));
    let asking = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call(call("echo"), Bytes::from_static(b"x"), LONG).await }
    });
    let (_server, incoming) = common::serve(&bus, &free.to_string()).await;
    tokio::spawn(echo(incoming));
    assert_eq!(payload(soon(asking).await.unwrap()), "x");
}
