//! What wasmtime alone takes for the kinds of the benchmarks: containers that
//! nobody manages, started and asked in a loop. `cargo xtask bench requests` prints
//! it beside what an agent takes for them. Each request enters the store anew, in
//! which a container of an agent stays.
//!
//! It prints what a start takes, and then for each line that it reads, which names
//! an [`Order`], what a request takes now: a machine is faster at one time than at
//! another, so whoever compares takes turns with it.

use std::{
    fs, io, iter,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use mimalloc::MiMalloc;
use serde_json::json;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{
        Accessor, Component, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower,
        Resource, ResourceTable, ResourceType, TypedFunc,
    },
};

use self::bindings::{
    concurrent::{
        exports::huly::network::guest,
        huly::network::{
            common::{Error, Trace},
            types::Body,
        },
    },
    serial::{self, exports::huly::network::guest_sync},
};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[allow(missing_docs, unreachable_pub, reason = "generated from the contract")]
mod bindings {
    pub(super) mod concurrent {
        wasmtime::component::bindgen!({
            path: "../../wit",
            world: "container",
            with: { "huly:network/types.caller": crate::Caller },
        });
    }
    pub(super) mod serial {
        wasmtime::component::bindgen!({ path: "../../wit", world: "container-sync" });
    }
}

/// Containers that are asked in turn, as many as have a request at a time
/// elsewhere.
const IN_TURN: usize = 256;
/// How long containers are asked for one line that is read.
const ASKED_FOR: Duration = Duration::from_millis(50);
/// How long a container has no request in between, when it has one now and then.
const PAUSE: Duration = Duration::from_micros(100);
/// Further than any clock goes here.
const NO_EPOCH: u64 = 1 << 40;

/// Which containers are asked, and when.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Order {
    /// The first request to each of all, in an order of large steps
    First,
    /// One container that has one after the other
    One,
    /// One of many that have one each in turn
    InTurn,
    /// One that has one now and then
    Seldom,
}

/// Measures what wasmtime alone takes; prints JSON objects, in microseconds.
#[derive(Parser)]
struct Arguments {
    /// The directory of the kinds `echo` and `serial`
    kinds: PathBuf,
    /// How many containers are started
    containers: u32,
}

fn main() -> anyhow::Result<()> {
    let Arguments { kinds, containers } = Arguments::parse();
    // As a container's thread is, which has one at a time.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let (started, mut concurrent) = concurrent(&kinds, containers).await?;
        let mut serial = serial(&kinds).await?;
        println!("{}", json!({ "started": started }));
        for line in io::stdin().lines() {
            let line = line?;
            let order = Order::from_str(&line, false)
                .map_err(|error| anyhow::anyhow!("{line:?} is no order: {error}"))?;
            let (concurrent, serial) = (concurrent.cost(order).await?, serial.cost(order).await?);
            println!("{}", json!({ "concurrent": concurrent, "serial": serial }));
        }
        Ok(())
    })
}

/// In whose name requests are made.
pub struct Caller;

type Outcome<T> = (Result<T, Error>,);
/// How a container of the kind `echo` is asked.
type Concurrent = TypedFunc<(guest::Incoming,), Outcome<Body>>;
/// How one of the kind `serial` is.
type Serial =
    TypedFunc<(guest_sync::Incoming,), (Result<Vec<u8>, serial::huly::network::common::Error>,)>;

/// What a container's store has.
#[derive(Default)]
struct Data {
    table: ResourceTable,
}

/// What a start of the kind `echo` takes, and containers of it.
async fn concurrent(kinds: &Path, containers: u32) -> anyhow::Result<(f64, impl Asked)> {
    let mut pool = PoolingAllocationConfig::new();
    // As an agent's for kinds of this sort.
    pool.total_component_instances(containers)
        .total_core_instances(containers.saturating_mul(4))
        .total_memories(containers)
        .total_tables(containers.saturating_mul(3))
        .total_stacks(containers)
        .max_tables_per_module(3)
        .linear_memory_keep_resident(64 * 1024)
        .table_keep_resident(4096);
    let mut config = settings();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let pre = load(&config, &kinds.join("echo.wasm"), |linker| {
        // All who name it mean the same.
        for interface in ["types", "containers", "documents"] {
            let mut interface = linker.instance(&format!("huly:network/{interface}@0.1.0"))?;
            interface.resource("caller", ResourceType::host::<Caller>(), |mut store, caller| {
                store.data_mut().table.delete(Resource::<Caller>::new_own(caller))?;
                Ok(())
            })?;
        }
        Ok(())
    })?;
    let (mut live, began) = (Vec::new(), Instant::now());
    for _ in 0..containers {
        let mut store = store(&pre);
        let instance = pre.instantiate_async(&mut store).await.map_err(plain)?;
        let start = export::<(Vec<u8>,), Outcome<()>>(&instance, &mut store, "guest", "start")?;
        let request: Concurrent = export(&instance, &mut store, "guest", "request")?;
        let starting =
            async |access: &Accessor<Data>| start.call_concurrent(access, (Vec::new(),)).await;
        let (started,) = store.run_concurrent(starting).await.flatten().map_err(plain)?;
        started.map_err(refused)?;
        live.push((store, request));
    }
    let started = micros(began.elapsed(), containers as usize);
    let ask = async |(store, request): &mut (Store<Data>, Concurrent)| {
        let asking = async |access: &Accessor<Data>| {
            let caller = access.with(|mut access| access.get().table.push(Caller))?;
            let incoming = guest::Incoming {
                operation: "echo".to_owned(),
                payload: payload(),
                caller,
                deadline_ms: 10_000,
                idempotency: None,
                trace: Trace { high: 0, low: 0 },
            };
            request.call_concurrent(access, (incoming,)).await
        };
        match store.run_concurrent(asking).await.flatten().map_err(plain)? {
            (Ok(Body::Payload(answer)),) => Ok(answer),
            (Ok(Body::Chunks(_)),) => anyhow::bail!("the answer is a stream"),
            (Err(error),) => Err(refused(error)),
        }
    };
    Ok((started, Live { containers: live, ask }))
}

