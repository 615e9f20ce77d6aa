//! The plugin directory of a real agent: what is dropped in, replaced, bad,
//! removed, asked for and signed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use hulynet_agent::{AgentConfig, Grants, KindPolicy, PrivateKey, inspect, sign};
use hulynet_bus::{Body, Peer};
use hulynet_protocol::{
    Call, ErrorKind, Kind, KindReport, KindState, Labels, Reply, StartContainer, Target,
};
use support::{
    PATIENCE, World, attacks, container_call, epoch, id, kind, listen, logged_between, target,
};
use tokio::sync::watch;

/// The kind `echo` with something appended that changes its bytes and not what
/// it does: a custom section.
fn variant(mark: u8) -> Vec<u8> {
    marked(&kind("echo"), mark)
}

/// The same of any kind.
fn marked(file: &Path, mark: u8) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    bytes.extend([0, 3, 1, b'v', mark]);
    bytes
}

/// Puts a file in its place at once, as a careful program does.
fn put(directory: &Path, name: &str, bytes: &[u8]) {
    let partial = directory.join(format!("{name}.partial"));
    fs::write(&partial, bytes).unwrap();
    fs::rename(partial, directory.join(name)).unwrap();
}

async fn reports(client: &Peer) -> Vec<KindReport> {
    match client.call(Call::ReportKinds, Bytes::new(), PATIENCE).await.unwrap().reply {
        Reply::KindReports(reports) => reports,
        other => panic!("expected reports, got {other:?}"),
    }
}

