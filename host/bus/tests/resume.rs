//! Requests over lost connections: they resume or fail with the right class,
//! none runs twice, none hangs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{LONG, asked, call, client, join, joined, line::Line, payload, serve, soon};
use hulynet_bus::{Body, Bus, Incoming, Peer, PeerEvent, Response, Server};
use hulynet_protocol::{ErrorKind, NetworkError, Reply, Retry};
use tokio::{sync::mpsc::Receiver, task::JoinHandle};

/// A server, a peer that has joined it over a line, and the line.
struct House {
    bus: Bus,
    server: Server,
    incoming: Receiver<Incoming>,
    line: Line,
    peer: Peer,
    events: Receiver<PeerEvent>,
}

impl House {
    async fn new(alive: Duration) -> Self {
        let bus = Bus::start("test").unwrap();
        let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
        let line = Line::to(server.local_addr()).await;
        let (peer, mut events) = line.join(&bus, "ann", alive);
        assert!(!joined(&mut events).await);
        assert!(matches!(soon(incoming.recv()).await, Some(Incoming::Joined { .. })));
        Self { bus, server, incoming, line, peer, events }
    }

    fn ask(&self, body: &'static str) -> JoinHandle<Result<Response, NetworkError>> {
        let peer = self.peer.clone();
        tokio::spawn(async move { peer.call(call("x"), Bytes::from(body), LONG).await })
    }

    /// Waits until the server has the session on another connection.
    async fn resumed(&mut self) {
        assert!(joined(&mut self.events).await);
    }

    /// Whether the server was asked anything else.
    fn was_asked(&mut self) -> bool {
        std::iter::from_fn(|| self.incoming.try_recv().ok())
            .any(|incoming| matches!(incoming, Incoming::Request(_)))
    }
}

