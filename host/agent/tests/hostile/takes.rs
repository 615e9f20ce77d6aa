//! Kinds that take as much as they get.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use hulynet_agent::{ContainerLimits, Grants};
use hulynet_protocol::{Call, ErrorKind, Labels, LimitRecord, Retry, Target};

use crate::{
    stage::{Stage, both, id},
    support::{PATIENCE, Told, World},
};

const MIB: usize = 1024 * 1024;

fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().unwrap()).try_into().unwrap()
}

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
async fn a_memory_bomb_gets_what_is_allowed_and_no_more() {
    let stage = Stage::new(|config| config.limits.memory = 16 * MIB).await;
    for attack in both("memory") {
        let pages = number(&stage.beside(stage.attack(&attack)).await.unwrap());
        // It begins with one page and asks for a mebibyte at a time.
        assert_eq!(pages * 65_536, 15 * MIB + 65_536, "{attack}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_containers_together_get_what_the_agent_has_and_no_more() {
    // The process has the tests of others in it, too.
    let stage = Stage::new(|config| {
        config.memory = Some(8 * MIB);
        config.resident = || None;
    })
    .await;
    let first = number(&stage.beside(stage.attack("memory")).await.unwrap());
    stage.start_with("memory", "another", "").await.unwrap();
    let another = stage.beside(stage.ask("memory", "another", "attack", "")).await.unwrap();
    let bytes = (first + number(&another)) * 65_536;
    // Of each of them the first two mebibytes do not count.
    assert!((8 * MIB..12 * MIB).contains(&bytes), "{bytes}");
    assert!(number(&another) * 65_536 <= 3 * MIB, "the second one came too late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_process_holds_too_much_starts_none_and_lets_none_grow_until_it_does_not() {
    static HELD: AtomicUsize = AtomicUsize::new(0);
    let stage = Stage::new(|config| {
        config.memory = Some(8 * MIB);
        config.resident = || Some(HELD.load(Ordering::Relaxed));
    })
    .await;
    let holds = async |bytes| {
        HELD.store(bytes, Ordering::Relaxed);
        stage.world.until_it_uses(id("memory", "memory"), "agent-resident", bytes as u64).await;
    };
    // Who is beside it has all that it needs then.
    stage.beside(stage.start("memory")).await.unwrap();
    holds(9 * MIB).await;
    let attack = async || number(&stage.ask("memory", "memory", "attack", "").await.unwrap());
    assert_eq!(stage.beside(attack()).await, 1, "the page that it begins with");
    let error = stage.start_with("memory", "another", "").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
    assert!(
        error.message.contains("process holds 9MiB of memory itself and may hold 8MiB"),
        "{error}"
    );
    holds(8 * MIB).await;
    stage.start_with("memory", "another", "").await.unwrap();
    assert!(stage.beside(attack()).await * 65_536 > 8 * MIB);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_looks_at_what_its_own_process_holds() {
    let world = World::with(|config| config.memory = Some(4096)).await;
    let error = world.start_as("a", 1, Labels::new()).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
    assert!(error.message.contains("of memory itself and may hold 4KiB"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_containers_together_get_what_it_has_and_no_more() {
    let grants = "[default]\ncontainers = [\"*\"]\ndocuments = true\n\
                  [tenant.acme.limits]\nmemory = \"3 MiB\"\n\
                  [tenant.acme.total]\nmemory = \"4 MiB\"\ncontainers = 2\n";
    let grants = Grants::parse("grants.toml", grants).unwrap();
    let stage = Stage::new(|config| config.grants = Arc::new(grants)).await;
    let mut taken = 0;
    for uuid in ["first", "second"] {
        stage.start_for("acme", "memory", uuid).await.unwrap();
        let pages = number(&stage.beside(stage.ask("memory", uuid, "attack", "")).await.unwrap());
        assert!(pages * 65_536 <= 3 * MIB, "{uuid} has {pages} pages");
        taken += pages * 65_536;
    }
    assert!((3 * MIB..=4 * MIB).contains(&taken), "{taken}");
    // Also of those that its containers start.
    for (label, value) in [("workspace", "acme"), ("tenant", "workspace=acme")] {
        let labels = Labels::from([(label.to_owned(), value.to_owned())]);
        let error = stage.order("memory", "third", labels, "").await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
        assert!(error.message.contains("the tenant \"acme\" has 2 containers"), "{error}");
    }
    stage.start_for("other", "memory", "third").await.unwrap();
    let limits = stage.limits("memory", "first").await;
    let limit = |name: &str| limits.iter().find(|limit| limit.name == name).unwrap();
    assert_eq!(limit("memory").allowed, 3 << 20, "that of the tenant");
    // Tables count too.
    let (taken, used) = (taken as u64, limit("tenant-memory").used.unwrap());
    assert!((taken..taken + 1024).contains(&used), "{used} of {taken} bytes of memories");
    assert_eq!(limit("tenant-memory").allowed, 4 << 20);
    assert_eq!((limit("tenant-containers").used, limit("tenant-containers").allowed), (Some(2), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_bomb_gets_what_a_pool_or_a_table_has_and_no_more() {
    let stage = Stage::new(|config| config.limits.memory = 16 * MIB).await;
    // Outside of a pool a table has room for more.
    let [pooled, on_demand] = both("table");
    for (attack, most) in [(pooled, 20_000), (on_demand, 100_000)] {
        // It asks for a thousand elements at a time.
        let elements = number(&stage.beside(stage.attack(&attack)).await.unwrap());
        assert!((most - 1_000..=most).contains(&elements), "{attack}: {elements}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fails_for_want_of_memory_says_so() {
    let stage = Stage::new(|config| config.limits.memory = 16 * MIB).await;
    stage.start_with("echo", "greedy", "").await.unwrap();
    let error = stage.beside(stage.ask("echo", "greedy", "grow", "")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerEnded);
    assert!(error.message.contains("a container of its kind may have 16MiB"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_log_lines_is_stopped_like_any_computation() {
    let stage = Stage::new(|config| config.limits.compute = Duration::from_millis(300)).await;
    for attack in both("log-flood") {
        let error = stage.beside(stage.attack(&attack)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ContainerEnded, "{attack}: {error}");
        assert!(error.message.contains("without a pause"), "{attack}: {error}");
    }
    stage.start("hostile").await.unwrap();
    let error = stage.beside(stage.ask("hostile", "hostile", "print", "")).await.unwrap_err();
    assert!(error.message.contains("without a pause"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_computes_is_stopped_at_the_deadline() {
    let stage = Stage::new(|config| config.limits.compute = PATIENCE).await;
    for attack in both("loop") {
        stage.start(&attack).await.unwrap();
        let begun = Instant::now();
        let deadline = Duration::from_millis(400);
        let asked = stage.beside(stage.ask_within(deadline, &attack, &attack, "attack", ""));
        let error = asked.await.unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::DeadlineExceeded | ErrorKind::ContainerEnded),
            "{attack}: {error}"
        );
        while stage.ask(&attack, &attack, "attack", "").await.unwrap_err().kind
            != ErrorKind::UnknownContainer
        {
            assert!(begun.elapsed() < PATIENCE / 2, "{attack} computes still");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_ends_no_stream_that_somebody_else_reads() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut stream = stage.stream("endless").await.unwrap();
    let longer = format!("[{MIB}, 1000]");
    let deadline = Duration::from_millis(100);
    let asked = stage.ask_within(deadline, "hostile", "hostile", "overwrite", &longer);
    let error = stage.beside(asked).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded, "{error}");
    // More than was streamed before that.
    for _ in 0..1_000 {
        stream.next().await.unwrap().unwrap();
    }
}

/// Nothing but a deadline ends who computes before anybody stops to wait for that.
fn computes_for_long(limits: &mut ContainerLimits) {
    (limits.compute, limits.silent) = (2 * PATIENCE, 2 * PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_a_stream_is_stopped_after_the_deadline_like_others() {
    let mut stage = Stage::new(|config| computes_for_long(&mut config.limits)).await;
    for uuid in ["hostile", "streams"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    stage.ask("hostile", "hostile", "keep", r#"["streams"]"#).await.unwrap();
    let longer = format!("[{MIB}, {}]", 2 * PATIENCE.as_millis());
    let deadline = Duration::from_millis(100);
    let asked = stage.ask_within(deadline, "hostile", "hostile", "overwrite", &longer);
    stage.beside(asked).await.unwrap_err();
    let told = stage.told().await;
    let ended = matches!(&told, Told::Ended(ended, _) if *ended == id("hostile", "hostile"));
    assert!(ended, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_reader_is_gone_is_no_reason_to_compute_on() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut stream = stage.stream("open").await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let (begun, deadline) = (Instant::now(), Duration::from_millis(100));
    let longer = format!("[{MIB}, 1000]");
    // What comes at once may come before the agent knows that nobody reads.
    let asked = async || {
        let asked = stage.ask_within(deadline, "hostile", "hostile", "overwrite", &longer);
        stage.beside(asked).await.unwrap_err()
    };
    while asked().await.kind != ErrorKind::UnknownContainer {
        assert!(begun.elapsed() < PATIENCE / 2, "it computes still");
    }
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
async fn whoever_overwrites_all_its_memory_at_once_gives_way_meanwhile() {
    const OVERWRITING: usize = 3;
    let stage = Stage::new(|config| config.limits.memory = 520 * MIB).await;
    stage.start("hostile").await.unwrap();
    for number in 0..OVERWRITING {
        stage.start_with("hostile", &number.to_string(), "").await.unwrap();
    }
    let arguments = format!("[{}, 2000]", 512 * MIB);
    let over = Cell::new(false);
    let overwrite = async {
        let asked = (0..OVERWRITING).map(|number| {
            let (stage, arguments) = (&stage, &arguments);
            async move { stage.ask("hostile", &number.to_string(), "overwrite", arguments).await }
        });
        let answers = join_all(asked).await;
        over.set(true);
        answers
    };
    // Whoever wakes needs a thread that computes for the others.
    let nap = async {
        let mut times = Vec::new();
        while !over.get() {
            let begun = Instant::now();
            stage.ask("hostile", "hostile", "nap", "[1]").await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        times[times.len() * 9 / 10]
    };
    let (overwritten, napped) = stage.beside(join(overwrite, nap)).await;
    overwritten.into_iter().for_each(|answer| assert_eq!(answer.unwrap(), "null"));
    assert!(napped < Duration::from_millis(20), "one in ten naps took {napped:?} and more");
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