/// The report about a kind, as soon as it is as expected.
async fn report(world: &World, name: &str, expected: impl Fn(&KindReport) -> bool) -> KindReport {
    let found = async {
        loop {
            let all = reports(&world.client).await;
            match all.into_iter().find(|report| report.kind.as_str() == name) {
                Some(report) if expected(&report) => return report,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    match found {
        Ok(report) => report,
        Err(_) => panic!("{name} is not as expected: {:?}", reports(&world.client).await),
    }
}

fn names(kinds: &[Kind]) -> Vec<&str> {
    kinds.iter().map(Kind::as_str).collect()
}

/// Waits until the coordinator knows exactly these kinds.
async fn served(world: &mut World, expected: &[&str]) {
    let told = async { while names(&world.coordinator.registration().await.kinds) != expected {} };
    let told = tokio::time::timeout(PATIENCE, told).await;
    assert!(told.is_ok(), "served are {:?} and not {expected:?}", world.agent.kinds());
}

/// Starts a container of another kind than `echo`.
async fn start_of(world: &World, kind: &str, uuid: &str) -> Result<(), ErrorKind> {
    let mut order =
        StartContainer { id: id(uuid), epoch: epoch(1), labels: Labels::new(), extra: vec![] };
    order.id.kind = Kind::new(kind).unwrap();
    world.coordinator.ask(Call::Start(order)).await.map(drop).map_err(|error| error.kind)
}

#[tokio::test]
async fn a_file_is_not_served_until_it_is_complete() {
    let mut world = World::new().await;
    let bytes = variant(1);
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    let mut file = fs::File::create(world.plugins.join("slow.wasm")).unwrap();
    file.write_all(half).unwrap();
    // What comes later is served meanwhile, and the writer only pauses.
    put(&world.plugins, "quick.wasm", &variant(2));
    served(&mut world, &["echo", "quick"]).await;
    // Whoever pauses is taken to have finished, and half a file is no kind.
    let refused = report(&world, "slow", |report| report.state == KindState::Refused).await;
    assert!(refused.reason.unwrap().contains("slow.wasm"));
    file.write_all(rest).unwrap();
    drop(file);
    served(&mut world, &["echo", "quick", "slow"]).await;
}

#[tokio::test]
async fn an_event_brings_a_new_file_and_not_only_the_next_look() {
    let hour = Duration::from_secs(3600);
    let mut world = World::with(|config| config.poll = hour).await;
    put(&world.plugins, "new.wasm", &variant(1));
    served(&mut world, &["echo", "new"]).await;
    fs::remove_file(world.plugins.join("echo.wasm")).unwrap();
    served(&mut world, &["new"]).await;
}

#[tokio::test]
async fn a_change_without_an_event_is_found_by_looking() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target.wasm");
    fs::write(&target, variant(1)).unwrap();
    // What happens behind a link is no event of the directory, as nothing is
    // that happens on a network file system.
    let mut world =
        World::with(|config| symlink(&target, config.plugins.join("link.wasm")).unwrap()).await;
    let before = report(&world, "link", |report| report.state == KindState::Serving).await;
    put(elsewhere.path(), "target.wasm", &variant(2));
    report(&world, "link", |report| report.hash != before.hash).await;
    fs::remove_file(&target).unwrap();
    served(&mut world, &["echo"]).await;
}

#[tokio::test]
async fn many_files_links_and_renames_are_served_under_their_names() {
    let mut world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    put(elsewhere.path(), "target.wasm", &variant(1));
    symlink(elsewhere.path().join("target.wasm"), world.plugins.join("link.wasm")).unwrap();
    for name in ["a", "b", "c", "d"] {
        put(&world.plugins, &format!("{name}.wasm"), &variant(1));
    }
    served(&mut world, &["a", "b", "c", "d", "echo", "link"]).await;
    fs::rename(world.plugins.join("a.wasm"), world.plugins.join("z.wasm")).unwrap();
    served(&mut world, &["b", "c", "d", "echo", "link", "z"]).await;
    // A tree of versions with a link to the current one, which is turned.
    let link = world.plugins.join("turned");
    symlink(elsewhere.path().join("other.wasm"), &link).unwrap();
    put(elsewhere.path(), "other.wasm", &variant(2));
    let before = report(&world, "link", |report| report.state == KindState::Serving).await;
    fs::rename(link, world.plugins.join("link.wasm")).unwrap();
    report(&world, "link", |report| report.hash != before.hash).await;
}

#[tokio::test]
async fn hundreds_of_files_that_come_at_once_are_all_served() {
    let mut world = World::new().await;
    let tiny = attacks().join("none.wasm");
    let mut expected = vec!["echo".to_owned()];
    for mark in 0..200 {
        let name = format!("tiny-{mark:03}");
        put(&world.plugins, &format!("{name}.wasm"), &marked(&tiny, mark));
        expected.push(name);
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    served(&mut world, &expected).await;
    start_of(&world, "tiny-199", "a").await.unwrap();
}

#[tokio::test]
async fn a_directory_that_takes_the_place_of_another_is_served() {
    let mut world = World::new().await;
    let beside = world.plugins.parent().unwrap();
    let (next, before) = (beside.join("next"), beside.join("before"));
    fs::create_dir(&next).unwrap();
    put(&next, "new.wasm", &variant(1));
    fs::rename(&world.plugins, before).unwrap();
    fs::rename(next, &world.plugins).unwrap();
    served(&mut world, &["new"]).await;
    put(&world.plugins, "newer.wasm", &variant(2));
    served(&mut world, &["new", "newer"]).await;
}

#[tokio::test]
async fn a_replaced_file_serves_new_containers_and_the_old_ones_go_on() {
    let world = World::new().await;
    world.start("old").await;
    world.request("old", "add", "[1]").await.unwrap();
    let before = report(&world, "echo", |report| report.state == KindState::Serving).await;
    put(&world.plugins, "echo.wasm", &variant(1));
    report(&world, "echo", |report| report.hash != before.hash).await;
    world.start("new").await;
    let after = report(&world, "echo", |report| report.containers == 2).await;
    assert_eq!((after.state, after.newest), (KindState::Serving, 1));
    assert_eq!(world.request("old", "add", "[1]").await.unwrap(), "2");
    assert_eq!(world.request("new", "add", "[1]").await.unwrap(), "1");
}

#[tokio::test]
async fn a_bad_replacement_is_refused_with_its_reason_and_the_old_version_serves() {
    let world = World::new().await;
    put(&world.plugins, "echo.wasm", b"\0asm\x01\0\0\0");
    let refused = report(&world, "echo", |report| report.state == KindState::Refused).await;
    assert!(refused.reason.unwrap().contains("is a core module and not a component"));
    world.start("a").await;
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
    put(&world.plugins, "echo.wasm", &variant(1));
    report(&world, "echo", |report| report.state == KindState::Serving).await;
}

/// The manifest is part of the version, and with this one nothing can start.
const BAD: &[u8] =
    b"version = \"2\"\n[asks]\ncontainers = [\"*\"]\n[limits]\nmemory = \"64 KiB\"\n";

#[tokio::test]
async fn a_new_version_that_does_not_start_is_rolled_back_and_not_tried_again() {
    let cache = tempfile::tempdir().unwrap();
    let path = cache.path().join("cache");
    let world = World::with(|config| config.cache = path.clone()).await;
    world.start("proof").await;
    put(&world.plugins, "echo.toml", BAD);
    report(&world, "echo", |report| report.version.as_deref() == Some("2")).await;
    for counter in 1..=3 {
        let error = world.start_as("a", counter, Labels::new()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::StartFailed, "{error}");
    }
    let back = report(&world, "echo", |report| report.state == KindState::RolledBack).await;
    assert_eq!(back.version, None);
    let reason = back.reason.unwrap();
    assert!(reason.contains("memory"), "{reason}");
    world.start_as("a", 4, Labels::new()).await.unwrap();
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
    drop(world);
    // The next agent finds the same files.
    let world = World::with(|config| {
        config.cache = path;
        put(&config.plugins, "echo.toml", BAD);
    })
    .await;
    let refused = report(&world, "echo", |report| report.state == KindState::Refused).await;
    let reason = refused.reason.unwrap();
    assert!(reason.contains("echo.wasm was rolled back") && reason.contains("memory"), "{reason}");
    fs::remove_file(world.plugins.join("echo.toml")).unwrap();
    report(&world, "echo", |report| report.state == KindState::Serving).await;
}

#[tokio::test]
async fn the_operator_says_after_how_many_failed_starts_a_version_is_rolled_back() {
    let text = "[default]\ncontainers = [\"*\"]\n[default.limits]\nfailed-starts = 1\n";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let cache = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        config.grants = grants;
        config.cache = cache.path().join("cache");
    })
    .await;
    world.start("proof").await;
    put(&world.plugins, "echo.toml", BAD);
    report(&world, "echo", |report| report.version.as_deref() == Some("2")).await;
    world.start_as("a", 1, Labels::new()).await.unwrap_err();
    let back = report(&world, "echo", |report| report.state == KindState::RolledBack).await;
    assert_eq!(back.version, None);
    world.start_as("a", 2, Labels::new()).await.unwrap();
}

#[tokio::test]
async fn the_operator_is_told_where_in_its_code_a_start_failed() {
    listen();
    let mut world = World::new().await;
    let file = fs::read(attacks().join("trap-in-start.wasm")).unwrap();
    put(&world.plugins, "failing.wasm", &file);
    served(&mut world, &["echo", "failing"]).await;
    assert_eq!(start_of(&world, "failing", "a").await, Err(ErrorKind::StartFailed));
    let failed = logged_between("the container failed to start: ", "container=failing/a").await;
    assert!(failed.contains("wasm backtrace"), "{failed}");
}

#[tokio::test]
async fn the_limits_of_one_tenant_do_not_take_a_new_version_from_others() {
    let text = "[default]\ncontainers = [\"*\"]\n[tenant.small.limits]\nmemory = \"64 KiB\"\n";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let cache = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        config.grants = grants;
        config.cache = cache.path().join("cache");
    })
    .await;
    let small = Labels::from([("workspace".to_owned(), "small".to_owned())]);
    let before = report(&world, "echo", |report| report.state == KindState::Serving).await;
    put(&world.plugins, "echo.wasm", &variant(1));
    report(&world, "echo", |report| report.hash != before.hash).await;
    for counter in 1..=6 {
        let error = world.start_as("a", counter, small.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::StartFailed, "{error}");
    }
    let after = report(&world, "echo", |_| true).await;
    assert_eq!(after.state, KindState::Serving);
    assert_ne!(after.hash, before.hash);
}

