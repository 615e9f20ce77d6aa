//! Kinds that open as much as they get, and ask as often.

use std::time::Duration;

use futures::future::join;
use hulynet_protocol::{Call, ErrorKind, LimitRecord, Retry, Target};

use crate::{
    stage::{MIB, Stage, id},
    support::{PATIENCE, Told},
};

/// A count and the text of a refusal.
fn counted(answer: &[u8]) -> (u32, String) {
    serde_json::from_slice(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_much_of_its_limits_a_container_uses_is_told() {
    let stage = Stage::new(|_| {}).await;
    for uuid in ["hostile", "asks", "streams", "meeting"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    stage.ask("hostile", "hostile", "keep", r#"["streams"]"#).await.unwrap();
    let _its_own = stage.stream("open").await.unwrap();
    let waiting = join(
        stage.ask("hostile", "hostile", "nap", "[60000]"),
        stage.ask("hostile", "asks", "cross", r#"["streams", "meeting"]"#),
    );
    let told = async {
        for (uuid, limit, used) in [
            ("hostile", "streams", 2),
            ("hostile", "timers", 1),
            ("asks", "references", 1),
            ("asks", "outgoing", 1),
            ("asks", "outgoing-bytes", "null".len() as u64),
        ] {
            stage.world.until_it_uses(id("hostile", uuid), limit, used).await;
        }
    };
    tokio::select! {
        waited = waiting => panic!("they were to wait: {waited:?}"),
        () = told => {}
    }
    // Nobody reads what it streams.
    let streams = async || stage.limits("hostile", "streams").await;
    let is_unread = |limit: &LimitRecord| limit.name == "unread-bytes" && limit.used > Some(0);
    let unread = async { while !streams().await.iter().any(is_unread) {} };
    tokio::time::timeout(PATIENCE, unread).await.unwrap();
    let limits = stage.limits("hostile", "asks").await;
    let memory = limits.iter().find(|limit| limit.name == "memory").unwrap();
    assert!(memory.used.unwrap() >= 17 * 65_536, "{memory:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sets_timers_without_end_gets_as_many_as_it_may_wait_for() {
    let stage = Stage::new(|config| config.limits.timers = 10).await;
    stage.start("hostile").await.unwrap();
    let timers = stage.beside(stage.ask("hostile", "hostile", "timers", "")).await.unwrap();
    let (set, refusal) = counted(&timers);
    assert_eq!(set, 10);
    assert!(refusal.contains("hostile/hostile waits for 10 timers"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let stage = Stage::new(|config| config.limits.streams = 2).await;
    stage.start("hostile").await.unwrap();
    let first = stage.stream("endless").await.unwrap();
    let _second = stage.stream("endless").await.unwrap();
    let error = stage.beside(stage.stream("endless")).await.unwrap_err();
    assert!(error.message.contains("hostile/hostile has 2 streams open"), "{error}");
    drop(first);
    let again = async { while stage.stream("endless").await.is_err() {} };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_holds_nobody_up() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let (napped, ()) = tokio::join!(stage.ask("hostile", "hostile", "nap", "[300]"), async {
        let got = stage.ask("hostile", "hostile", "pry", "").await.unwrap();
        assert_eq!(got, "[]", "nothing is ambient");
    });
    assert_eq!(napped.unwrap(), "null");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_of_requests_ends_at_the_depth() {
    let stage = Stage::new(|config| config.limits.depth = 4).await;
    stage.start("hostile").await.unwrap();
    let bomb = r#"["hostile", "hostile", 4]"#;
    let answer = stage.beside(stage.ask("hostile", "hostile", "fork", bomb)).await.unwrap();
    let (refused, refusal) = counted(&answer);
    // Every one of the last.
    assert_eq!(refused, 4_u32.pow(4));
    assert!(refusal.contains("at most 4 may"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_without_end_gets_as_many_answers_to_wait_for_as_it_may() {
    let stage = Stage::new(|config| config.limits.outgoing = 16).await;
    for uuid in ["hostile", "silent"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    let nagged = stage.beside(stage.ask("hostile", "hostile", "nag", r#"["silent", 0]"#)).await;
    let (asked, refusal) = counted(&nagged.unwrap());
    assert_eq!(asked, 16);
    assert!(refusal.contains("hostile/hostile waits for 16 answers of others"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_with_large_requests_waits_for_fewer_answers() {
    let stage = Stage::new(|config| config.limits.outgoing_bytes = MIB).await;
    for uuid in ["hostile", "silent"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    let large = format!(r#"["silent", {}]"#, MIB / 4);
    let nagged = stage.beside(stage.ask("hostile", "hostile", "nag", &large)).await;
    let (asked, refusal) = counted(&nagged.unwrap());
    // Not four: the payload has a little more than a quarter.
    assert_eq!(asked, 3);
    assert!(refusal.contains("requests of up to 1048576 bytes"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_containers_again_and_again_is_refused_for_a_while() {
    let stage = Stage::new(|config| config.limits.gets = 1).await;
    stage.start("hostile").await.unwrap();
    let leaked = stage.beside(stage.ask("hostile", "hostile", "leak", "")).await.unwrap();
    let (got, refusal) = counted(&leaked);
    // The burst, and one for each second that it took.
    assert!((10..20).contains(&got), "{got}");
    assert!(refusal.contains("hostile/hostile asks for containers more often"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_calls_others_again_and_again_is_refused_for_a_while() {
    let stage = Stage::new(|config| config.limits.calls = 1).await;
    for uuid in ["sends", "connects", "asks", "reads", "other"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    for (uuid, operation, arguments) in [
        ("sends", "pester", r#"["other"]"#),
        ("connects", "join", r#"["other"]"#),
        ("asks", "rummage", ""),
        ("reads", "reread", ""),
    ] {
        let asked = stage.ask("hostile", uuid, operation, arguments);
        let (served, refusal) = counted(&stage.beside(asked).await.unwrap());
        // The burst, of which two may be to open the workspace, and one for each second
        // that it took.
        assert!((8..20).contains(&served), "{operation}: {served}, {refusal}");
        let told = format!("Busy: the container hostile/{uuid} calls others more often");
        assert!(refusal.starts_with(&told), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_that_bring_forth_more_are_refused_when_the_mailbox_is_full() {
    let mut stage = Stage::new(|config| config.limits.mailbox = 16).await;
    stage.start("hostile").await.unwrap();
    let bred = async {
        stage.ask("hostile", "hostile", "breed", r#"["hostile"]"#).await.unwrap();
        // It has no room for this request either, most of the time.
        loop {
            match stage.ask("hostile", "hostile", "refused", "").await {
                Ok(refused) if refused != "0" => break,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind, ErrorKind::Busy, "{error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    stage.beside(bred).await;
    let target = Target { id: id("hostile", "hostile"), epoch: None };
    stage.world.coordinator.ask(Call::Terminate { target, force: true }).await.unwrap();
    assert!(matches!(stage.told().await, Told::Ended(..)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_streams_without_end_gets_as_many_as_it_may_have() {
    let stage = Stage::new(|config| config.limits.streams = 2).await;
    for uuid in ["hostile", "a", "b", "c"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    // Each of the others has only one open.
    let gathering = stage.ask("hostile", "hostile", "gather", r#"[["a", "b", "c"]]"#);
    let (held, refusal) = counted(&stage.beside(gathering).await.unwrap());
    assert_eq!(held, 2);
    assert!(refusal.contains("hostile/hostile has 2 streams open"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaks_references_or_handles_of_its_own_ends_at_the_limit() {
    // What counts are the handles that the engine keeps for a container, and
    // what the host keeps behind them. A container of the world `container`
    // comes to the end of its handles first, because it has some for the call
    // itself, one that does one thing at a time to that of what is behind them.
    let handles = "cannot allocate another handle: store handle limit exceeded";
    let behind = "resource table has no free keys";
    let leaks = [("handles", handles), ("references", handles), ("references-sync", behind)];
    for (resources, ends) in [(900, true), (1_100, false)] {
        let stage = Stage::new(|config| config.limits.resources = resources).await;
        for (attack, cause) in leaks {
            let leaked = stage.beside(stage.attack(attack)).await;
            if !ends {
                assert_eq!(leaked.unwrap(), "", "{attack} takes a thousand");
                continue;
            }
            let error = leaked.unwrap_err();
            let told = (error.kind, error.retry);
            assert_eq!(told, (ErrorKind::ContainerEnded, Retry::MaybeProcessed), "{error}");
            assert!(error.message.contains(&format!("{attack}/{attack}")), "{error}");
            assert!(error.message.contains(cause), "{attack}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_containers_without_end_gets_as_many_as_it_may_hold() {
    let stage = Stage::new(|config| config.limits.references = 20).await;
    stage.start("hostile").await.unwrap();
    let answer = stage.beside(stage.ask("hostile", "hostile", "leak", "")).await.unwrap();
    let (held, refusal) = counted(&answer);
    assert_eq!(held, 20);
    assert!(refusal.contains("hostile/hostile holds 20 containers"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_end_goes_at_the_readers_pace_and_ends_with_the_reader() {
    let stage = Stage::new(|config| config.limits.streams = 2).await;
    stage.start("hostile").await.unwrap();
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(stage.stream("endless").await.unwrap());
    }
    let error = stage.stream("endless").await.err().unwrap();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::MaybeProcessed));
    assert!(error.message.contains("has 2 streams open"), "{error}");
    stage
        .beside(async {
            for _ in 0..100 {
                open[0].next().await.unwrap().unwrap();
            }
        })
        .await;
    open.clear();
    // The container hears of it at its next chunk.
    let again = async { while stage.stream("endless").await.is_err() {} };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_reads_a_stream_stops_it_and_holds_nobody_up() {
    let stage = Stage::new(|config| config.limits.unread_bytes = MIB).await;
    for uuid in ["reader", "source"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    let streamed = async || {
        let answer = stage.ask("hostile", "source", "streamed", "").await.unwrap();
        serde_json::from_slice::<u64>(&answer).unwrap()
    };
    let standstill = async {
        let mut before = 0;
        loop {
            for _ in 0..20 {
                stage.healthy.answers().await;
            }
            match streamed().await {
                0 => {}
                now if now == before => break now,
                now => before = now,
            }
        }
    };
    let never_read = async {
        tokio::select! {
            answer = stage.ask("hostile", "reader", "hoard", r#"["source"]"#) => panic!("{answer:?}"),
            items = standstill => items,
        }
    };
    let items = stage.beside(never_read).await;
    assert!(items < 4096, "it streamed {items} KiB to nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_numbers_are_each_containers_own() {
    let stage = Stage::new(|_| {}).await;
    let mut numbers = std::collections::BTreeSet::new();
    for uuid in ["a", "b", "c"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
        numbers.insert(stage.ask("hostile", uuid, "random", "").await.unwrap());
    }
    assert_eq!(numbers.len(), 3);
}
