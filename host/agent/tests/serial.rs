//! A kind of the world `container-sync` in a real agent. It is dropped in under
//! the name `echo`, which is that of all kinds here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hulynet_agent::{AgentConfig, KindPolicy, World as KindWorld, inspect};
use hulynet_protocol::{
    Call, Caller, ConnectionId, ErrorKind, Labels, NetworkError, Reply, Retry, StartContainer,
};
use support::{PATIENCE, World, container_call, epoch, grants, id, kind, listen, target, told_of};

/// An agent with the kind, and a container of it.
async fn serial(settings: impl FnOnce(&mut AgentConfig)) -> World {
    let world = World::with(|config| {
        fs::copy(kind("serial"), config.plugins.join("echo.wasm")).unwrap();
        settings(config);
    })
    .await;
    world.start("a").await;
    world
}

async fn terminate(world: &World, force: bool) -> Reply {
    let call = Call::Terminate { target: target("a"), force };
    world.coordinator.ask(call).await.unwrap().reply
}

/// A request that waits for another container, for as long as it is waited for.
async fn wait(world: &World, time: Duration) -> NetworkError {
    world.request_within(time, "a", "ask-for-ever", "other").await.unwrap_err()
}

#[tokio::test]
async fn it_answers_keeps_its_state_and_knows_itself_and_its_caller() {
    let world = serial(|_| {}).await;
    assert_eq!(world.request("a", "echo", "{not json").await.unwrap(), "{not json");
    assert_eq!(world.request("a", "who", "").await.unwrap(), "echo/a for anna");
    let told = world.request("a", "told", "").await.unwrap();
    assert_eq!(told, "echo begins, echo ends, who begins, who ends, told begins");
    let error = world.request("a", "none", "").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::UnknownOperation, Retry::Final));
    let error = world.request("a", "fail", "no").await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Application, "no"));
}

#[tokio::test]
async fn it_does_one_thing_at_a_time_and_takes_no_thread_while_it_waits() {
    let world = serial(|_| {}).await;
    world.start("b").await;
    let begun = Instant::now();
    let waiting = wait(&world, Duration::from_millis(600));
    let others = async {
        // All of this test runs on one thread.
        assert_eq!(world.request("b", "echo", "on").await.unwrap(), "on");
        let other = begun.elapsed();
        let told = world.request("a", "told", "").await.unwrap();
        (other, told, begun.elapsed())
    };
    let (error, (other, told, same)) = tokio::join!(waiting, others);
    assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
    assert!(other < Duration::from_millis(500), "another container waited for {other:?}");
    assert_eq!(told, "ask-for-ever begins, ask-for-ever ends, told begins");
    assert!(same >= Duration::from_millis(500), "it was asked after {same:?}");
}

#[tokio::test]
async fn it_asks_others_in_its_callers_name_or_in_its_own() {
    let world = serial(|_| {}).await;
    let asked = |account| {
        format!("other: query/other hear please for {account} by Some(\"echo/a\") within 30s")
    };
    assert_eq!(world.request("a", "ask", "query").await.unwrap(), asked("Some(\"anna\")"));
    assert_eq!(world.request("a", "ask-own", "query").await.unwrap(), asked("None"));
    let whole = world.request("a", "ask-for-stream", "query").await.unwrap();
    assert_eq!(whole, "other: one two three");
}

#[tokio::test]
async fn it_commits_documents_and_finds_them_for_an_account() {
    let world = World::with(|config| {
        fs::copy(kind("serial"), config.plugins.join("echo.wasm")).unwrap();
    })
    .await;
    let labels = Labels::from([("workspace".to_owned(), "w".to_owned())]);
    world.start_as("a", 1, labels).await.unwrap();
    let answer = world.request("a", "commit", "w").await.unwrap();
    assert!(answer.starts_with("1: {") && answer.contains("\"kept\""), "{answer}");
    let error = world.request("a", "commit", "another").await.unwrap_err();
    assert!(error.message.contains("may not commit to the workspace another"), "{error}");
    let mut nobodys = container_call("a", "commit");
    nobodys.caller = Caller::outside(None);
    let commits = world.client.call(Call::Container(nobodys), Bytes::from_static(b"w"), PATIENCE);
    let error = commits.await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::PermissionDenied, Retry::Final), "{error}");
    let remedy = "pass the caller, or start echo/a with the label account=NAME";
    assert!(error.message.contains(remedy), "{error}");
}

#[tokio::test]
async fn who_calls_others_again_and_again_is_refused_for_a_while() {
    let world = serial(|config| config.limits.calls = 1).await;
    for (operation, argument) in [("pester", "query"), ("reread", "w")] {
        world.start(operation).await;
        let answer = world.request(operation, operation, argument).await.unwrap();
        let (served, refusal) = answer.split_once(' ').unwrap();
        // The burst, of which two may be to open the workspace, and one for each second
        // that it took.
        assert!((8..20).contains(&served.parse::<u32>().unwrap()), "{operation}: {served}");
        let told = format!("the container echo/{operation} calls others more often than it may");
        assert!(refusal.starts_with(&told), "{refusal}");
    }
}