#[tokio::test]
async fn a_removed_kind_starts_nothing_and_its_containers_drain() {
    let mut world = World::new().await;
    world.start("a").await;
    fs::remove_file(world.plugins.join("echo.wasm")).unwrap();
    served(&mut world, &[]).await;
    assert_eq!(start_of(&world, "echo", "b").await, Err(ErrorKind::UnknownKind));
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
    let draining = report(&world, "echo", |report| report.state == KindState::Draining).await;
    assert_eq!((draining.containers, draining.hash), (1, None));
    let end = Call::Terminate { target: target("a"), force: true };
    assert_eq!(world.coordinator.ask(end).await.unwrap().reply, Reply::Terminated(true));
    let forgotten = async {
        while !reports(&world.client).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.unwrap();
}

#[tokio::test]
async fn what_is_asked_and_not_granted_is_an_error_at_load_and_the_manifest_limits_the_call() {
    let text = "[kind.narrow]\ncontainers = [\"*\"]\n";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let world = World::with(|config| config.grants = grants).await;
    let refused = report(&world, "echo", |report| report.state == KindState::Refused).await;
    let reason = refused.reason.unwrap();
    for part in ["asks for containers = [\"*\"]", "grants it nothing", "[kind.echo]"] {
        assert!(reason.contains(part), "{part} in {reason}");
    }
    put(&world.plugins, "narrow.toml", b"[asks]\ncontainers = [\"other\"]\n");
    put(&world.plugins, "narrow.wasm", &variant(1));
    report(&world, "narrow", |report| report.state == KindState::Serving).await;
    start_of(&world, "narrow", "a").await.unwrap();
    let forward = async |kind: &str| {
        let mut call = container_call("a", "forward");
        call.target.id.kind = Kind::new("narrow").unwrap();
        let payload = Bytes::from(format!("[{kind:?}, \"x\", \"do\", 5000]"));
        world.client.call(Call::Container(call), payload, PATIENCE).await
    };
    forward("other").await.unwrap();
    let error = forward("another").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("may not ask for containers of the kind another"), "{error}");
}

