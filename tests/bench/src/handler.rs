//! What a request costs the processor in a container, above what it costs in a
//! native handler behind the same server: from the decoded frame to the
//! encoded answer, with all that an agent does in between. Beside it stands what
//! wasmtime alone takes for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use hulynet_bus::{Body, Bus, Peer, PeerConfig};
use hulynet_client::{Client as Network, GetOptions, Reference};
use hulynet_protocol::{
    Call, Caller, ClientId, ContainerCall, ContainerId, Kind, Role, Target, Uuid,
};

use crate::{
    bare::{Bare, Costs, Order},
    bus::{member, registered},
    floor::{Floor, FloorServer, check},
    load::{Client, Settings, keep_asking, pump},
    measure::{Measure, computed},
    network,
};

/// The name of this benchmark; `agent` runs it, too.
pub(crate) const NAME: &str = "requests";

/// A kind that is asked.
struct Tested {
    /// How it exports what it does.
    world: &'static str,
    name: &'static str,
    /// Answers what it is sent.
    operation: &'static str,
    /// The most microseconds that it may cost above a native handler.
    aim: f64,
    /// What wasmtime alone takes for it.
    alone: fn(&Costs) -> f64,
}

const KINDS: [Tested; 2] = [
    Tested {
        world: "synchronous",
        name: "serial",
        operation: "repeat",
        aim: 3.0,
        alone: |costs| costs.serial,
    },
    Tested {
        world: "asynchronous",
        name: "echo",
        operation: "echo",
        aim: 5.0,
        alone: |costs| costs.concurrent,
    },
];

/// Containers that wasmtime alone starts at least: as many as it asks in turn, of
/// which fewer would stay in the processor's cache.
const ALONE: usize = 256;

/// How long one of those that are compared is asked in a round.
const TURN: Duration = Duration::from_millis(250);

/// Turns of a round, each of which gets as long as any throughput measure.
const TURNS: u32 = 4;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Measures all in one run: one container that has many requests at a time, many
/// containers that have one each, and one that is asked one by one.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let at_once = settings.clients * settings.in_flight;
    let one_by_one = Settings { clients: 1, in_flight: 1, ..settings.clone() };
    let which = format!("one of {at_once}");
    let mut measures = under(settings, 1, "one with many", Order::One).await?;
    measures.extend(under(settings, at_once, &which, Order::InTurn).await?);
    measures.extend(under(&one_by_one, 1, "one with no other", Order::Seldom).await?);
    Ok(measures)
}

/// What a request took in one round, in microseconds.
#[derive(Clone, Copy)]
struct Round {
    native: f64,
    kind: f64,
    /// By wasmtime alone.
    alone: f64,
}

/// With so many containers. The native handler, the kinds and wasmtime alone take
/// short turns, because a machine is faster at one time than at another, and what a
/// kind takes is compared with what the native handler took in the same round. The
/// median of all rounds is judged. The machine was least disturbed by others in the
/// quarter of the rounds in which wasmtime alone took the least: the median of
/// those is told too, without an aim.
async fn under(
    settings: &Settings,
    containers: usize,
    which: &str,
    order: Order,
) -> anyhow::Result<Vec<Measure>> {
    let mut bare = Bare::start(settings, containers.max(ALONE))?;
    eprintln!("· requests to a native handler and to {which}");
    let server = FloorServer::start(Floor::Native)?;
    let id = ContainerId { kind: Kind::new("native")?, uuid: Uuid::new("native")? };
    let native = Asked::new(settings, &server.address, server.process(), vec![id], "echo").await?;
    let network = network::Network::start(settings)?;
    registered(&network.coordinator).await?;
    let client = member(&Bus::current(), &network.coordinator, true).await?;
    let (mut kinds, mut referred) = (Vec::new(), Vec::new());
    for kind in &KINDS {
        let idle = idle(&client, kind.name, containers).await?;
        let first = idle.first().context("there is one")?;
        let address = first.record()?.endpoint.address.context("the agent has an address")?;
        let ids = idle.iter().map(|container| container.id().clone()).collect();
        kinds.push(Asked::new(settings, &address, network.agent()?, ids, kind.operation).await?);
        // Containers live as long as somebody refers to them.
        referred.push(idle);
    }
    let mut rounds = [const { Vec::new() }; KINDS.len()];
    let until = Instant::now() + Duration::from_secs(settings.seconds) * TURNS;
    while Instant::now() < until {
        let native = native.cost(settings).await?;
        let mut costs = Vec::new();
        for kind in &kinds {
            costs.push(kind.cost(settings).await?);
        }
        let alone = bare.costs(order)?;
        for ((rounds, tested), kind) in rounds.iter_mut().zip(&KINDS).zip(costs) {
            rounds.push(Round { native, kind, alone: (tested.alone)(&alone) });
        }
    }
    let name = |handler: &str| format!("computed by a request to {which}, {handler}");
    let native = median(rounds.first().context("there are kinds")?, |round| round.native);
    let mut measures = vec![Measure::new(NAME, name("native handler"), native, "µs")];
    for (Tested { world, aim, .. }, mut rounds) in KINDS.iter().zip(rounds) {
        let measure = |handler: &str, rounds: &[Round]| {
            let above = median(rounds, |round| round.kind - round.native);
            let name = name(&format!("{world} above native{handler}"));
            Measure::new(NAME, name, above, "µs").above(median(rounds, |round| round.alone))
        };
        measures.push(measure("", &rounds).at_most(*aim));
        rounds.sort_by(|one, other| one.alone.total_cmp(&other.alone));
        rounds.truncate(rounds.len().div_ceil(4));
        measures.push(measure(", quiet machine", &rounds));
    }
    Ok(measures)
}

