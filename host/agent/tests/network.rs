//! An agent among its coordinator and its clients.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::{fs, time::Duration};

use bytes::Bytes;
use hulynet_bus::PeerEvent;
use hulynet_protocol::{
    Call, Caller, ConnectionId, ErrorKind, Event, Flow, Kind, Labels, Policy, Reply, Retry,
    StartContainer, Target,
};
use support::{
    Coordinator, ELSEWHERE, Told, World, container_call, epoch, id, kind, split, target, text,
};

fn kinds(names: &[&str]) -> Vec<Kind> {
    names.iter().map(|name| Kind::new(name).unwrap()).collect()
}

#[tokio::test]
async fn an_order_to_start_that_comes_twice_starts_once() {
    let world = World::new().await;
    world.start("a").await;
    world.request("a", "add", "[1]").await.unwrap();
    world.start("a").await;
    assert_eq!(world.request("a", "add", "[1]").await.unwrap(), "2");
}

#[tokio::test]
async fn a_higher_epoch_replaces_the_container_and_a_lower_one_is_refused() {
    let world = World::new().await;
    world.start("a").await;
    world.request("a", "add", "[1]").await.unwrap();
    world.start_as("a", 2, Labels::new()).await.unwrap();
    assert_eq!(world.request("a", "add", "[1]").await.unwrap(), "1");
    let error = world.start_as("a", 1, Labels::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::StaleEpoch);
    let mut call = container_call("a", "echo");
    call.target = Target { id: id("a"), epoch: Some(epoch(1)) };
    let answer = world.client.call(Call::Container(call), Bytes::new(), support::PATIENCE).await;
    assert_eq!(answer.unwrap_err().kind, ErrorKind::StaleEpoch);
}

#[tokio::test]
async fn an_unknown_kind_is_named_with_those_that_are_served() {
    let world = World::new().await;
    let mut order =
        StartContainer { id: id("a"), epoch: epoch(1), labels: Labels::new(), extra: vec![] };
    order.id.kind = Kind::new("nothing").unwrap();
    let error = world.coordinator.ask(Call::Start(order)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownKind);
    assert_eq!(error.message, "the agent does not serve the kind nothing; it serves: echo");
}

