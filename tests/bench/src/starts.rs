//! How fast an agent starts containers in bulk, when nothing else takes time:
//! orders come as a coordinator gives them, and nobody asks for containers. Who
//! gives them has its share of the time.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hulynet_bus::{Bus, Incoming, Request, Server, ServerConfig};
use hulynet_protocol::{
    Call, ClientId, ContainerId, Epoch, Kind, Labels, Registered, Reply, Role, ServerId,
    StartContainer, Uuid,
};
use tokio::sync::mpsc;

use crate::{
    agent::NAME,
    bare::Bare,
    load::Settings,
    measure::{Measure, computed},
    network::Network,
};

/// Containers that are started.
const CONTAINERS: usize = 10_000;
/// Orders in flight.
const AT_ONCE: usize = 64;
/// How long an order may take, and the agent to register.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than it all takes.
const LEASE_MS: u32 = 600_000;

/// Measures all in one run.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let alone = Bare::start(settings, CONTAINERS)?.started;
    eprintln!("· {CONTAINERS} containers, as a coordinator orders them");
    let bus = Bus::start("bench")?;
    let config = ServerConfig { role: Role::Coordinator, id: ServerId::random() };
    let (server, mut incoming) = bus.bind("127.0.0.1:0", config).await?;
    let (tell, mut told) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(incoming) = incoming.recv().await {
            if let Incoming::Request(request) = incoming {
                answer(request, &tell);
            }
        }
    });
    let address = server.local_addr().to_string();
    let network = Network::of_agent(settings, &address, CONTAINERS)?;
    let agent = tokio::time::timeout(TIMEOUT, told.recv()).await.ok().flatten();
    let agent = agent.context("the agent did not register in time")?;
    let process = network.agent()?;
    let cpu = || computed(process);
    let (began, seconds) = (Instant::now(), cpu()?);
    let orders = stream::iter((0..CONTAINERS).map(|number| start(&server, &agent, number)));
    orders.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let each = 1e6 / CONTAINERS as f64;
    let (took, computed) = (began.elapsed().as_secs_f64() * each, (cpu()? - seconds) * each);
    let measure = |name, value| Measure::new(NAME, name, value, "µs");
    Ok(vec![
        measure("ordered in bulk.each", took).above(alone).at_most(60.0),
        measure("ordered in bulk.computed each", computed),
    ])
}

async fn start(server: &Server, agent: &ClientId, number: usize) -> anyhow::Result<()> {
    let id = ContainerId { kind: Kind::new("echo")?, uuid: Uuid::new(format!("idle-{number}"))? };
    let epoch = Epoch { term: 1, counter: 1 + number as u64 };
    let (labels, extra) = (Labels::default(), Vec::new());
    let order = StartContainer { id, epoch, labels, extra };
    server.call(agent, Call::Start(order), Bytes::new(), TIMEOUT).await?;
    Ok(())
}

/// Says yes to everything the agent wants, and tells that it registered.
fn answer(request: Request, tell: &mpsc::Sender<ClientId>) {
    let reply = match request.call {
        Call::Register(_) => {
            // A full channel: it did so before.
            let _known = tell.try_send(request.peer);
            Reply::Registered(Registered { terminate: Vec::new(), lease_ms: LEASE_MS, doubt_ms: 0 })
        }
        _ => Reply::Done,
    };
    request.responder.reply(Ok((reply, Bytes::new())));
}
