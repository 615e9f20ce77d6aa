//! What a coordinator takes as a process of its own, with the sockets of a
//! thousand clients.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hulynet_bus::{Bus, Peer, PeerConfig, PeerEvent};
use hulynet_coordinator::{Coordinator, CoordinatorConfig, registry::RegistryConfig};
use hulynet_protocol::{
    AgentId, Call, ClientId, Endpoint, GetOptions, Kind, Labels, Load, Registration, Reply, Role,
    Uuid,
};
use tokio::sync::mpsc;

use crate::measure::{Measure, resident};

/// The name of this benchmark.
pub(crate) const NAME: &str = "coordinator";

const AGENTS: usize = 10;
const CLIENTS: usize = 1_000;
/// Containers that each client holds.
const EACH: usize = 10;

/// The most that the process may take with all of them.
const AIM_MEGABYTES: f64 = 50.0;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves until killed.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let bus = Bus::start("bench-coordinator")?;
        // Nothing is to be recovered, so that no get waits for it.
        let registry =
            RegistryConfig { recovery_window: Duration::ZERO, ..RegistryConfig::default() };
        let config = CoordinatorConfig {
            listen: "127.0.0.1:0".to_owned(),
            registry,
            ..CoordinatorConfig::default()
        };
        let coordinator = Coordinator::start(config, &bus).await?;
        println!("{}", coordinator.local_addr());
        std::future::pending().await
    })
}

/// Measures a coordinator with 10 agents, 1,000 clients and 10,000 containers.
pub(crate) async fn run() -> anyhow::Result<Vec<Measure>> {
    let server = Process::start()?;
    let empty = server.megabytes()?;
    let bus = Bus::start("bench")?;
    for number in 0..AGENTS {
        agent(&bus, &server.address, number).await?;
    }
    eprintln!("· {CLIENTS} clients join");
    let joining = (0..CLIENTS)
        .map(|number| join(&bus, &server.address, format!("client-{number}"), Role::Client));
    let mut clients = Vec::new();
    let mut joining = stream::iter(joining).buffer_unordered(64);
    while let Some(client) = joining.next().await {
        clients.push(client?);
    }
    let joined = server.megabytes()?;
    eprintln!("· {} containers are started", CLIENTS * EACH);
    let began = Instant::now();
    let gets = clients.iter().flat_map(|(peer, _)| (0..EACH).map(move |_| get(peer)));
    let mut gets = stream::iter(gets).buffer_unordered(256);
    while let Some(got) = gets.next().await {
        got?;
    }
    let rate = (CLIENTS * EACH) as f64 / began.elapsed().as_secs_f64();
    let full = server.megabytes()?;
    let measure = |name, value, unit| Measure::new(NAME, name, value, unit);
    Ok(vec![
        measure("memory when empty", empty, "MB"),
        measure("memory with 1,000 clients", joined, "MB"),
        measure("memory with 10,000 containers", full, "MB").at_most(AIM_MEGABYTES),
        measure("gets that start one", rate, "gets/s"),
    ])
}

async fn join(
    bus: &Bus,
    address: &str,
    name: String,
    role: Role,
) -> anyhow::Result<(Peer, mpsc::Receiver<PeerEvent>)> {
    let mut config = PeerConfig::new(ClientId::new(name)?, role);
    // Nobody is lost while the machine is busy with joining the others.
    config.alive_timeout = PATIENCE;
    let (peer, mut events) = bus.connect(address, config);
    match tokio::time::timeout(PATIENCE, events.recv()).await? {
        Some(PeerEvent::Joined { .. }) => Ok((peer, events)),
        other => bail!("a peer could not join: {other:?}"),
    }
}

/// An agent that starts at once whatever it is asked to.
async fn agent(bus: &Bus, address: &str, number: usize) -> anyhow::Result<()> {
    let name = format!("agent-{number}");
    let (peer, mut events) = join(bus, address, name.clone(), Role::Agent).await?;
    let registration = Registration {
        endpoint: Endpoint {
            agent: AgentId::new(name)?,
            address: Some(format!("10.0.0.1:{}", 1000 + number)),
        },
        kinds: vec![Kind::new("echo")?],
        labels: Labels::new(),
        containers: Vec::new(),
        load: Load::default(),
        offers: Vec::new(),
        doubtful: Vec::new(),
    };
    peer.call(Call::Register(registration), Bytes::new(), PATIENCE).await?;
    tokio::spawn(async move {
        // The peer lives as long as its task.
        let _peer = peer;
        while let Some(event) = events.recv().await {
            let PeerEvent::Request(request) = event else { continue };
            let reply = match request.call {
                Call::Terminate { .. } => Reply::Terminated(true),
                _ => Reply::Done,
            };
            request.responder.reply(Ok((reply, Bytes::new())));
        }
    });
    Ok(())
}

async fn get(peer: &Peer) -> anyhow::Result<()> {
    let options = GetOptions { uuid: Some(Uuid::random()), ..GetOptions::default() };
    let get = Call::Get { kind: Kind::new("echo")?, options };
    peer.call(get, Bytes::new(), PATIENCE).await?;
    Ok(())
}

/// A coordinator, killed when dropped.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("coordinator")
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("its output is piped")?;
        let mut server = Self { child, address: String::new() };
        BufReader::new(out).read_line(&mut server.address)?;
        server.address = server.address.trim().to_owned();
        Ok(server)
    }

    fn megabytes(&self) -> anyhow::Result<f64> {
        let bytes = resident(&self.child.id().to_string());
        Ok(bytes.context("the memory of the coordinator cannot be read")? / 1e6)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