#[tokio::test]
async fn a_tenant_gets_what_the_operator_leaves_it_of_its_kind() {
    let text = "[default]\ncontainers = [\"*\"]\n[tenant.small.limits]\nmemory = \"64 KiB\"\n\
                [tenant.alone]\ncontainers = []\n";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let world = World::with(|config| config.grants = grants).await;
    let start = async |uuid: &str, tenant: &str| {
        let labels = Labels::from([("workspace".to_owned(), tenant.to_owned())]);
        world.start_as(uuid, 1, labels).await
    };
    start("a", "other").await.unwrap();
    let error = start("b", "small").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::StartFailed, "{error}");
    assert!(error.message.contains("memory"), "{error}");
    let error = start("c", "alone").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert!(error.message.contains("the tenant \"alone\" is not granted"), "{error}");
}

#[test]
fn an_inspection_tells_of_a_secret_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, token) = (directory.path().join("echo.wasm"), directory.path().join("token"));
    fs::copy(kind("echo"), &path).unwrap();
    let asks = "[asks]\ncontainers = [\"*\"]\nsecrets = [\"TOKEN\"]\n";
    fs::write(path.with_extension("toml"), asks).unwrap();
    let text = format!(
        "[default]\ncontainers = [\"*\"]\nsecrets = [\"TOKEN\"]\n[secrets]\nTOKEN = {token:?}\n"
    );
    let grants = Arc::new(Grants::parse("grants.toml", &text).unwrap());
    let policy = KindPolicy { grants, ..KindPolicy::default() };
    let refusals = || inspect(&path, policy.clone()).unwrap().refusals;
    let missing = format!("{} cannot be read: No such file", token.display());
    assert!(matches!(&refusals()[..], [only] if only.starts_with(&missing)), "{:?}", refusals());
    fs::write(&token, "correct horse\n").unwrap();
    assert_eq!(refusals(), [""; 0]);
}

#[tokio::test]
async fn only_what_a_trusted_key_signed_is_served() {
    let key = PrivateKey::from_random([7; 32]);
    let world = World::with(|config| config.trusted = vec![key.public()]).await;
    let unsigned = report(&world, "echo", |report| report.state == KindState::Refused).await;
    assert!(unsigned.reason.unwrap().contains("is not signed"));
    sign(&world.plugins.join("echo.wasm"), &PrivateKey::from_random([8; 32])).unwrap();
    let reason = |text: &'static str| {
        move |report: &KindReport| report.reason.as_ref().is_some_and(|why| why.contains(text))
    };
    report(&world, "echo", reason("which this agent does not trust")).await;
    sign(&world.plugins.join("echo.wasm"), &key).unwrap();
    let served = report(&world, "echo", |report| report.state == KindState::Serving).await;
    assert_eq!(served.signer, Some(key.public().to_string()));
    put(&world.plugins, "echo.wasm", &variant(1));
    report(&world, "echo", reason("is wrongly signed")).await;
}