/// Containers of the kind `serial`.
async fn serial(kinds: &Path) -> anyhow::Result<impl Asked> {
    let mut config = settings();
    config.concurrency_support(false);
    let pre = load(&config, &kinds.join("serial.wasm"), |_linker| Ok(()))?;
    let mut live = Vec::new();
    for _ in 0..IN_TURN {
        let mut store = store(&pre);
        let instance = pre.instantiate_async(&mut store).await.map_err(plain)?;
        let request: Serial = export(&instance, &mut store, "guest-sync", "request")?;
        live.push((store, request));
    }
    let ask = async |(store, request): &mut (Store<Data>, Serial)| {
        let incoming = guest_sync::Incoming {
            operation: "repeat".to_owned(),
            payload: payload(),
            caller: guest_sync::Caller { account: None, container: None },
            deadline_ms: 10_000,
            idempotency: None,
            trace: serial::huly::network::common::Trace { high: 0, low: 0 },
        };
        let (answer,) = request.call_async(store, (incoming,)).await.map_err(plain)?;
        answer.map_err(|error| anyhow::anyhow!("it answered: {}", error.message))
    };
    Ok(Live { containers: live, ask })
}

/// Containers that can be asked.
trait Asked {
    /// How long a request takes in this order, in microseconds.
    async fn cost(&mut self, order: Order) -> anyhow::Result<f64>;
}

/// Containers, and how one is asked.
struct Live<C, A> {
    containers: Vec<C>,
    ask: A,
}

impl<C, A: AsyncFn(&mut C) -> anyhow::Result<Vec<u8>>> Asked for Live<C, A> {
    async fn cost(&mut self, order: Order) -> anyhow::Result<f64> {
        let count = self.containers.len();
        match order {
            // Knuth's multiplicative hashing: a prime, so each has its turn.
            Order::First => {
                let each = (0..count).map(|number| number.wrapping_mul(2_654_435_761) % count);
                self.each(each, Duration::MAX, Duration::ZERO).await
            }
            Order::One => self.each(iter::repeat(0), ASKED_FOR, Duration::ZERO).await,
            Order::InTurn => {
                self.each((0..IN_TURN.min(count)).cycle(), ASKED_FOR, Duration::ZERO).await
            }
            Order::Seldom => self.each(iter::repeat(0), ASKED_FOR, PAUSE).await,
        }
    }
}

impl<C, A: AsyncFn(&mut C) -> anyhow::Result<Vec<u8>>> Live<C, A> {
    /// Asks these, with a pause before each, for so long.
    async fn each(
        &mut self,
        order: impl Iterator<Item = usize>,
        asked_for: Duration,
        pause: Duration,
    ) -> anyhow::Result<f64> {
        let (mut requests, mut took, begin) = (0, Duration::ZERO, Instant::now());
        for index in order {
            if begin.elapsed() >= asked_for {
                break;
            }
            if !pause.is_zero() {
                thread::sleep(pause);
            }
            let container = self.containers.get_mut(index).context("it is live")?;
            let began = Instant::now();
            let answer = (self.ask)(container).await?;
            took += began.elapsed();
            requests += 1;
            ensure!(answer == payload(), "the answer is not what was sent");
        }
        Ok(micros(took, requests))
    }
}

/// As an agent's engines.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_may_move(false)
        .async_stack_size(256 * 1024)
        .max_wasm_stack(128 * 1024);
    config
}

/// A kind whose imports fail, but for those that `link` offers.
fn load(
    config: &Config,
    file: &Path,
    link: impl FnOnce(&mut Linker<Data>) -> wasmtime::Result<()>,
) -> anyhow::Result<InstancePre<Data>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let engine = Engine::new(config).map_err(plain)?;
    let component = Component::new(&engine, bytes).map_err(plain)?;
    let mut linker = Linker::new(&engine);
    link(&mut linker).map_err(plain)?;
    linker.define_unknown_imports_as_traps(&component).map_err(plain)?;
    linker.instantiate_pre(&component).map_err(plain)
}

fn store(pre: &InstancePre<Data>) -> Store<Data> {
    let mut store = Store::new(pre.engine(), Data::default());
    store.set_epoch_deadline(NO_EPOCH);
    store
}

fn export<P, R>(
    instance: &Instance,
    mut store: &mut Store<Data>,
    interface: &str,
    name: &str,
) -> anyhow::Result<TypedFunc<P, R>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let path = format!("huly:network/{interface}@0.1.0");
    let index = instance
        .get_export_index(&mut store, None, &path)
        .and_then(|interface| instance.get_export_index(&mut store, Some(&interface), name))
        .with_context(|| format!("the kind has no {path}.{name}"))?;
    instance.get_typed_func(&mut store, index).map_err(plain)
}

/// What every request carries.
fn payload() -> Vec<u8> {
    vec![b'1'; 64]
}

/// Microseconds.
fn micros(took: Duration, count: usize) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn refused(error: Error) -> anyhow::Error {
    anyhow::anyhow!("a container answered: {}", error.message)
}
