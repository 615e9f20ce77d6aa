//! What lies in the plugin directory: dropped in, many at once, replaced, removed.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use hulynet_agent::AgentConfig;
use hulynet_protocol::{Call, ErrorKind, KindState, Reply};

use crate::{
    marked, put, report, reports, served, start_of,
    support::{PATIENCE, World, attacks, target},
    variant,
};

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
async fn a_small_new_file_is_compiled_and_served_within_a_second() {
    let cache = tempfile::tempdir().unwrap();
    let mut world = World::with(|config| {
        config.cache = cache.path().join("cache");
        // That of an agent that nobody configures.
        config.poll = AgentConfig::new("", "").poll;
    })
    .await;
    let mut fastest = Duration::MAX;
    // Small, because other tests compile beside this one; how long a large kind
    // takes is what the benchmark tells.
    for mark in 0..5 {
        let bytes = marked(&attacks().join("none.wasm"), mark);
        let begun = Instant::now();
        put(&world.plugins, "new.wasm", &bytes);
        served(&mut world, &["echo", "new"]).await;
        start_of(&world, "new", &mark.to_string()).await.unwrap();
        fastest = fastest.min(begun.elapsed());
        fs::remove_file(world.plugins.join("new.wasm")).unwrap();
        served(&mut world, &["echo"]).await;
    }
    assert_eq!(world.agent.compiled(), 6);
    eprintln!("a new file is served after {fastest:?}");
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
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