#[tokio::test]
async fn an_agent_that_starts_again_compiles_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let path = cache.path().join("cache");
    let world = World::with(|config| {
        config.cache = path.clone();
        for mark in 0..4 {
            put(&config.plugins, &format!("kind{mark}.wasm"), &variant(mark));
        }
    })
    .await;
    assert_eq!((world.agent.compiled(), world.agent.kinds().len()), (5, 5));
    drop(world);
    let begin = |config: &mut AgentConfig| {
        config.cache = path.clone();
        for mark in 0..4 {
            put(&config.plugins, &format!("kind{mark}.wasm"), &variant(mark));
        }
    };
    let world = World::with(begin).await;
    assert_eq!((world.agent.compiled(), world.agent.kinds().len()), (0, 5));
    drop(world);
    // Damaged entries are compiled again, and nothing else is.
    for entry in fs::read_dir(&path).unwrap().take(2) {
        let entry = entry.unwrap().path();
        let mut bytes = fs::read(&entry).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&entry, bytes).unwrap();
    }
    let world = World::with(begin).await;
    assert_eq!((world.agent.compiled(), world.agent.kinds().len()), (2, 5));
}

#[tokio::test]
async fn an_agent_with_twenty_warm_kinds_starts_again_in_under_a_second() {
    let cache = tempfile::tempdir().unwrap();
    let path = cache.path().join("cache");
    let begin = |config: &mut AgentConfig| {
        config.cache = path.clone();
        for mark in 1..20 {
            put(&config.plugins, &format!("kind{mark}.wasm"), &variant(mark));
        }
    };
    let world = World::with(begin).await;
    assert_eq!((world.agent.compiled(), world.agent.kinds().len()), (20, 20));
    drop(world);
    let mut fastest = Duration::MAX;
    // Other tests may run beside this one.
    for _ in 0..5 {
        let begun = Instant::now();
        let world = World::with(begin).await;
        fastest = fastest.min(begun.elapsed());
        assert_eq!((world.agent.compiled(), world.agent.kinds().len()), (0, 20));
    }
    eprintln!("20 warm kinds are served after {fastest:?}");
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_with_many_live_containers_under_load_fails_no_request() {
    const CONTAINERS: usize = 1000;
    const CALLERS: usize = 8;
    let room = Some(2 * CONTAINERS as u32);
    let world = World::with(|config| config.containers = room).await;
    let uuids: Vec<String> = (0..CONTAINERS).map(|n| format!("c{n}")).collect();
    join_all(uuids.iter().map(|uuid| world.start(uuid))).await;
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let answered = watch::Sender::new(0);
    let slowest = Mutex::new(Duration::ZERO);
    let caller = async || {
        while !done.load(Ordering::Relaxed) {
            let uuid = &uuids[asked.fetch_add(1, Ordering::Relaxed) % CONTAINERS];
            let mut call = container_call(uuid, "echo");
            call.target = Target { id: id(uuid), epoch: Some(epoch(1)) };
            let begun = Instant::now();
            let answer =
                world.client.call(Call::Container(call), Bytes::from_static(b"on"), PATIENCE).await;
            let mut slowest = slowest.lock().unwrap();
            *slowest = begun.elapsed().max(*slowest);
            let Body::Payload(payload) = answer.unwrap().body else { panic!("it was streamed") };
            assert_eq!(payload, "on");
            answered.send_modify(|answered| *answered += 1);
        }
    };
    let reloads = async {
        for mark in 1..=3 {
            let before = report(&world, "echo", |report| report.state == KindState::Serving).await;
            put(&world.plugins, "echo.wasm", &variant(mark));
            report(&world, "echo", |report| report.hash != before.hash).await;
            // A container of the new version, among the old ones.
            world.start(&format!("new{mark}")).await;
            assert_eq!(world.request(&format!("new{mark}"), "echo", "on").await.unwrap(), "on");
            // Every old one goes on.
            let all = *answered.borrow() + CONTAINERS + CALLERS;
            answered.subscribe().wait_for(|&answered| answered >= all).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(reloads, join_all((0..CALLERS).map(|_| caller())));
    let (answered, slowest) = (*answered.borrow(), slowest.into_inner().unwrap());
    eprintln!("{answered} requests were answered during 3 reloads, the slowest in {slowest:?}");
    let last = report(&world, "echo", |report| report.newest == 1).await;
    assert_eq!(last.containers, CONTAINERS as u64 + 3);
}
