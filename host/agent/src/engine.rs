//! The one constructor of the WebAssembly engine.
//!
//! There is no other: two engines whose settings differ cannot share compiled
//! kinds.
//!
//! Memory maps are the first wall: each container takes two for its memory and
//! two for its stack, stacks are taken at once, and a process that reaches
//! `vm.max_map_count` dies at an ordinary allocation. So the pool is sized from
//! that limit, and halved while the engine cannot be made (a limited address
//! space).

use std::{fs, thread, time::Duration};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::AgentError;

/// The time between two epochs: how long a container computes before others
/// get a turn. A request that finds all threads computing waits about as long;
/// shorter ones cost more than they gain.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Containers when the operator sets no number and the kernel allows as many.
const CONTAINERS: u32 = 10_000;
/// Memory maps that a container takes: its memory and its stack with guards.
const MAPS_PER_CONTAINER: u32 = 4;
/// Memory maps left for everything else in the process.
const MAPS_RESERVED: u32 = 8_192;
/// The kernel's default, taken where the limit cannot be read.
const MAPS_DEFAULT: u32 = 65_530;
/// An agent with room for fewer is not worth starting.
const CONTAINERS_MIN: u32 = 16;
/// A component made by `wit-bindgen` is three core instances and two tables.
const CORE_INSTANCES: u32 = 4;
const TABLES: u32 = 3;

/// Makes the engine and starts its clock. Answers how many containers fit.
///
/// # Errors
/// [`AgentError::Engine`] when not even a small pool can be had,
/// [`AgentError::Thread`] when the clock cannot run.
pub(crate) fn start(wanted: Option<u32>) -> Result<(Engine, u32), AgentError> {
    let maps = fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MAPS_DEFAULT);
    let mut containers = pool_size(wanted, maps);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > containers) {
        tracing::warn!(
            "room for {containers} containers instead of {wanted}: the kernel allows {maps} memory \
             maps; allow more with: sysctl -w vm.max_map_count={}",
            u64::from(wanted) * u64::from(MAPS_PER_CONTAINER) + u64::from(MAPS_RESERVED)
        );
    }
    let engine = loop {
        match Engine::new(&settings(containers)) {
            Ok(engine) => break engine,
            Err(error) if containers / 2 < CONTAINERS_MIN => {
                return Err(AgentError::Engine(format!("{error:#}")));
            }
            Err(error) => {
                tracing::warn!("no room for {containers} containers, trying half: {error:#}");
                containers /= 2;
            }
        }
    };
    start_clock(&engine)?;
    Ok((engine, containers))
}

/// How many containers the kernel's limit of memory maps allows.
fn pool_size(wanted: Option<u32>, maps: u32) -> u32 {
    let allowed = (maps.saturating_sub(MAPS_RESERVED) / MAPS_PER_CONTAINER).max(CONTAINERS_MIN);
    wanted.unwrap_or(CONTAINERS).clamp(CONTAINERS_MIN, allowed)
}

fn settings(containers: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(containers)
        .total_core_instances(containers.saturating_mul(CORE_INSTANCES))
        .total_memories(containers)
        .total_tables(containers.saturating_mul(TABLES))
        .total_stacks(containers)
        .max_tables_per_module(TABLES)
        .linear_memory_keep_resident(64 * 1024)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        // Stacks count against every live container; Rust kinds keep their
        // own data on a second stack inside their memory.
        .async_stack_size(256 * 1024)
        .max_wasm_stack(128 * 1024)
        // An image costs two more memory maps per container.
        .memory_init_cow(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Moves the engine's epoch on every [`TICK`], until the engine is gone.
fn start_clock(engine: &Engine) -> Result<(), AgentError> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("wasm-epochs".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(AgentError::Thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_stays_below_the_kernels_limit_of_memory_maps() {
        assert_eq!(pool_size(None, 65_530), 10_000);
        assert_eq!(pool_size(None, 16_192), 2_000);
        assert_eq!(pool_size(Some(50_000), 65_530), 14_334);
        assert_eq!(pool_size(Some(50), 65_530), 50);
    }

    #[test]
    fn a_kernel_with_few_memory_maps_still_gets_a_small_pool() {
        assert_eq!(pool_size(None, 1_000), CONTAINERS_MIN);
    }
}
