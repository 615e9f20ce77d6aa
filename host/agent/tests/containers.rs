//! Containers of the kind `echo` in a real agent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hulynet_agent::Grants;
use hulynet_protocol::{
    AccountId, Call, ContainerId, ErrorKind, Kind, Labels, NetworkError, Reply, Retry,
    StartContainer, Target, Uuid, WorkspaceId,
};
use hulynet_store::{Commit, Documents};
use serde_json::json;
use support::{ACCOUNT, PATIENCE, World, container_call, epoch, id, kind};

#[tokio::test]
async fn a_container_answers_and_knows_itself_and_its_caller() {
    let world = World::new().await;
    let labels = Labels::from([("region".to_owned(), "eu".to_owned())]);
    world.start_as("a", 1, labels).await.unwrap();
    assert_eq!(world.request("a", "echo", "{not json").await.unwrap(), "{not json");
    let who = world.request("a", "who", "").await.unwrap();
    for part in [
        "\"uuid\":\"a\"",
        "\"epoch\":[1,1]",
        "\"region\":\"eu\"",
        ACCOUNT,
        world.agent.id().as_str(),
    ] {
        assert!(who.contains(part), "{part} in {who}");
    }
}

#[tokio::test]
async fn several_requests_run_at_once_and_state_stays() {
    let world = World::new().await;
    world.start("a").await;
    assert_eq!(world.request("a", "add", "[2]").await.unwrap(), "2");
    assert_eq!(world.request("a", "add", "[3]").await.unwrap(), "5");
    let waiting = world.request("a", "wait", "");
    let waking = async {
        // The container answers in between, so the first one is waiting.
        assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
        world.request("a", "wake", "").await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, waking);
    assert_eq!(waited.unwrap(), "null");
}

#[tokio::test]
async fn a_streamed_answer_arrives_complete_or_ends_with_its_error() {
    let world = World::new().await;
    world.start("a").await;
    let answer = world.request("a", "stream", "[200, 10000]").await.unwrap();
    assert_eq!(answer.lines().count(), 200);
    assert_eq!(answer.len(), 200 * 10_003);
    let error = world.request("a", "broken_stream", "[3]").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Application);
    assert_eq!(error.message, "the stream was asked to break");
}

#[tokio::test]
async fn an_error_of_the_container_reaches_its_caller_unchanged() {
    let world = World::new().await;
    world.start("a").await;
    let error = world.request("a", "fail", "[\"no\"]").await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Application, "no"));
    assert_eq!(world.request("a", "none", "").await.unwrap_err().kind, ErrorKind::UnknownOperation);
}

#[tokio::test]
async fn a_trap_ends_its_container_only_and_answers_everyone_who_waits() {
    let mut world = World::new().await;
    world.start("a").await;
    world.start("b").await;
    let (waited, trapped) =
        tokio::join!(world.request("a", "wait", ""), world.request("a", "trap", ""));
    for error in [waited.unwrap_err(), trapped.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::ContainerEnded);
        assert_eq!(error.retry, Retry::MaybeProcessed);
        assert!(error.message.contains("echo/a"), "{error}");
        assert!(!error.message.contains("backtrace"), "{error}");
    }
    match world.coordinator.told().await {
        support::Told::Ended(ended, at) => assert_eq!((ended, at), (id("a"), epoch(1))),
        other => panic!("expected an ending, was told {other:?}"),
    }
    assert_eq!(world.request("b", "echo", "on").await.unwrap(), "on");
    let error = world.request("a", "echo", "").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::UnknownContainer, Retry::NotProcessed));
}

#[tokio::test]
async fn a_container_that_computes_without_end_is_stopped_and_delays_nobody() {
    let world = World::with(|config| config.limits.compute = Duration::from_millis(400)).await;
    world.start("spinner").await;
    world.start("b").await;
    let spinning = world.request("spinner", "spin", "");
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let begun = Instant::now();
            world.request("b", "echo", "on").await.unwrap();
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    };
    let (spun, slowest) = tokio::join!(spinning, others);
    let error = spun.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerEnded);
    assert!(error.message.contains("without a pause"), "{error}");
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
}

#[tokio::test]
async fn a_container_that_takes_too_much_memory_ends() {
    let world = World::with(|config| config.limits.memory = 16 * 1024 * 1024).await;
    world.start("a").await;
    assert_eq!(world.request("a", "grow", "").await.unwrap_err().kind, ErrorKind::ContainerEnded);
}

