//! An agent whose system gives it no more memory maps. It has a process of its
//! own, because such a process can hardly do anything else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::fs;

use hulynet_protocol::{ErrorKind, Labels, Retry};
use support::World;
use wasmtime::{Config, Engine, Memory, MemoryType, Store};

/// Memories that are mapped and let go together.
const TOGETHER: usize = 16;

/// More maps would take too much of the system's memory.
const MOST: usize = 262_144;

/// Takes maps until the system gives no more: two for each memory, which has a
/// guard that other memories do not share.
fn take_all_maps(most: usize) -> Vec<Store<()>> {
    let mut config = Config::new();
    config.memory_reservation(0).memory_reservation_for_growth(0).memory_guard_size(1 << 16);
    let engine = Engine::new(&config).unwrap();
    let mut taken = Vec::with_capacity(most / TOGETHER);
    loop {
        let mut store = Store::new(&engine, ());
        for _ in 0..TOGETHER {
            if let Err(full) = Memory::new(&mut store, MemoryType::new(1, None)) {
                assert!(format!("{full:#}").contains("os error 12"), "{full:#}");
                return taken;
            }
        }
        taken.push(store);
        assert!(taken.len() < most, "the system gives more maps than it says");
    }
}

#[tokio::test]
async fn without_memory_maps_a_start_is_refused_as_full_with_the_remedy_and_the_others_go_on() {
    const COUNT: &str = "/proc/sys/vm/max_map_count";
    let most = fs::read_to_string(COUNT).map_or(0, |text| text.trim().parse().unwrap());
    if !(1..=MOST).contains(&most) {
        eprintln!("SKIPPED: {COUNT} is to be between 1 and {MOST}, and is {most}");
        return;
    }
    let world = World::new().await;
    world.start("other").await;
    assert_eq!(world.request("other", "add", "[1]").await.unwrap(), "1");
    let mut taken = take_all_maps(most);
    // For what the process does besides, and one or two containers.
    taken.pop();
    let mut counter = 0;
    let mut start = async || {
        counter += 1;
        world.start_as(&format!("a{counter}"), 1, Labels::new()).await
    };
    let error = loop {
        match start().await {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed), "{error}");
    for part in ["the agent is full", "os error 12", "sysctl -w vm.max_map_count="] {
        assert!(error.message.contains(part), "{part} in {error}");
    }
    assert_eq!(world.request("other", "add", "[1]").await.unwrap(), "2");
    drop(taken);
    start().await.unwrap();
    assert_eq!(world.request("other", "add", "[1]").await.unwrap(), "3");
}
