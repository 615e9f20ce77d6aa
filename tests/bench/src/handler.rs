//! What a request costs the processor in a container, above what it costs in a
//! native handler behind the same server: from the decoded frame to the
//! encoded answer, with all that an agent does in between.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use hulynet_bus::{Body, Bus, Peer, PeerConfig};
use hulynet_client::{Client as Network, GetOptions};
use hulynet_protocol::{
    Call, Caller, ClientId, ContainerCall, ContainerId, Kind, Role, Target, Uuid,
};

use crate::{
    agent::NAME,
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

/// Measures all in one run: many containers in turn, and one that is asked again
/// and again.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let many = format!("one of {}", settings.clients * settings.in_flight);
    let mut measures = under(settings, &many).await?;
    let alone = Settings { clients: 1, in_flight: 1, ..settings.clone() };
    measures.extend(under(&alone, "the same one").await?);
    Ok(measures)
}

/// With as many containers as there are requests in flight.
async fn under(settings: &Settings, which: &str) -> anyhow::Result<Vec<Measure>> {
    eprintln!("· requests to a native handler");
    let native = {
        let server = FloorServer::start(Floor::Native)?;
        let id = ContainerId { kind: Kind::new("native")?, uuid: Uuid::new("native")? };
        let ids = vec![id; settings.clients];
        cost(settings, &server.address, server.process(), &ids, "echo").await?
    };
    let network = network::Network::start(settings)?;
    registered(&network.coordinator).await?;
    let client = member(&Bus::current(), &network.coordinator, true).await?;
    let mut measures = Vec::new();
    for (world, kind, operation, aim) in KINDS {
        eprintln!("· requests to {which} of a kind that is {world}");
        let cost = of_kind(settings, &network, &client, (kind, operation)).await?;
        let name = format!("computed by a request to {which}, {world}");
        measures.push(Measure::new(NAME, name, cost, "µs").above(native).at_most(native + aim));
    }
    Ok(measures)
}

/// Of a kind that is served: each request goes to a container that has nothing
/// else to do.
async fn of_kind(
    settings: &Settings,
    network: &network::Network,
    client: &Network,
    (kind, operation): (&str, &'static str),
) -> anyhow::Result<f64> {
    let mut idle = Vec::new();
    for number in 0..settings.clients * settings.in_flight {
        let uuid = Some(Uuid::new(format!("idle-{kind}-{number}"))?);
        idle.push(client.get(kind, GetOptions { uuid, ..GetOptions::default() }).await?);
    }
    let first = idle.first().context("there is one")?;
    let address = first.record()?.endpoint.address.context("the agent has an address")?;
    let ids: Vec<_> = idle.iter().map(|container| container.id().clone()).collect();
    cost(settings, &address, network.agent()?, &ids, operation).await
}

/// Microseconds that a server computes for one request, of many at once.
async fn cost(
    settings: &Settings,
    address: &str,
    process: u32,
    ids: &[ContainerId],
    operation: &'static str,
) -> anyhow::Result<f64> {
    let computed = || computed(process).context("the system tells what was computed");
    let each = ids.chunks(ids.len().div_ceil(settings.clients));
    let clients: Vec<_> = each.map(|ids| Asking::connect(address, ids, operation)).collect();
    for client in &clients {
        // Connections are made here, and not while it is measured.
        client.ask(&settings.payload()).await?;
    }
    let before = computed()?;
    let completed = pump(settings, clients, settings.in_flight).await?;
    Ok((computed()? - before) * 1e6 / completed as f64)
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
