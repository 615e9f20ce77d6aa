//! Kinds that take as much memory as they get.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hulynet_agent::Grants;
use hulynet_protocol::{ErrorKind, Labels, Retry};

use crate::{
    stage::{MIB, Stage, both, id, number},
    support::World,
};

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