#[tokio::test]
async fn a_deadline_ends_the_request_and_not_the_container() {
    let world = World::new().await;
    world.start("a").await;
    let error =
        world.request_within(Duration::from_millis(100), "a", "wait", "").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_full_mailbox_refuses_more_requests_unprocessed() {
    let world = World::with(|config| {
        config.limits.mailbox = 1;
        config.limits.concurrent = 1;
    })
    .await;
    world.start("a").await;
    let waiting = (0..3).map(|_| world.request_within(Duration::from_millis(500), "a", "wait", ""));
    let refused: Vec<_> = futures::future::join_all(waiting)
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .filter(|error| error.kind == ErrorKind::Busy)
        .collect();
    // One is worked on and one waits, or the second came before the first was taken.
    assert!((1..=2).contains(&refused.len()), "{refused:?}");
    assert!(refused.iter().all(|error| error.retry == Retry::NotProcessed));
}

#[tokio::test]
async fn a_mailbox_takes_so_many_bytes_and_a_container_so_many_connections() {
    let world = World::with(|config| {
        config.limits.mailbox_bytes = 100;
        config.limits.connections = 1;
    })
    .await;
    world.start("a").await;
    let fits = "x".repeat(100);
    assert_eq!(world.request("a", "echo", &fits).await.unwrap(), fits);
    let error = world.request("a", "echo", &"x".repeat(101)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed), "{error}");
    world.connect("a", "first").await.unwrap();
    let error = world.connect("a", "second").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(error.message.contains("as many connections as it may have"), "{error}");
}

#[tokio::test]
async fn a_silent_container_is_pinged_and_stays() {
    let mut world = World::with(|config| {
        config.limits.silent = Duration::from_millis(50);
        config.limits.ping = Duration::from_millis(5_000);
    })
    .await;
    world.start("a").await;
    let heard = tokio::time::timeout(Duration::from_millis(300), world.coordinator.told()).await;
    assert!(heard.is_err(), "it ended: {heard:?}");
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_container_that_does_not_answer_a_ping_is_ended() {
    let world = World::with(|config| {
        config.limits.silent = Duration::from_millis(50);
        config.limits.ping = Duration::from_millis(50);
    })
    .await;
    world.start("a").await;
    let error = world.request("a", "spin", "").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerEnded);
    assert!(error.message.contains("did not answer a ping"), "{error}");
}