#[tokio::test]
async fn a_request_executed_twice_after_a_reconnect() {
    let mut house = House::new(LONG).await;
    let asking = house.ask("once");
    let request = asked(&mut house.incoming).await;
    // The answer is given, and lost with the connection.
    house.line.mute();
    request.responder.reply(Ok((Reply::Payload, request.payload)));
    let probe = house.peer.call(call("probe"), Bytes::new(), Duration::from_millis(50)).await;
    assert_eq!(probe.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    asked(&mut house.incoming).await;
    assert!(!asking.is_finished());
    house.line.cut();
    assert_eq!(payload(soon(asking).await.unwrap()), "once");
    assert!(!house.was_asked());
}

#[tokio::test]
async fn a_request_in_progress_during_a_reset_is_joined_and_answered_once() {
    let mut house = House::new(LONG).await;
    let asking = house.ask("slow");
    let mut request = asked(&mut house.incoming).await;
    house.line.cut();
    house.resumed().await;
    // After the request came again there is an answer to the next one.
    let next = house.ask("next");
    let second = asked(&mut house.incoming).await;
    assert_eq!(second.payload, "next");
    second.responder.reply(Ok((Reply::Payload, second.payload)));
    assert_eq!(payload(soon(next).await.unwrap()), "next");
    let cancelled = tokio::time::timeout(Duration::ZERO, request.responder.cancelled()).await;
    assert!(cancelled.is_err(), "it was cancelled though its caller waits");
    request.responder.reply(Ok((Reply::Payload, request.payload)));
    assert_eq!(payload(soon(asking).await.unwrap()), "slow");
    assert!(!house.was_asked());
}

#[tokio::test]
async fn a_request_answered_while_its_caller_is_away_is_answered_when_it_returns() {
    let mut house = House::new(LONG).await;
    let asking = house.ask("x");
    let request = asked(&mut house.incoming).await;
    house.line.cut();
    assert!(matches!(soon(house.events.recv()).await, Some(PeerEvent::Lost { .. })));
    request.responder.reply(Ok((Reply::Payload, request.payload)));
    assert_eq!(payload(soon(asking).await.unwrap()), "x");
    assert!(!house.was_asked());
}

#[tokio::test]
async fn what_a_server_asks_resumes_as_well() {
    let mut house = House::new(LONG).await;
    let asking = tokio::spawn({
        let server = house.server.clone();
        async move { server.call(&client("ann"), call("x"), Bytes::from_static(b"b"), LONG).await }
    });
    let Some(PeerEvent::Request(request)) = soon(house.events.recv()).await else { panic!() };
    house.line.cut();
    house.resumed().await;
    request.responder.reply(Ok((Reply::Payload, request.payload)));
    assert_eq!(payload(soon(asking).await.unwrap()), "b");
    let again = |event| matches!(event, PeerEvent::Request(_));
    assert!(!std::iter::from_fn(|| house.events.try_recv().ok()).any(again));
}

#[tokio::test]
async fn a_half_open_connection_is_replaced_before_its_session_ends() {
    let mut house = House::new(Duration::from_millis(1500)).await;
    let asking = house.ask("x");
    let request = asked(&mut house.incoming).await;
    house.line.mute();
    request.responder.reply(Ok((Reply::Payload, request.payload)));
    house.resumed().await;
    assert_eq!(payload(soon(asking).await.unwrap()), "x");
    assert!(!house.was_asked());
}

#[tokio::test]
async fn a_restarted_server_ends_what_was_sent_and_gets_what_was_not() {
    let mut house = House::new(LONG).await;
    let sent = house.ask("sent");
    let request = asked(&mut house.incoming).await;
    let address = house.server.local_addr().to_string();
    house.line.end();
    soon(house.server.close(Duration::ZERO)).await;
    assert!(matches!(soon(house.events.recv()).await, Some(PeerEvent::Lost { .. })));
    let unsent = house.ask("unsent");
    let (_server, mut incoming) = serve(&house.bus, &address).await;
    house.line.open();
    house.line.cut();
    assert!(!joined(&mut house.events).await);
    let error = soon(sent).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    let again = asked(&mut incoming).await;
    assert_eq!(again.payload, "unsent");
    again.responder.reply(Ok((Reply::Payload, again.payload)));
    assert_eq!(payload(soon(unsent).await.unwrap()), "unsent");
    drop(request);
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_given_up_when_the_session_must_be_over() {
    let alive = Duration::from_millis(300);
    let mut house = House::new(alive).await;
    let asking = house.ask("x");
    let _request = asked(&mut house.incoming).await;
    house.line.end();
    house.line.cut();
    let began = Instant::now();
    let error = soon(asking).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    assert!(began.elapsed() < LONG / 2, "it waited for its own deadline");
}

#[tokio::test]
async fn a_call_that_was_sent_and_is_late_without_a_connection_may_have_been_processed() {
    let mut house = House::new(LONG).await;
    let peer = house.peer.clone();
    let time = Duration::from_millis(300);
    let sent = tokio::spawn(async move { peer.call(call("x"), Bytes::new(), time).await });
    let _request = asked(&mut house.incoming).await;
    house.line.end();
    house.line.cut();
    assert!(matches!(soon(house.events.recv()).await, Some(PeerEvent::Lost { .. })));
    let unsent = house.peer.call(call("x"), Bytes::new(), Duration::from_millis(10)).await;
    assert_eq!(unsent.unwrap_err().retry, Retry::NotProcessed);
    let error = soon(sent).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
}

#[tokio::test]
async fn a_stream_ends_with_its_connection_at_both_ends() {
    let mut house = House::new(LONG).await;
    let asking = house.ask("stream");
    let mut sender = asked(&mut house.incoming).await.responder.stream();
    let Body::Stream(mut chunks) = soon(asking).await.unwrap().unwrap().body else { panic!() };
    house.line.cut();
    let error = soon(chunks.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    soon(sender.cancelled()).await;
}

#[tokio::test]
async fn another_run_of_a_client_is_not_answered_from_the_memory_of_the_former() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    for body in ["first", "second"] {
        let (peer, _events) = join(&bus, &server, "ann").await;
        let asking =
            tokio::spawn(async move { peer.call(call("x"), Bytes::from(body), LONG).await });
        let request = asked(&mut incoming).await;
        assert_eq!(request.payload, body);
        request.responder.reply(Ok((Reply::Payload, request.payload)));
        assert_eq!(payload(soon(asking).await.unwrap()), body);
    }
}

#[tokio::test]
async fn under_many_resets_every_request_is_answered_and_none_runs_twice() {
    const REQUESTS: u32 = 400;
    let House { bus: _bus, server: _server, mut incoming, line, peer, mut events } =
        House::new(LONG).await;
    let serving = tokio::spawn(async move {
        let mut runs = HashMap::<Bytes, u32>::new();
        while let Some(incoming) = incoming.recv().await {
            if let Incoming::Request(request) = incoming {
                *runs.entry(request.payload.clone()).or_default() += 1;
                let bye = request.payload == "bye";
                request.responder.reply(Ok((Reply::Payload, request.payload)));
                if bye {
                    break;
                }
            }
        }
        runs
    });
    let calls: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let peer = peer.clone();
            tokio::spawn(async move {
                // In waves, so that every reset finds some under way.
                tokio::time::sleep(Duration::from_micros(u64::from(number) * 500)).await;
                let body = Bytes::from(number.to_string());
                assert_eq!(payload(peer.call(call("x"), body.clone(), LONG).await), body);
            })
        })
        .collect();
    for _ in 0..5 {
        line.cut();
        assert!(joined(&mut events).await);
    }
    for call in calls {
        soon(call).await.unwrap();
    }
    soon(peer.call(call("x"), Bytes::from_static(b"bye"), LONG)).await.unwrap();
    let runs = soon(serving).await.unwrap();
    assert_eq!(runs.len(), REQUESTS as usize + 1);
    assert!(runs.values().all(|&runs| runs == 1), "{runs:?}");
}
