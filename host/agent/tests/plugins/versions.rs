//! A file that takes the place of another: its new version, and the old one.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use hulynet_agent::{Grants, KindPolicy, inspect};
use hulynet_bus::Body;
use hulynet_protocol::{Call, ErrorKind, KindState, Labels, Target};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    put, report, served, start_of,
    support::{PATIENCE, World, attacks, container_call, epoch, grants, id, listen, told_of},
    variant,
};

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

/// An agent with these grants and a cache of its own.
async fn granted(text: &str) -> (World, TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        config.grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
        config.cache = cache.path().join("cache");
    })
    .await;
    (world, cache)
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
    assert!(reason.ends_with("; the version before goes on serving"), "{reason}");
    world.start_as("a", 4, Labels::new()).await.unwrap();
    assert_eq!(world.request("a", "echo", "on").await.unwrap(), "on");
    drop(world);
    // The next agent finds the same files.
    let world = World::with(|config| {
        config.cache = path.clone();
        put(&config.plugins, "echo.toml", BAD);
    })
    .await;
    let refused = report(&world, "echo", |report| report.state == KindState::Refused).await;
    let reason = refused.reason.unwrap();
    assert!(reason.contains("echo.wasm was rolled back") && reason.contains("memory"), "{reason}");
    assert_eq!(refused.version.as_deref(), Some("2"));
    let inspected = || {
        let policy = KindPolicy { grants: grants(), ..KindPolicy::default() };
        inspect(&world.plugins.join("echo.wasm"), policy, Some(&path)).unwrap().refusals
    };
    assert_eq!(inspected(), [reason]);
    fs::remove_file(world.plugins.join("echo.toml")).unwrap();
    report(&world, "echo", |report| report.state == KindState::Serving).await;
    assert_eq!(inspected(), [""; 0]);
}

#[tokio::test]
async fn the_operator_says_after_how_many_failed_starts_a_version_is_rolled_back() {
    let text = "[default]\ncontainers = [\"*\"]\n[default.limits]\nfailed-starts = 1\n";
    let (world, _cache) = granted(text).await;
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
    let failed = told_of("the container failed to start: ", "failing/a").await;
    assert!(failed.contains("wasm backtrace"), "{failed}");
}

#[tokio::test]
async fn the_limits_of_one_tenant_do_not_take_a_new_version_from_others() {
    let text = "[default]\ncontainers = [\"*\"]\n[tenant.small.limits]\nmemory = \"64 KiB\"\n";
    let (world, _cache) = granted(text).await;
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