#[tokio::test]
async fn a_container_that_does_not_start_in_time_is_a_failed_start_and_poisons_nothing() {
    let mut world = World::with(|config| config.limits.start = Duration::ZERO).await;
    for counter in 1..3 {
        let error = world.start_as("a", counter, Labels::new()).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::StartFailed, Retry::NotProcessed));
        assert!(error.message.contains("it did not start"), "{error}");
        // Also as an end, in case that the answer is lost with the connection.
        match world.coordinator.told().await {
            support::Told::Ended(ended, at) => assert_eq!((ended, at.counter), (id("a"), counter)),
            other => panic!("expected an ending, was told {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_done_all_the_same() {
    let world = World::new().await;
    world.start("a").await;
    let mut call = container_call("a", "add");
    call.send = true;
    let payload = Bytes::from_static(b"[5]");
    let response = world.client.call(Call::Container(call), payload, PATIENCE).await;
    assert_eq!(response.unwrap().reply, Reply::Done);
    assert_eq!(world.request("a", "add", "[1]").await.unwrap(), "6");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_closes_no_circle_and_is_not_nested() {
    let world = World::with(|config| {
        (config.limits.concurrent, config.limits.depth) = (1, 2);
    })
    .await;
    world.start("a").await;
    let ask = async |send| {
        let mut call = container_call("a", "add");
        call.caller.path = vec![id("b"), id("a")];
        call.send = send;
        world.client.call(Call::Container(call), Bytes::from_static(b"[5]"), PATIENCE).await
    };
    assert_eq!(ask(false).await.unwrap_err().kind, ErrorKind::Busy);
    assert_eq!(ask(true).await.unwrap().reply, Reply::Done);
    assert_eq!(world.request("a", "add", "[1]").await.unwrap(), "6");
}

#[tokio::test]
async fn a_request_to_another_container_carries_who_asks() {
    let world = World::new().await;
    world.start("a").await;
    let answer = world.request("a", "forward", r#"["other", "x", "do", 5000]"#).await.unwrap();
    assert_eq!(answer, "other/x do \"forwarded\" for Some(\"anna\") by Some(\"echo/a\") within 5s");
    let answer = world.request("a", "forward", r#"["other", "x", "stream", 5000]"#).await.unwrap();
    assert_eq!(answer, "one two three");
}

#[tokio::test]
async fn a_container_says_which_other_one_it_wants_and_where() {
    let world = World::new().await;
    world.start("a").await;
    let wanted = r#"["other", {"labels": {"tier": "web"}, "one_of": {"zone": ["2", "1"]},
        "none_of": {"env": ["test"]}, "present": ["gpu"], "absent": ["spot"],
        "near": {"region": "europe"}, "avoid": {"disk": "slow"}}]"#;
    let asked = r#"{"tier": "web"} with zone in (1,2),env!=test,gpu,!spot near {"region": "europe"} avoiding {"disk": "slow"}"#;
    assert_eq!(world.request("a", "find", wanted).await.unwrap(), asked);
    let eve = r#"["other", {"one_of": {"account": ["eve"]}}]"#;
    let error = world.request("a", "find", eve).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_container_of_another_tenant_is_not_reached_by_its_name() {
    let world = World::new().await;
    world
        .start_as("a", 1, Labels::from([("account".to_owned(), ACCOUNT.to_owned())]))
        .await
        .unwrap();
    let own = r#"["other", "account=anna", "do", 5000]"#;
    world.request("a", "forward", own).await.unwrap();
    for other in ["account=eve", "workspace=theirs"] {
        let arguments = format!(r#"["other", "{other}", "do", 5000]"#);
        let error = world.request("a", "forward", &arguments).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert!(error.message.contains(&format!("with the label {other}")), "{error}");
    }
}

#[tokio::test]
async fn what_a_tenants_container_starts_belongs_to_the_tenant_unless_its_kind_is_shared() {
    let text = "[default]\ncontainers = [\"*\"]\n[kind.common]\nshared = true";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let world = World::with(|config| config.grants = grants).await;
    let account = Labels::from([("account".to_owned(), ACCOUNT.to_owned())]);
    world.start_as("anna's", 1, account).await.unwrap();
    world.start("nobody's").await;
    for (own, kind, labels) in [
        ("anna's", "other", r#"{"tenant": "account=anna"} with"#),
        ("anna's", "common", "{} with"),
        ("nobody's", "other", "{} with"),
    ] {
        let wanted = world.request(own, "find", &format!(r#"["{kind}", {{}}]"#)).await.unwrap();
        assert!(wanted.starts_with(labels), "{own} wants {kind}: {wanted}");
    }
}

#[tokio::test]
async fn a_kind_that_is_granted_other_tenants_reaches_their_containers() {
    let asks = "containers = [\"*\"]\nother-tenants = true\n";
    let grants = Grants::parse("grants.toml", &format!("[kind.echo]\n{asks}")).unwrap();
    let world = World::with(|config| {
        fs::write(config.plugins.join("echo.toml"), format!("[asks]\n{asks}")).unwrap();
        config.grants = Arc::new(grants);
    })
    .await;
    let labels = Labels::from([("account".to_owned(), ACCOUNT.to_owned())]);
    world.start_as("a", 1, labels).await.unwrap();
    let other = r#"["other", "account=eve", "do", 5000]"#;
    let answer = world.request("a", "forward", other).await.unwrap();
    assert!(answer.starts_with("other/account=eve do \"forwarded\""), "{answer}");
    let eves = r#"["other", {"one_of": {"account": ["eve"]}}]"#;
    let found = world.request("a", "find", eves).await.unwrap();
    assert!(found.contains("with account=eve"), "{found}");
    // What it names nobody for is still its own tenant's.
    let found = world.request("a", "find", r#"["other", {}]"#).await.unwrap();
    assert!(found.starts_with(&format!(r#"{{"tenant": "account={ACCOUNT}"}} with"#)), "{found}");
}

#[tokio::test]
async fn what_another_container_broadcasts_is_passed_on() {
    let mut world = World::new().await;
    world.start("a").await;
    world.connect("a", "c").await.unwrap();
    world.request("a", "relay", r#"["other", "x"]"#).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(world.event().await);
    }
    assert_eq!(events, ["\"welcome\"", "first", "second"]);
}

#[tokio::test]
async fn calls_whose_callers_gave_up_make_room_for_others_and_end_with_the_deadline() {
    let world = World::with(|config| config.limits.concurrent = 2).await;
    world.start("a").await;
    let within = Duration::from_secs(1);
    let mut given_up = [(); 2].map(|()| Box::pin(world.request_within(within, "a", "wait", "[]")));
    for request in &mut given_up {
        assert!(futures::poll!(request).is_pending());
    }
    // Both are worked on, and then neither: nobody can wake one of them.
    for bytes in [4, 0] {
        world.until_it_uses(id("a"), "mailbox-bytes", bytes).await;
    }
    // Needs the places of both.
    let waking = async {
        loop {
            world.request("a", "wake", "").await.unwrap();
        }
    };
    tokio::select! {
        waited = world.request("a", "wait", "") => assert_eq!(waited.unwrap(), "null"),
        () = waking => {}
    }
    // Looked at only now: these are the agent's answers, which came before.
    for error in futures::future::join_all(given_up).await.into_iter().map(Result::unwrap_err) {
        assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
        assert!(error.message.contains("given up at its deadline"), "{error}");
    }
}

#[tokio::test]
async fn a_defect_of_the_host_ends_one_container_and_everybody_is_told() {
    let mut world = World::new().await;
    world.start("a").await;
    world.start("b").await;
    let error = world.request("a", "relay", "[\"defect\", \"x\"]").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::MaybeProcessed));
    assert!(error.message.contains("a defect of the host"), "{error}");
    match world.coordinator.told().await {
        support::Told::Ended(ended, at) => assert_eq!((ended, at), (id("a"), epoch(1))),
        other => panic!("expected an ending, was told {other:?}"),
    }
    world.start_as("a", 2, Labels::new()).await.unwrap();
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
    assert_eq!(world.request("b", "echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_container_that_the_store_refuses_as_stale_ends() {
    let mut world = World::new().await;
    fs::copy(kind("transactor"), world.plugins.join("transactor.wasm")).unwrap();
    let transactor = Kind::new("transactor").unwrap();
    while !world.coordinator.registration().await.kinds.contains(&transactor) {}
    let account = AccountId::new(ACCOUNT).unwrap();
    let workspace = WorkspaceId::new("w").unwrap();
    world.documents.create_workspace(&workspace, &account).await.unwrap();
    let id = ContainerId { kind: transactor, uuid: Uuid::new("transactor:w").unwrap() };
    let labels = Labels::from([("workspace".to_owned(), "w".to_owned())]);
    let order = StartContainer { id: id.clone(), epoch: epoch(1), labels, extra: vec![] };
    world.coordinator.ask(Call::Start(order)).await.unwrap();

    let commits = |name: &'static str| {
        let mut call = container_call("w", "tx");
        call.target = Target { id: id.clone(), epoch: Some(epoch(1)) };
        let transactions = json!([[{
            "_id": name, "_class": "core:class:TxCreateDoc", "objectId": name, "objectClass": "c",
            "objectSpace": "s", "modifiedBy": ACCOUNT, "modifiedOn": 1, "attributes": {},
        }]]);
        let payload = Bytes::from(transactions.to_string());
        let client = world.client.clone();
        async move { client.call(Call::Container(call), payload, PATIENCE).await.map(drop) }
    };
    commits("before").await.unwrap();

    // Its successor, of which nobody told it, has written.
    let successor = world.documents.open(&workspace, &account).await.unwrap();
    let put = json!({"_id": "other", "_class": "c", "space": "s"});
    let transaction = json!({"_id": "t", "_class": "core:class:TxCreateDoc"});
    let commit =
        Commit { first: 2, transactions: vec![transaction], put: vec![put], remove: vec![] };
    successor.commit(epoch(2), commit).await.unwrap();

    let error: NetworkError = commits("after").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::MaybeProcessed));
    assert!(error.message.contains("epoch"), "{error}");
    let error = commits("again").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
    assert_eq!(successor.head().await, Ok(2));
}
