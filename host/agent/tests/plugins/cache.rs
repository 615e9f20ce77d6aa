//! What is compiled once and kept.

use std::{
    fs,
    time::{Duration, Instant},
};

use hulynet_agent::AgentConfig;

use crate::{put, support::World, variant};

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
