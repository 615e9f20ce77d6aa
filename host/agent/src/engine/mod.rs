//! The one constructor of the WebAssembly engines.
//!
//! There are two, one for each world: calls that are in progress side by side
//! need support that makes a single one much more expensive. Nothing else
//! differs but where memory comes from. Containers of the world `container` have
//! a pool; those of `container-sync` take theirs when they start and give it
//! back when they end, because two pools that are each large enough for all
//! containers would take twice as much of what is scarce:
//!
//! Memory maps are the first wall: each container takes four for its memory,
//! one of them with the data that all containers of its kind share until they
//! write to it, and two for its stack, the pool's stacks are taken at once, and
//! a process that reaches `vm.max_map_count` dies at an ordinary allocation. So
//! the pool is sized from that limit, and halved while the engine cannot be made
//! (a limited address space). Address space is the second: a memory has 4 GiB of
//! it reserved, so that the processor checks its bounds, for as many containers
//! as a process can have so. For more of them it is less, and the code checks,
//! which costs memory-heavy code 17 to 90 %.

mod clock;
mod places;

use std::{fs, panic, sync::Arc};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

pub(crate) use self::{clock::Clock, places::Places};
use crate::{error::AgentError, world::World};

/// Containers when the operator sets no number and the kernel allows as many.
const CONTAINERS: u32 = 10_000;
/// Memory maps that a container takes: its memory and its stack with guards.
const MAPS_PER_CONTAINER: u32 = 6;
/// Those of them that its stack in the pool takes.
const MAPS_PER_STACK: u32 = 2;
/// Memory maps left for everything else in the process.
const MAPS_RESERVED: u32 = 5_500;
/// The kernel's default, taken where the limit cannot be read.
const MAPS_DEFAULT: u32 = 65_530;
/// An agent with room for fewer is not worth starting.
const CONTAINERS_MIN: u32 = 16;
/// A component made by `wit-bindgen` is three core instances and two tables.
const CORE_INSTANCES: u32 = 4;
pub(crate) const POOLED_TABLES: u32 = 3;
/// Memories of one module of the pool: it has one for each container.
pub(crate) const POOLED_MEMORIES: u32 = 1;
/// Elements of one table of the pool.
pub(crate) const POOLED_TABLE: usize = 20_000;
/// Bytes of the stack of a container's code.
pub(crate) const STACK: usize = 128 * 1024;
/// What 32 bits can name: a memory with as much needs no checks.
const WHOLE_RESERVATION: u64 = 4 << 30;
/// So many memories of the pool with as much, and half as many outside of it,
/// fit into a process of 47 bits.
const WHOLE_RESERVATIONS: u64 = 20_000;
/// Unmapped after a memory with less: constant offsets need no checks of their
/// own.
const SMALL_GUARD: u64 = 64 << 10;

/// The engines.
pub(crate) struct Engines {
    concurrent: Engine,
    serial: Engine,
    /// Goes while containers of either run.
    pub(crate) clock: Clock,
    /// For the containers of both.
    pub(crate) places: Arc<Places>,
}

impl Engines {
    /// The one for containers of this world.
    pub(crate) fn of(&self, world: World) -> &Engine {
        match world {
            World::Container => &self.concurrent,
            World::ContainerSync => &self.serial,
        }
    }
}

/// Makes the engines and starts their clock. Answers how many containers fit.
///
/// # Errors
/// [`AgentError::Engine`] when not even a small pool can be had,
/// [`AgentError::Thread`] when the clock cannot run.
pub(crate) fn start(wanted: Option<u32>) -> Result<(Engines, u32), AgentError> {
    let maps = memory_maps();
    let mut containers = pool_size(wanted, maps);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > containers) {
        tracing::warn!(
            "room for {containers} containers instead of {wanted}: the kernel allows {maps} memory \
             maps; allow more with: sysctl -w vm.max_map_count={}",
            u64::from(wanted) * u64::from(MAPS_PER_CONTAINER) + u64::from(MAPS_RESERVED)
        );
    }
    let failed = |error: wasmtime::Error| AgentError::Engine(format!("{error:#}"));
    let concurrent = loop {
        match Engine::new(&pooled(containers)) {
            Ok(engine) => break engine,
            Err(error) if containers / 2 < CONTAINERS_MIN => return Err(failed(error)),
            Err(error) => {
                tracing::warn!("no room for {containers} containers, trying half: {error:#}");
                containers /= 2;
            }
        }
    };
    let serial = Engine::new(&on_demand(containers)).map_err(failed)?;
    let both = [concurrent.clone(), serial.clone()];
    let clock = Clock::start(move || both.iter().for_each(Engine::increment_epoch))
        .map_err(AgentError::Thread)?;
    let stacks = containers.saturating_mul(MAPS_PER_STACK);
    let free = maps.saturating_sub(MAPS_RESERVED).saturating_sub(stacks);
    let places = Arc::new(Places::new(free, containers));
    Ok((Engines { concurrent, serial, clock, places }, containers))
}

