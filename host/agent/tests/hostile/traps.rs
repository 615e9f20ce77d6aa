//! Kinds that fail or never finish, in each of their exports.

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hulynet_agent::AgentConfig;
use hulynet_protocol::{
    Call, Caller, ConnectionId, ErrorKind, Flow, NetworkError, Policy, Reply, Retry, Target,
};

use crate::{
    stage::{Stage, both, id},
    support::{PATIENCE, Told},
};

/// Limits that a test can wait for.
fn short(config: &mut AgentConfig) {
    config.limits.compute = Duration::from_millis(200);
    config.limits.start = Duration::from_millis(400);
}

/// The container ended, and the caller knows which kind and why, but not where
/// in its code.
fn ended(error: &NetworkError, attack: &str, cause: &str) {
    assert_eq!(error.kind, ErrorKind::ContainerEnded, "{error}");
    assert_eq!(error.retry, Retry::MaybeProcessed, "{error}");
    assert!(error.message.contains(&format!("{}/", attack)), "{error}");
    assert!(error.message.contains(cause), "{error}");
    assert!(!error.message.contains("wasm backtrace"), "{error}");
}

async fn connect(stage: &Stage, attack: &str) -> Result<(), NetworkError> {
    let target = Target { id: id(attack, attack), epoch: None };
    let connection = ConnectionId::new("c").unwrap();
    let flow = Flow::endless(Policy::Disconnect);
    let call = Call::Connect { target, connection, caller: Caller::default(), flow };
    stage.world.client.call(call, Bytes::new(), PATIENCE).await.map(drop)
}

async fn terminate(stage: &Stage, attack: &str, force: bool) -> Reply {
    let target = Target { id: id(attack, attack), epoch: None };
    stage.world.coordinator.ask(Call::Terminate { target, force }).await.unwrap().reply
}