#[tokio::test]
async fn only_the_coordinator_starts_and_ends_containers() {
    let world = World::new().await;
    let order =
        StartContainer { id: id("a"), epoch: epoch(9), labels: Labels::new(), extra: vec![] };
    world.start("b").await;
    for call in [Call::Start(order), Call::Terminate { target: target("b"), force: true }] {
        let error = world.client.call(call, Bytes::new(), support::PATIENCE).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
    }
    assert_eq!(world.request("b", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_container_that_is_terminated_is_gone_and_its_connections_are_told_after_its_events() {
    let mut world = World::new().await;
    world.start("a").await;
    world.connect("a", "c").await.unwrap();
    assert_eq!(world.event().await, "\"welcome\"");
    world.request("a", "broadcast", "the last").await.unwrap();
    let ended = world.coordinator.ask(Call::Terminate { target: target("a"), force: false }).await;
    assert_eq!(ended.unwrap().reply, Reply::Terminated(true));
    assert_eq!(world.event().await, "the last");
    match world.heard().await {
        PeerEvent::Request(request) => {
            let connection = ConnectionId::new("c").unwrap();
            assert_eq!(request.call, Call::Disconnected { connection, error: None });
            request.responder.reply(Ok((Reply::Done, Bytes::new())));
        }
        other => panic!("expected the end of the connection, heard {other:?}"),
    }
    assert_eq!(world.request("a", "echo", "").await.unwrap_err().kind, ErrorKind::UnknownContainer);
    let again = world.coordinator.ask(Call::Terminate { target: target("a"), force: true }).await;
    assert_eq!(again.unwrap().reply, Reply::Terminated(true));
}

#[tokio::test]
async fn broadcasts_reach_direct_and_proxied_connections() {
    let mut world = World::new().await;
    world.start("a").await;
    world.connect("a", "direct").await.unwrap();
    let proxied = ConnectionId::new("proxied").unwrap();
    let connect = Call::Connect {
        target: target("a"),
        connection: proxied.clone(),
        caller: Caller::default(),
        flow: Flow::endless(Policy::Disconnect),
    };
    world.coordinator.ask(connect).await.unwrap();
    let call = Call::Container(container_call("a", "broadcast"));
    let response = world.coordinator.ask_with(call, Bytes::from_static(b"news")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "null");
    assert_eq!(world.event().await, "\"welcome\"");
    assert_eq!(world.event().await, "news");
    let mut told = Vec::new();
    while told.len() < 2 {
        match world.coordinator.told().await {
            Told::Event(event, payload) => {
                let Event::Container { connections, epoch: at, .. } = &event else { panic!() };
                assert_eq!((&connections[..], *at), (&[proxied.clone()][..], epoch(1)));
                told.extend(split(&event, &payload));
            }
            other => panic!("expected an event, was told {other:?}"),
        }
    }
    assert_eq!(told, ["\"welcome\"", "news"]);
}

#[tokio::test]
async fn a_kind_that_is_dropped_in_is_served_and_a_removed_one_is_not() {
    let mut world = World::new().await;
    fs::copy(kind("echo"), world.plugins.join("second.wasm")).unwrap();
    assert_eq!(world.coordinator.registration().await.kinds, kinds(&["echo", "second"]));
    fs::remove_file(world.plugins.join("echo.wasm")).unwrap();
    assert_eq!(world.coordinator.registration().await.kinds, kinds(&["second"]));
}

#[tokio::test]
async fn bad_files_are_left_out_and_the_others_are_served() {
    let mut world = World::new().await;
    let echo = fs::read(kind("echo")).unwrap();
    let bad: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"hello"),
        ("core", b"\0asm\x01\0\0\0"),
        ("world", b"\0asm\x0d\0\x01\0"),
        ("cut", &echo[..echo.len() / 2]),
    ];
    for (name, bytes) in bad {
        fs::write(world.plugins.join(format!("{name}.wasm")), bytes).unwrap();
    }
    fs::write(world.plugins.join("z.wasm"), &echo).unwrap();
    assert_eq!(world.coordinator.registration().await.kinds, kinds(&["echo", "z"]));
}

#[tokio::test]
async fn an_agent_that_lost_its_coordinator_fences_itself_and_comes_back_with_its_containers() {
    let mut world = World::leased(900, |config| {
        config.alive_timeout = Duration::from_millis(600);
        config.ping_interval = Duration::from_millis(100);
    })
    .await;
    world.start("a").await;
    world.request("a", "add", "[1]").await.unwrap();
    let lost = Coordinator::start(&world.bus, "127.0.0.1:0").await;
    let address = std::mem::replace(&mut world.coordinator, lost).stop().await;
    let fenced = async {
        loop {
            match world.request("a", "echo", "on").await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(support::PATIENCE, fenced).await.unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    world.coordinator = Coordinator::start(&world.bus, &address).await;
    let registration = world.coordinator.registration().await;
    assert_eq!(registration.doubtful.len(), 1);
    // Served again as soon as the agent has the answer.
    let served = async {
        while world.request("a", "echo", "on").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, served).await.unwrap();
    assert_eq!(world.request("a", "add", "[1]").await.unwrap(), "2");
}

#[tokio::test]
async fn a_shutdown_ends_containers_and_leaves_the_network() {
    let World { agent, mut coordinator, client, .. } = {
        let world = World::new().await;
        world.start("a").await;
        world.connect("a", "c").await.unwrap();
        world
    };
    agent.shutdown(Duration::from_secs(3)).await;
    while !matches!(coordinator.told().await, Told::Unregistered) {}
    let call = Call::Container(container_call("a", "echo"));
    let answer = client.call(call, Bytes::new(), Duration::from_millis(100)).await;
    assert_eq!(answer.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_container_that_lives_elsewhere_is_ended_without_being_asked() {
    let mut world = World::new().await;
    world.start(ELSEWHERE).await;
    world.start("a").await;
    let echo = fs::read(world.plugins.join("echo.wasm")).unwrap();
    fs::write(world.plugins.join("another.wasm"), &echo).unwrap();
    assert_eq!(world.coordinator.registration().await.doubtful.len(), 2);
    match world.coordinator.told().await {
        Told::Ended(ended, _) => assert_eq!(ended, id(ELSEWHERE)),
        other => panic!("expected an ending, was told {other:?}"),
    }
    let error = world.request(ELSEWHERE, "echo", "").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_client_that_connects_again_under_the_same_name_begins_anew() {
    let mut world = World::new().await;
    world.start("a").await;
    for _ in 0..2 {
        world.connect("a", "c").await.unwrap();
        assert_eq!(world.event().await, "\"welcome\"");
    }
    world.request("a", "broadcast", "once").await.unwrap();
    world.request("a", "broadcast", "twice").await.unwrap();
    assert_eq!(world.event().await, "once");
    assert_eq!(world.event().await, "twice");
}

#[tokio::test]
async fn the_name_of_another_clients_connection_is_taken_and_that_is_no_final_answer() {
    let mut world = World::new().await;
    world.start("a").await;
    world.connect("a", "c").await.unwrap();
    let connect = Call::Connect {
        target: target("a"),
        connection: ConnectionId::new("c").unwrap(),
        caller: Caller::default(),
        flow: Flow::endless(Policy::Disconnect),
    };
    let error = world.coordinator.ask(connect).await.unwrap_err();
    assert_eq!(error.retry, Retry::NotProcessed);
    assert_eq!(world.event().await, "\"welcome\"");
}

#[tokio::test]
async fn an_agent_tells_what_a_container_may_use_and_uses() {
    let world = World::with(|config| config.limits.mailbox = 7).await;
    world.start("a").await;
    let limits = world.limits(id("a")).await.unwrap();
    let limit = |name: &str| limits.iter().find(|limit| limit.name == name).unwrap();
    assert_eq!((limit("mailbox").allowed, limit("mailbox").used), (7, Some(0)));
    let memory = limit("memory");
    assert!(memory.used.is_some_and(|used| (65_536..memory.allowed).contains(&used)), "{memory:?}");
    assert_eq!(limit("events").used, None);
}