/// Gives a thread what it needs to run a container. It is done by itself at the
/// first one, but takes memory maps: where the system has no more, a thread
/// that ran none yet could not run those that live. For the threads of the
/// runtime that an agent is started in, when they start.
pub fn prepare_thread() {
    // Where the system has none already, this panics: then the thread is as it
    // would have been without it.
    let _unprepared = panic::catch_unwind(Engine::tls_eager_initialize);
}

/// How many memory maps the kernel allows a process.
pub(crate) fn memory_maps() -> u32 {
    fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MAPS_DEFAULT)
}

/// How many containers the kernel's limit of memory maps allows.
fn pool_size(wanted: Option<u32>, maps: u32) -> u32 {
    let allowed = (maps.saturating_sub(MAPS_RESERVED) / MAPS_PER_CONTAINER).max(CONTAINERS_MIN);
    wanted.unwrap_or(CONTAINERS).clamp(CONTAINERS_MIN, allowed)
}

/// The address space of one memory, which is also the most that it can grow to,
/// when so many have it whole.
fn reservation(containers: u32, whole: u64) -> u64 {
    let each = WHOLE_RESERVATION * whole / u64::from(containers.max(1));
    1 << each.min(WHOLE_RESERVATION).ilog2()
}

/// For containers of the world `container`.
fn pooled(containers: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(containers)
        .total_core_instances(containers.saturating_mul(CORE_INSTANCES))
        .total_memories(containers)
        .total_tables(containers.saturating_mul(POOLED_TABLES))
        .total_stacks(containers)
        .max_memories_per_module(POOLED_MEMORIES)
        .max_tables_per_module(POOLED_TABLES)
        .table_elements(POOLED_TABLE)
        .linear_memory_keep_resident(64 * 1024)
        // The page that the elements of a usual kind are in: to give it back and
        // take it again is a quarter of a start where a container was before.
        .table_keep_resident(4096)
        .pagemap_scan(Enabled::Auto);
    let reservation = reservation(containers, WHOLE_RESERVATIONS);
    if reservation < WHOLE_RESERVATION {
        pool.max_memory_size(usize::try_from(reservation).unwrap_or(usize::MAX));
    }
    let mut config = settings(reservation);
    config
        .wasm_component_model_async(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// For containers of the world `container-sync`.
fn on_demand(containers: u32) -> Config {
    let mut config = settings(reservation(containers, WHOLE_RESERVATIONS / 2));
    config.concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

/// What both have, with so much address space for a memory.
fn settings(reservation: u64) -> Config {
    let mut config = Config::new();
    if reservation < WHOLE_RESERVATION {
        config.memory_reservation(reservation).memory_guard_size(SMALL_GUARD);
    }
    config
        .memory_may_move(false)
        // Kinds are of wasm32: their long instructions are cut as such.
        .wasm_memory64(false)
        .epoch_interruption(true)
        // Stacks count against every live container; Rust kinds keep their
        // own data on a second stack inside their memory.
        .async_stack_size(256 * 1024)
        .max_wasm_stack(STACK)
        // What a kind's memory begins with is in memory once: about 30 KiB
        // less for each container, for two more memory maps.
        .memory_init_cow(true);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_stays_below_the_kernels_limit_of_memory_maps() {
        assert_eq!(pool_size(None, 65_530), 10_000);
        assert_eq!(pool_size(None, 17_500), 2_000);
        assert_eq!(pool_size(Some(50_000), 65_530), 10_005);
        assert_eq!(pool_size(Some(50), 65_530), 50);
    }

    #[test]
    fn many_containers_share_the_address_space() {
        let pooled = |containers| reservation(containers, WHOLE_RESERVATIONS);
        assert_eq!(pooled(10_000), 4 << 30);
        assert_eq!(pooled(20_000), 4 << 30);
        assert_eq!(pooled(20_001), 2 << 30);
        assert_eq!(pooled(50_000), 1 << 30);
        let on_demand = |containers| reservation(containers, WHOLE_RESERVATIONS / 2);
        assert_eq!(on_demand(10_000), 4 << 30);
        assert_eq!(on_demand(10_001), 2 << 30);
    }

    #[test]
    fn a_kernel_with_few_memory_maps_still_gets_a_small_pool() {
        assert_eq!(pool_size(None, 1_000), CONTAINERS_MIN);
    }
}