/// The coordinator is told that it ended, while the healthy container goes on,
/// and its name is free again.
async fn gone(stage: &mut Stage, attack: &str) {
    match stage.told().await {
        Told::Ended(ended, _) => assert_eq!(ended, id(attack, attack)),
        other => panic!("expected an ending, was told {other:?}"),
    }
    let error = stage.ask(attack, attack, "attack", "").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownContainer, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_traps_or_never_ends_is_a_failed_start() {
    let stage = Stage::new(short).await;
    for (attack, cause) in [
        ("trap-in-start", "unreachable"),
        ("stuck-start", "without a pause"),
        ("trap-in-realloc", "unreachable"),
    ] {
        for attack in both(attack) {
            let started = stage.beside(stage.start_with(&attack, &attack, "x")).await;
            let error = started.unwrap_err();
            assert_eq!((error.kind, error.retry), (ErrorKind::StartFailed, Retry::NotProcessed));
            assert!(error.message.contains(cause), "{attack}: {error}");
            assert!(!error.message.contains("wasm backtrace"), "{error}");
        }
    }
    let error = stage.beside(stage.start_with("hostile", "h", "wait")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::StartFailed);
    assert!(error.message.contains("did not start within 400ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_container_that_does_not_start_is_told_why() {
    let stage = Stage::new(|config| config.limits.terminate = Duration::from_millis(50)).await;
    for attack in both("stuck-start") {
        let started = stage.start(&attack);
        let asked = stage.ask(&attack, &attack, "attack", "");
        let connected = connect(&stage, &attack);
        let waiting = async {
            let id = id(&attack, &attack);
            stage.world.until_it_uses(id.clone(), "mailbox", 0).await;
            let end = async {
                stage.world.until_it_uses(id, "mailbox", 2).await;
                terminate(&stage, &attack, true).await
            };
            tokio::join!(asked, connected, end)
        };
        let all = Box::pin(async { tokio::join!(started, waiting) });
        let (started, (asked, connected, _)) = stage.beside(all).await;
        let cause = "it was asked to terminate and did not answer within 50ms";
        let error = started.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::StartFailed, cause));
        for error in [asked.unwrap_err(), connected.unwrap_err()] {
            assert_eq!((error.kind, error.retry), (ErrorKind::StartFailed, Retry::NotProcessed));
            let told = format!("the container {attack}/{attack} could not start: {cause}");
            assert_eq!(error.message, told);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_to_be_connected_to_a_container_that_ends_is_told_why() {
    let mut stage = Stage::new(|config| {
        (config.limits.concurrent, config.limits.terminate) = (1, Duration::from_millis(50));
    })
    .await;
    for attack in both("loop") {
        stage.start(&attack).await.unwrap();
        let asked = stage.ask(&attack, &attack, "attack", "x");
        let waiting = async {
            let id = id(&attack, &attack);
            // Its bytes count while it is worked on, and nothing waits.
            stage.world.until_it_uses(id.clone(), "mailbox-bytes", 1).await;
            stage.world.until_it_uses(id.clone(), "mailbox", 0).await;
            let end = async {
                stage.world.until_it_uses(id, "mailbox", 1).await;
                terminate(&stage, &attack, true).await
            };
            tokio::join!(connect(&stage, &attack), end)
        };
        let all = Box::pin(async { tokio::join!(asked, waiting) });
        let (asked, (connected, _)) = stage.beside(all).await;
        let cause = "it was asked to terminate and did not answer within 50ms";
        ended(&asked.unwrap_err(), &attack, cause);
        let error = connected.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::NotProcessed));
        let told = format!("the container {attack}/{attack} ended before the request: {cause}");
        assert_eq!(error.message, told);
        gone(&mut stage, &attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_traps_or_never_ends_ends_its_container_only() {
    let mut stage = Stage::new(short).await;
    for (attack, cause) in
        [("trap-in-request", "unreachable"), ("loop", "without a pause"), ("recursion", "stack")]
    {
        for attack in both(attack) {
            let error = stage.beside(stage.attack(&attack)).await.unwrap_err();
            ended(&error, &attack, cause);
            gone(&mut stage, &attack).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_while_clients_come_and_go_ends_its_container_only() {
    let mut stage = Stage::new(short).await;
    for attack in both("trap-in-connect") {
        stage.start(&attack).await.unwrap();
        let error = stage.beside(connect(&stage, &attack)).await.unwrap_err();
        ended(&error, &attack, "unreachable");
        gone(&mut stage, &attack).await;
    }
    for attack in both("trap-in-disconnect") {
        stage.start(&attack).await.unwrap();
        connect(&stage, &attack).await.unwrap();
        let leave = Call::Disconnect { connection: ConnectionId::new("c").unwrap() };
        let left = stage.beside(stage.world.client.call(leave, Bytes::new(), PATIENCE)).await;
        assert_eq!(left.unwrap().reply, Reply::Done);
        gone(&mut stage, &attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_that_traps_or_never_ends_ends_its_container_only() {
    let mut stage = Stage::new(|config| {
        short(config);
        config.limits.silent = Duration::from_millis(50);
    })
    .await;
    for attack in ["trap-in-ping", "stuck-ping"].iter().flat_map(|attack| both(attack)) {
        stage.start(&attack).await.unwrap();
        gone(&mut stage, &attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_traps_or_never_ends_when_it_is_to_terminate_is_gone() {
    let mut stage = Stage::new(short).await;
    for (attack, force) in
        [("trap-in-terminate", false), ("stuck-terminate", false), ("stuck-terminate", true)]
    {
        for attack in both(attack) {
            stage.start(&attack).await.unwrap();
            let reply = stage.beside(terminate(&stage, &attack, force)).await;
            assert_eq!(reply, Reply::Terminated(true), "{attack:?}");
            gone(&mut stage, &attack).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_one_thing_at_a_time_may_terminate_as_slowly_as_others() {
    let allowed = Duration::from_secs(2);
    let settings = |config: &mut AgentConfig| {
        (config.limits.concurrent, config.limits.terminate) = (1, allowed);
    };
    let mut stage = Stage::new(settings).await;
    stage.start_with("hostile", "hostile", "stay").await.unwrap();
    let began = Instant::now();
    let reply = stage.beside(terminate(&stage, "hostile", false)).await;
    assert_eq!(reply, Reply::Terminated(true));
    assert!(began.elapsed() >= allowed, "it had only {:?}", began.elapsed());
    gone(&mut stage, "hostile").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_for_ever_when_it_is_to_terminate_is_gone_in_time() {
    let settings = |config: &mut AgentConfig| config.limits.terminate = Duration::from_millis(200);
    let mut stage = Stage::new(settings).await;
    for force in [false, true] {
        stage.start_with("hostile", "hostile", "stay").await.unwrap();
        let waiting = stage.ask("hostile", "hostile", "wait", "");
        let (waited, reply) = stage
            .beside(async { tokio::join!(waiting, terminate(&stage, "hostile", force)) })
            .await;
        assert_eq!(reply, Reply::Terminated(true));
        let error = waited.unwrap_err();
        ended(&error, "hostile", "was asked to terminate and did not answer within 200ms");
        gone(&mut stage, "hostile").await;
    }
}

/// Containers of the kind `hostile` are ended without being asked.
fn keeps_nothing(config: &mut AgentConfig) {
    let manifest = "termination = \"at-once\"\n[asks]\ndocuments = true\ncontainers = [\"*\"]\n";
    fs::write(config.plugins.join("hostile.toml"), manifest).unwrap();
    // Whoever asked them would wait for longer than a test.
    config.limits.terminate = 10 * PATIENCE;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_kind_says_that_it_keeps_nothing_is_ended_without_being_asked() {
    let mut stage = Stage::new(keeps_nothing).await;
    stage.start_with("hostile", "hostile", "stay").await.unwrap();
    let reply = stage.beside(terminate(&stage, "hostile", false)).await;
    assert_eq!(reply, Reply::Terminated(true));
    gone(&mut stage, "hostile").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_terminated_while_it_starts_is_no_failed_start() {
    let stage = Stage::new(keeps_nothing).await;
    let started = stage.start_with("hostile", "hostile", "wait");
    let ended = async {
        stage.world.until_it_uses(id("hostile", "hostile"), "mailbox", 0).await;
        terminate(&stage, "hostile", false).await
    };
    let both = Box::pin(async { tokio::join!(started, ended) });
    let (started, ended) = stage.beside(both).await;
    assert_eq!(ended, Reply::Terminated(true));
    let error = started.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    assert_eq!(error.message, "it was terminated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_sleeps_for_ever_does_not_answer_its_ping_and_ends() {
    let stage = Stage::new(|config| {
        config.limits.silent = Duration::from_millis(100);
        config.limits.ping = Duration::from_millis(200);
    })
    .await;
    stage.start("hostile").await.unwrap();
    let error = stage.beside(stage.ask("hostile", "hostile", "sleep", "")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerEnded);
    assert!(error.message.contains("did not answer a ping within 200ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_one_thing_at_a_time_and_sleeps_for_ever_ends_when_nobody_waits_for_it() {
    let mut stage = Stage::new(|_| {}).await;
    stage.start("serial").await.unwrap();
    let soon = Duration::from_millis(50);
    let error = stage
        .beside(async {
            let asked = stage.ask_within(soon, "serial", "serial", "sleep-for-ever", "").await;
            assert_eq!(asked.unwrap_err().kind, ErrorKind::DeadlineExceeded);
            stage.ask("serial", "serial", "echo", "").await.unwrap_err()
        })
        .await;
    assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::NotProcessed));
    assert!(error.message.contains("did not finish a call"), "{error}");
    gone(&mut stage, "serial").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_answers_and_does_not_heed_its_callers_is_ended_when_it_is_full() {
    let stage = Stage::new(|config| config.limits.concurrent = 2).await;
    stage.start("stubborn").await.unwrap();
    let soon = Duration::from_millis(50);
    let given_up = (0..2).map(|_| stage.ask_within(soon, "stubborn", "stubborn", "wait", ""));
    for answer in stage.beside(futures::future::join_all(given_up)).await {
        assert_eq!(answer.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    }
    let error = stage.beside(stage.ask("stubborn", "stubborn", "wait", "")).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::NotProcessed));
    assert!(error.message.contains("did not finish any of 2 calls"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_a_stream_is_told_why_it_broke_off() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut chunks = stage.stream("endless").await.unwrap();
    chunks.next().await.unwrap().unwrap();
    let reading = async {
        loop {
            match chunks.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("it looks complete"),
            }
        }
    };
    let (error, reply) =
        stage.beside(async { tokio::join!(reading, terminate(&stage, "hostile", true)) }).await;
    assert_eq!(reply, Reply::Terminated(true));
    ended(&error, "hostile", "it was terminated");
}
