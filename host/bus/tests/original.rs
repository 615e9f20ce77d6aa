//! Peers of the original network on the same port as native ones.

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
use common::{
    LONG, call, client, echo, join, joined, original::Original, payload, serve_with, soon,
};
use hulynet_bus::{Bus, DoorConfig, Incoming, Language, OriginalRequest, Server};
use hulynet_protocol::ErrorKind;
use tokio::{net::TcpStream, sync::mpsc::Receiver};

const ALIVE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

async fn house(door: DoorConfig) -> (Bus, Server, Receiver<Incoming>) {
    let bus = Bus::start("test").unwrap();
    let (server, incoming) = serve_with(&bus, "127.0.0.1:0", door).await;
    (bus, server, incoming)
}

/// Waits for the next of one sort.
async fn next<T>(incoming: &mut Receiver<Incoming>, sort: impl Fn(Incoming) -> Option<T>) -> T {
    soon(async {
        loop {
            if let Some(found) = sort(incoming.recv().await.expect("the end came first")) {
                return found;
            }
        }
    })
    .await
}

async fn asked(incoming: &mut Receiver<Incoming>) -> OriginalRequest {
    next(incoming, |event| match event {
        Incoming::Original(request) => Some(request),
        _ => None,
    })
    .await
}

async fn lost(incoming: &mut Receiver<Incoming>) {
    let is_lost = next(incoming, |event| match event {
        Incoming::Left { lost, .. } => Some(lost),
        _ => None,
    });
    assert!(is_lost.await);
}