/// The one in the middle.
fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// So many containers of a kind.
async fn idle(client: &Network, kind: &str, containers: usize) -> anyhow::Result<Vec<Reference>> {
    let mut idle = Vec::new();
    for number in 0..containers {
        let uuid = Some(Uuid::new(format!("idle-{kind}-{number}"))?);
        idle.push(client.get(kind, GetOptions { uuid, ..GetOptions::default() }).await?);
    }
    Ok(idle)
}

/// Who is asked, and by whom.
struct Asked {
    process: u32,
    clients: Vec<Arc<Asking>>,
}

impl Asked {
    /// Each client asks its share of the containers in turn, or all ask the only
    /// one.
    async fn new(
        settings: &Settings,
        address: &str,
        process: u32,
        ids: Vec<ContainerId>,
        operation: &'static str,
    ) -> anyhow::Result<Self> {
        let shares = ids.chunks(ids.len().div_ceil(settings.clients)).cycle();
        let clients: Vec<_> = shares
            .take(settings.clients)
            .map(|ids| Arc::new(Asking::connect(address, ids, operation)))
            .collect();
        for client in &clients {
            // Connections are made here, and not while it is measured.
            client.ask(&settings.payload()).await?;
        }
        Ok(Self { process, clients })
    }

    /// Microseconds that it computes for one request, of many at once.
    async fn cost(&self, settings: &Settings) -> anyhow::Result<f64> {
        let before = computed(self.process)?;
        let completed = pump(settings, self.clients.clone(), settings.in_flight, TURN).await?;
        Ok((computed(self.process)? - before) * 1e6 / completed as f64)
    }
}

/// A peer that asks one container after another.
struct Asking {
    peer: Peer,
    ids: Vec<ContainerId>,
    operation: &'static str,
    asked: AtomicUsize,
}

impl Asking {
    fn connect(address: &str, ids: &[ContainerId], operation: &'static str) -> Self {
        let config = PeerConfig::new(ClientId::random(), Role::Client);
        // Nobody sends it events, and that it joined its first answer shows.
        let (peer, _events) = Bus::current().connect(address, config);
        Self { peer, ids: ids.to_vec(), operation, asked: AtomicUsize::new(0) }
    }

    async fn ask(&self, payload: &Bytes) -> anyhow::Result<()> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let id = self.ids.get(asked % self.ids.len()).context("there is one")?;
        let call = Call::Container(ContainerCall {
            target: Target { id: id.clone(), epoch: None },
            operation: self.operation.to_owned(),
            caller: Caller::default(),
            idempotency: None,
            trace: 0,
            send: false,
        });
        match self.peer.call(call, payload.clone(), TIMEOUT).await?.body {
            Body::Payload(answer) => check(&answer, payload),
            Body::Stream(_) => anyhow::bail!("the answer is a stream"),
        }
    }
}

impl Client for Arc<Asking> {
    async fn round_trip(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        self.ask(payload).await
    }

    async fn pump(self, payload: Bytes, in_flight: usize, until: Instant) -> anyhow::Result<u64> {
        keep_asking(|| self.ask(&payload), in_flight, until).await
    }
}
