//! What a request costs the processor in a container, above what it costs in a
//! native handler behind the same server: from the decoded frame to the
//! encoded answer, with all that an agent does in between. Beside it stands what
//! wasmtime alone takes for it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
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
    agent::NAME,
    bare::{Bare, Requests},
    bus::{member, registered},
    floor::{Floor, FloorServer, check},
    load::{Client, Settings, keep_asking, pump},
    measure::{Measure, computed},
    network,
};

/// How kinds export what they do, with an operation that answers what it is
/// sent, and the most microseconds that it may cost above a native handler.
const KINDS: [(&str, &str, &str, f64); 2] =
    [("synchronous", "serial", "repeat", 3.0), ("asynchronous", "echo", "echo", 5.0)];

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Measures all in one run: one container that has many requests at a time, many
/// containers that have one each, and one that is asked one by one.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let at_once = settings.clients * settings.in_flight;
    let bare = Bare::measured(settings, at_once)?;
    let alone = |which: fn(&Requests) -> f64| [which(&bare.serial), which(&bare.concurrent)];
    let mut measures = under(settings, 1, "one with many", alone(|of| of.one)).await?;
    let which = format!("one of {at_once}");
    measures.extend(under(settings, at_once, &which, alone(|of| of.in_turn)).await?);
    let one_by_one = Settings { clients: 1, in_flight: 1, ..settings.clone() };
    measures.extend(under(&one_by_one, 1, "one with no other", alone(|of| of.seldom)).await?);
    Ok(measures)
}

/// With so many containers, of which wasmtime alone takes so much for each kind;
/// the native handler and the kinds take turns, because a machine is faster at
/// one time than at another. Who else is on the machine can only add to what a
/// turn costs, so the least of the turns is told too, but not judged: the least of
/// both need not be of the same time.
async fn under(
    settings: &Settings,
    containers: usize,
    which: &str,
    alone: [f64; KINDS.len()],
) -> anyhow::Result<Vec<Measure>> {
    eprintln!("· requests to a native handler and to {which}");
    let server = FloorServer::start(Floor::Native)?;
    let id = ContainerId { kind: Kind::new("native")?, uuid: Uuid::new("native")? };
    let native = Asked {
        address: server.address.clone(),
        process: server.process(),
        ids: vec![id],
        operation: "echo",
        _referred: Vec::new(),
    };
    let network = network::Network::start(settings)?;
    registered(&network.coordinator).await?;
    let client = member(&Bus::current(), &network.coordinator, true).await?;
    let mut kinds = Vec::new();
    for (_, kind, operation, _) in KINDS {
        kinds.push(of_kind(&network, &client, containers, (kind, operation)).await?);
    }
    let turn = Settings { seconds: 1, ..settings.clone() };
    let (mut floor, mut costs) = (Vec::new(), [const { Vec::new() }; KINDS.len()]);
    for _ in 0..settings.seconds {
        floor.push(native.cost(&turn).await?);
        for (costs, kind) in costs.iter_mut().zip(&kinds) {
            costs.push(kind.cost(&turn).await?);
        }
    }
    let name = |handler: &str| format!("computed by a request to {which}, {handler}");
    let mut measures =
        vec![Measure::new(NAME, name("native handler"), median(floor.iter().copied()), "µs")];
    for (((world, _, _, aim), costs), alone) in KINDS.iter().zip(costs).zip(alone) {
        let above = median(costs.iter().zip(&floor).map(|(cost, native)| cost - native));
        let above_name = name(&format!("{world} above native"));
        measures.push(Measure::new(NAME, above_name, above, "µs").above(alone).at_most(*aim));
        let least_name = name(&format!("{world}, least turn above least native turn"));
        let least_above = least(&costs) - least(&floor);
        measures.push(Measure::new(NAME, least_name, least_above, "µs"));
    }
    Ok(measures)
}

/// The smallest one.
fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The one in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// So many containers of a kind.
async fn of_kind(
    network: &network::Network,
    client: &Network,
    containers: usize,
    (kind, operation): (&str, &'static str),
) -> anyhow::Result<Asked> {
    let mut idle = Vec::new();
    for number in 0..containers {
        let uuid = Some(Uuid::new(format!("idle-{kind}-{number}"))?);
        idle.push(client.get(kind, GetOptions { uuid, ..GetOptions::default() }).await?);
    }
    let first = idle.first().context("there is one")?;
    let address = first.record()?.endpoint.address.context("the agent has an address")?;
    let ids = idle.iter().map(|container| container.id().clone()).collect();
    Ok(Asked { address, process: network.agent()?, ids, operation, _referred: idle })
}

/// Who is asked, and what.
struct Asked {
    address: String,
    process: u32,
    ids: Vec<ContainerId>,
    operation: &'static str,
    /// Containers live as long as somebody refers to them.
    _referred: Vec<Reference>,
}

impl Asked {
    /// Microseconds that it computes for one request, of many at once. Each
    /// client asks its share of the containers in turn, or all ask the only one.
    async fn cost(&self, settings: &Settings) -> anyhow::Result<f64> {
        let computed = || computed(self.process).context("the system tells what was computed");
        let shares = self.ids.chunks(self.ids.len().div_ceil(settings.clients)).cycle();
        let clients: Vec<_> = shares
            .take(settings.clients)
            .map(|ids| Asking::connect(&self.address, ids, self.operation))
            .collect();
        for client in &clients {
            // Connections are made here, and not while it is measured.
            client.ask(&settings.payload()).await?;
        }
        let before = computed()?;
        let completed = pump(settings, clients, settings.in_flight).await?;
        Ok((computed()? - before) * 1e6 / completed as f64)
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

impl Client for Asking {
    async fn round_trip(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        self.ask(payload).await
    }

    async fn pump(self, payload: Bytes, in_flight: usize, until: Instant) -> anyhow::Result<u64> {
        keep_asking(|| self.ask(&payload), in_flight, until).await
    }
}