async fn joins(incoming: &mut Receiver<Incoming>) -> (Language, bool) {
    next(incoming, |event| match event {
        Incoming::Joined { language, resumed, .. } => Some((language, resumed)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn both_languages_are_spoken_on_one_port() {
    let (bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::connect(&server, "ts").await;
    peer.hello(ALIVE).await;
    let id = peer.receive().await[1].clone();
    assert_eq!(joins(&mut incoming).await, (Language::Original, false));

    peer.send(&["5", "", "", ""]).await;
    assert_eq!(peer.receive().await, ["6", &id, ""]);
    peer.send(&["1", "ts-0", "[\"ak\",{}]"]).await;
    let request = asked(&mut incoming).await;
    assert_eq!((request.peer, request.body), (client("ts"), Bytes::from("[\"ak\",{}]")));
    request.responder.reply(Bytes::from_static(b"[]"));
    assert_eq!(peer.receive().await, ["2", "ts-0", "[]"]);
    peer.send(&["1", "ts-1", "junk"]).await;
    asked(&mut incoming).await.responder.refuse("no");
    assert_eq!(peer.receive().await, ["3", "ts-1", r#"{"message":"no","stack":""}"#]);

    let (native, mut events) = join(&bus, &server, "native").await;
    joined(&mut events).await;
    assert_eq!(joins(&mut incoming).await, (Language::Native, false));
    tokio::spawn(echo(incoming));
    let body = Bytes::from_static(b"both");
    assert_eq!(payload(native.call(call("echo"), body.clone(), LONG).await), body);
    let error = server.ask_original(&client("native"), Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let error = server.call(&client("ts"), call("x"), Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_stranger_is_sent_away_and_asked_for_hello() {
    let (_bus, server, _incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::connect(&server, "ts").await;
    peer.send(&["1", "ts-0", "[\"ak\",{}]"]).await;
    assert_eq!(peer.receive().await, ["7", "ts-0", "1"]);
    assert_eq!(peer.receive().await[0], "9");
    peer.send(&["5", "", "", ""]).await;
    assert_eq!(peer.receive().await[0], "6");
    assert_eq!(peer.receive().await[0], "9");
}

/// As a peer does that noticed late that its server is another one.
#[tokio::test]
async fn large_requests_before_hello_are_asked_for_again_and_disconnect_nobody() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::connect(&server, "ts").await;
    let large = format!("[\"cs\",[\"c\",\"echo\",\"{}\"]]", "x".repeat(1 << 20));
    let mut names = Vec::new();
    for n in 0..20 {
        names.push(format!("ts-{n}"));
        peer.send(&["1", &names[n], &large]).await;
    }
    peer.hello(ALIVE).await;
    let (mut put_off, mut asked_for_hello, mut greeted) = (Vec::new(), 0, 0);
    while put_off.len() < names.len() || greeted == 0 {
        match &peer.receive().await[..] {
            [operation, id, ticks] if operation == "7" => {
                assert_eq!(ticks, "1");
                put_off.push(id.clone());
            }
            [operation, ..] if operation == "9" => asked_for_hello += 1,
            [operation, ..] if operation == "0" => greeted += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((put_off, asked_for_hello, greeted), (names.clone(), 1, 1));
    // Now they are taken.
    peer.send(&["1", &names[0], &large]).await;
    let request = asked(&mut incoming).await;
    assert_eq!(request.body, large);
    request.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(peer.receive().await, ["2", "ts-0", "1"]);
    assert_eq!(server.dropped(), hulynet_bus::Dropped::default());
}

#[tokio::test]
async fn a_peer_that_never_pings_is_kept_and_its_next_request_is_answered() {
    let idle = 2 * SHORT;
    let (_bus, server, mut incoming) = house(DoorConfig { idle, ..DoorConfig::default() }).await;
    let mut peer = Original::join(&server, "ts", SHORT).await;
    lost(&mut incoming).await;
    // Longer than the door waits for others.
    tokio::time::sleep(4 * idle).await;
    peer.send(&["1", "ts-0", "[]"]).await;
    asked(&mut incoming).await.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(peer.receive().await[0], "9");
    assert_eq!(peer.receive().await, ["2", "ts-0", "1"]);
    assert_eq!(server.dropped().connections, 0);
}

#[tokio::test]
async fn who_waits_for_an_answer_is_not_silent() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::join(&server, "ts", SHORT).await;
    peer.send(&["1", "ts-0", "[]"]).await;
    let request = asked(&mut incoming).await;
    for _ in 0..20 {
        match soon(incoming.recv()).await {
            Some(Incoming::Alive(peer)) => assert_eq!(peer, client("ts")),
            other => panic!("{other:?}"),
        }
    }
    request.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(peer.receive().await, ["2", "ts-0", "1"]);
    lost(&mut incoming).await;
}

#[tokio::test]
async fn a_client_on_a_new_connection_gets_its_answers_there_and_is_asked_for_hello() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut before = Original::join(&server, "ts", ALIVE).await;
    assert_eq!(joins(&mut incoming).await, (Language::Original, false));
    before.send(&["1", "ts-0", "[]"]).await;
    let request = asked(&mut incoming).await;

    let mut after = Original::join(&server, "ts", ALIVE).await;
    assert_eq!(after.receive().await[0], "9");
    assert_eq!(joins(&mut incoming).await, (Language::Original, true));
    assert_eq!(before.ends().await, Vec::<Vec<String>>::new());
    request.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(after.receive().await, ["2", "ts-0", "1"]);
}

#[tokio::test]
async fn an_answer_waits_for_the_next_connection() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut before = Original::join(&server, "ts", ALIVE).await;
    before.send(&["1", "ts-0", "[]"]).await;
    let request = asked(&mut incoming).await;
    drop(before);
    let ts = client("ts");
    let ask = || server.ask_original(&ts, Bytes::new(), SHORT);
    // Until the server has noticed.
    while ask().await.unwrap_err().kind != ErrorKind::Unavailable {}
    request.responder.reply(Bytes::from_static(b"1"));
    let mut after = Original::join(&server, "ts", ALIVE).await;
    assert_eq!(after.receive().await, ["2", "ts-0", "1"]);
    assert_eq!(after.receive().await[0], "9");
}

#[tokio::test]
async fn a_question_ends_with_its_answer_or_the_loss_of_the_peer() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::join(&server, "ts", ALIVE).await;
    joins(&mut incoming).await;
    let ask = |server: Server| {
        let body = Bytes::from_static(b"[\"gg\",[]]");
        tokio::spawn(async move { server.ask_original(&client("ts"), body, LONG).await })
    };
    let question = ask(server.clone());
    let asked = peer.receive().await;
    assert_eq!((&*asked[0], &*asked[2]), ("1", "[\"gg\",[]]"));
    // What was asked by a server before this one, and nothing at all.
    peer.send(&["2", "ts-0", "\"stale\""]).await;
    peer.send(&["3", "", ""]).await;
    peer.send(&["2", &asked[1], "\"it\""]).await;
    assert_eq!(question.await.unwrap().unwrap(), Ok(Bytes::from_static(b"\"it\"")));

    let question = ask(server.clone());
    peer.receive().await;
    drop(peer);
    let error = question.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_question_to_a_peer_that_falls_silent_ends_with_its_session() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    // Its connection stands, and nobody is there.
    let mut peer = Original::join(&server, "ts", SHORT).await;
    joins(&mut incoming).await;
    let ts = client("ts");
    let question = server.ask_original(&ts, Bytes::from_static(b"[]"), LONG);
    let error = question.await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "it waited for its own deadline: {error}");
    assert_eq!(peer.receive().await[0], "1");
}

#[tokio::test]
async fn who_reads_late_gets_every_answer_and_holds_nobody_up() {
    const MANY: usize = 26;
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut late = Original::join(&server, "late", ALIVE).await;
    let mut requests = Vec::new();
    for n in 0..MANY {
        late.send(&["1", &format!("late-{n}"), "[]"]).await;
        requests.push(asked(&mut incoming).await);
    }
    // More than events may wait, and more than the system keeps.
    let answer = "x".repeat(1 << 20);
    for request in requests {
        request.responder.reply(Bytes::from(answer.clone()));
    }
    let mut other = Original::join(&server, "other", ALIVE).await;
    other.send(&["1", "other-0", "[]"]).await;
    asked(&mut incoming).await.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(other.receive().await, ["2", "other-0", "1"]);
    for n in 0..MANY {
        let got = late.receive().await;
        assert_eq!((got[0].as_str(), got[1].clone()), ("2", format!("late-{n}")));
        assert!(got[2] == answer);
    }
}

#[tokio::test]
async fn who_reads_no_events_misses_some_and_is_asked_for_hello_when_it_reads() {
    reads_late(|server, event| server.tell_originals(event)).await;
    reads_late(|server, event| {
        server.tell_original(&client("late"), event.clone());
        server.tell_original(&client("other"), event);
    })
    .await;
}

/// Of two peers that are told much, one reads late.
async fn reads_late(tell: impl Fn(&Server, Bytes)) {
    const MANY: usize = 64;
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut late = Original::join(&server, "late", ALIVE).await;
    let mut other = Original::join(&server, "other", ALIVE).await;
    for _ in 0..2 {
        joins(&mut incoming).await;
    }
    let event = format!("\"{}\"", "x".repeat(1 << 20));
    for _ in 0..MANY {
        tell(&server, Bytes::from(event.clone()));
        assert!(other.receive().await[2] == event);
    }
    // It is asked as soon as there is room, which its first pings may come
    // too early for.
    let (mut events, mut pongs) = (0, 0);
    late.send(&["5", "", "", ""]).await;
    loop {
        match late.receive().await[0].as_str() {
            "4" => events += 1,
            "6" if pongs < 2 => {
                pongs += 1;
                late.send(&["5", "", "", ""]).await;
            }
            other => break assert_eq!(other, "9"),
        }
    }
    assert!((16..MANY).contains(&events), "{events} of {MANY} waited for it");
}

#[tokio::test]
async fn who_missed_something_is_asked_for_hello_with_the_next_that_it_sends() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::join(&server, "late", ALIVE).await;
    joins(&mut incoming).await;
    for missed in [false, true, false] {
        if missed {
            server.original_missed(&client("late"));
        }
        peer.send(&["5", "", "", ""]).await;
        assert_eq!(peer.receive().await[0], "6");
        if missed {
            assert_eq!(peer.receive().await[0], "9");
        }
    }
}

#[tokio::test]
async fn everybody_of_the_language_is_told() {
    let (bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peers = Vec::new();
    for number in 0..3 {
        peers.push(Original::join(&server, &format!("ts{number}"), ALIVE).await);
    }
    let (_native, mut events) = join(&bus, &server, "native").await;
    joined(&mut events).await;
    let mut stranger = Original::connect(&server, "stranger").await;
    for _ in 0..4 {
        joins(&mut incoming).await;
    }
    server.tell_originals(Bytes::from_static(b"{}"));
    server.tell_original(&client("ts1"), Bytes::from_static(b"[1]"));
    for peer in &mut peers {
        assert_eq!(peer.receive().await, ["4", "", "{}"]);
    }
    assert_eq!(peers[1].receive().await, ["4", "", "[1]"]);
    stranger.send(&["5"]).await;
    assert_eq!(stranger.receive().await[0], "6");
    assert!(events.try_recv().is_err());
    server.tell_original(&client("native"), Bytes::new());
}

#[tokio::test]
async fn a_client_may_come_back_in_the_other_language() {
    let (bus, server, mut incoming) = house(DoorConfig::default()).await;
    let (native, mut events) = join(&bus, &server, "both").await;
    joined(&mut events).await;
    assert_eq!(joins(&mut incoming).await, (Language::Native, false));
    native.close(SHORT).await;
    let peer = Original::join(&server, "both", ALIVE).await;
    assert_eq!(joins(&mut incoming).await, (Language::Original, false));
    let (_native, mut events) = join(&bus, &server, "both").await;
    joined(&mut events).await;
    assert_eq!(joins(&mut incoming).await, (Language::Native, true));
    drop(peer);
    let _again = Original::join(&server, "both", ALIVE).await;
    assert_eq!(joins(&mut incoming).await, (Language::Original, true));
    let error = server.call(&client("both"), call("x"), Bytes::new(), SHORT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn hostile_input_costs_its_own_connection() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut good = Original::join(&server, "good", ALIVE).await;
    let long = "x".repeat(1 << 20);
    let deep = "[".repeat(1_000_000);

    // Before hello, large frames are nothing.
    let mut peer = Original::connect(&server, "bad").await;
    peer.send(&["0", &long, "{}", ""]).await;
    assert!(peer.ends().await.is_empty());

    let mut peer = Original::join(&server, "bad", ALIVE).await;
    for frames in [&["1", &long, "[]"][..], &["99", "", ""], &["0x"], &["6"], &["7", "a", "b"]] {
        peer.send(frames).await;
    }
    peer.send(&["0", "bad", &deep, ""]).await;
    assert_eq!(peer.receive().await[0], "0");
    peer.send(&["1", "bad-0", &deep]).await;
    let request = loop {
        let request = asked(&mut incoming).await;
        if request.body.len() == deep.len() {
            break request;
        }
    };
    request.responder.refuse("too deep");
    assert_eq!(peer.receive().await[..2], ["3", "bad-0"]);
    let dropped = server.dropped();
    assert_eq!((dropped.malformed, dropped.misplaced), (3, 2));

    for _ in 0..1000 {
        peer.send(&["0", "bad", "{}", ""]).await;
    }
    let answers = peer.ends().await.len();
    assert!(answers < 1000, "a flood of hellos is answered to the end");

    good.send(&["1", "good-0", "[]"]).await;
    asked(&mut incoming).await.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(good.receive().await, ["2", "good-0", "1"]);
}

#[tokio::test]
async fn a_closing_server_answers_what_is_in_progress_and_puts_the_rest_off() {
    let (_bus, server, mut incoming) = house(DoorConfig::default()).await;
    let mut peer = Original::join(&server, "ts", ALIVE).await;
    peer.send(&["1", "ts-0", "[]"]).await;
    let request = asked(&mut incoming).await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.close(LONG).await }
    });
    while TcpStream::connect(server.local_addr()).await.is_ok() {}
    peer.send(&["1", "ts-1", "[]"]).await;
    assert_eq!(peer.receive().await, ["7", "ts-1", "26"]);
    request.responder.reply(Bytes::from_static(b"1"));
    assert_eq!(peer.receive().await, ["2", "ts-0", "1"]);
    soon(closing).await.unwrap();
}