#[tokio::test]
async fn its_clients_hear_what_it_broadcasts_and_it_hears_of_them() {
    let mut world = serial(|_| {}).await;
    let error = world.connect("a", "unwanted").await.unwrap_err();
    assert_eq!(error.message, "nobody wants it");
    world.connect("a", "wanted").await.unwrap();
    world.until_it_uses(id("a"), "connections", 1).await;
    world.request("a", "broadcast", "news").await.unwrap();
    assert_eq!(world.event().await, "news");
    let connection = ConnectionId::new("wanted").unwrap();
    let call = Call::Disconnect { connection };
    world.client.call(call, Bytes::new(), PATIENCE).await.unwrap();
    let told = world.request("a", "told", "").await.unwrap();
    assert_eq!(
        told,
        "unwanted connects, wanted connects, broadcast begins, broadcast ends, wanted left, told begins"
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_with_what_helps_without_streams() {
    let world = serial(|config| config.limits.reply_bytes = 100).await;
    let fits = "x".repeat(100);
    assert_eq!(world.request("a", "echo", &fits).await.unwrap(), fits);
    let error = world.request("a", "echo", &"x".repeat(101)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::TooLarge, Retry::MaybeProcessed));
    let told = "the answer has 101 bytes, and at most 100 are allowed; answer in parts that are asked \
                for one by one, or raise the limit reply-bytes of its kind in the agent's grants, and in its \
                manifest where that lowers it, and start the agent again";
    assert_eq!(error.message, told);
}

#[tokio::test]
async fn a_trap_ends_it_only_and_the_operator_is_told_where_in_its_code() {
    listen();
    let mut world = serial(|_| {}).await;
    // The log is that of all tests here, and another one ends `a`.
    world.start("traps").await;
    let error = world.request("traps", "trap", "").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::MaybeProcessed));
    match world.coordinator.told().await {
        support::Told::Ended(ended, _) => assert_eq!(ended, id("traps")),
        other => panic!("expected an ending, was told {other:?}"),
    }
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
    assert!(!error.message.contains("backtrace"), "{error}");
    let ending = told_of("the container ended: it failed", "echo/traps").await;
    assert!(ending.contains("wasm backtrace") && ending.contains("unreachable"), "{ending}");
}

#[tokio::test]
async fn a_start_that_it_refuses_is_answered_with_its_reason() {
    let world = serial(|_| {}).await;
    let (id, extra) = (id("b"), b"refuse".to_vec());
    let order = StartContainer { id, epoch: epoch(1), labels: Labels::new(), extra };
    let error = world.coordinator.ask(Call::Start(order)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Application, Retry::Final));
    assert_eq!(error.message, "it was told to refuse");
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn computing_without_end_is_stopped_and_sleeping_is_not_computing() {
    let world = serial(|config| config.limits.compute = Duration::from_millis(400)).await;
    world.request("a", "nap", "").await.unwrap();
    let error = world.request("a", "spin", "").await.unwrap_err();
    assert!(error.message.contains("without a pause"), "{error}");
}

#[tokio::test]
async fn it_is_not_pinged_while_somebody_waits_for_its_answer() {
    let world = serial(|config| {
        config.limits.silent = Duration::from_millis(100);
        config.limits.ping = Duration::from_millis(100);
    })
    .await;
    let error = wait(&world, Duration::from_millis(700)).await;
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn it_finishes_what_it_does_before_it_terminates_unless_it_is_forced() {
    let mut world = serial(|config| config.limits.terminate = Duration::from_millis(100)).await;
    let end = async |world: &World, force| {
        world.until_it_uses(id("a"), "outgoing", 1).await;
        terminate(world, force).await
    };
    let time = Duration::from_millis(500);
    let (error, terminated) = tokio::join!(wait(&world, time), end(&world, false));
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
    assert_eq!(terminated, Reply::Terminated(false));
    match world.coordinator.told().await {
        support::Told::Ended(ended, _) => assert_eq!(ended, id("a")),
        other => panic!("expected an ending, was told {other:?}"),
    }
    world.start_as("a", 2, Labels::new()).await.unwrap();
    let (error, terminated) = tokio::join!(wait(&world, PATIENCE), end(&world, true));
    assert_eq!(error.kind, ErrorKind::ContainerEnded);
    assert_eq!(terminated, Reply::Terminated(true));
}

#[tokio::test]
async fn its_world_and_its_concurrency_are_told() {
    let policy = KindPolicy { grants: grants(), ..KindPolicy::default() };
    let found = inspect(&kind("serial"), policy, None).unwrap();
    assert_eq!(found.world, Some(KindWorld::ContainerSync));
    let asked = found.asked.to_string();
    assert_eq!(asked, "containers = [\"*\"], documents = true");
    assert_eq!(found.terms.unwrap().concurrency().as_str(), "exclusive");
    let found = inspect(&kind("echo"), KindPolicy::default(), None).unwrap();
    assert_eq!(found.world, Some(KindWorld::Container));
}
