//! Running a network: the coordinator, an agent, or both in one process.
//!
//! Here the rooms are put together: the agent reaches other containers through
//! a client of the network, and documents through the embedded store. Each
//! part says with one line on stdout that it is ready, so that a program that
//! starts it knows the address, also of a free port.

mod addresses;
mod directories;
mod network;

use std::sync::Arc;

use hulynet_agent::{Agent, AgentConfig, AgentError, KindPolicy};
use hulynet_bus::{Bus, BusError, Secret};
use hulynet_coordinator::{Coordinator, CoordinatorConfig, registry::RegistryConfig};
use hulynet_store::SqliteDocuments;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::{
    addresses::{admits_itself, reachable, warn_of_strangers},
    network::ClientNetwork,
};
use crate::{
    commands::reach,
    config::Settings,
    failure::Failure,
    output,
    policy::{self, kind_policy},
    shutdown,
    units::{Address, Typed},
};

/// `hulynet coordinator`.
pub(crate) async fn coordinator(settings: &Settings) -> Result<(), Failure> {
    let asked = shutdown::on_signal()?;
    let coordinator = start_coordinator(settings, policy::secret(settings)?).await?;
    ready_coordinator(settings, &coordinator)?;
    told_to_end(&asked, settings).await;
    coordinator.shutdown(settings.shutdown_timeout).await;
    Ok(())
}

/// `hulynet agent`.
pub(crate) async fn agent(settings: &Settings) -> Result<(), Failure> {
    let asked = shutdown::on_signal()?;
    let addresses = settings.coordinator.iter().map(Address::as_str).map(str::to_owned).collect();
    let starting = Host::start(settings, policy::secret(settings)?, addresses);
    let Some(host) = unless_asked(&asked, starting).await? else { return Ok(()) };
    let at_first = async |host: &Host| {
        host.ready(settings)?;
        if let Err(silent) = reach::listening(settings).await {
            tracing::warn!("{silent}; this agent waits and joins when it comes");
        }
        Ok(())
    };
    host.serve(settings, &asked, at_first).await
}

/// `hulynet up`.
pub(crate) async fn up(settings: &Settings) -> Result<(), Failure> {
    let asked = shutdown::on_signal()?;
    let secret = policy::secret(settings)?;
    let coordinator = start_coordinator(settings, secret.clone()).await?;
    let served = serve_beside(&coordinator, settings, secret, &asked).await;
    coordinator.shutdown(settings.shutdown_timeout).await;
    served
}

/// The agent of `up`, from its start to its end.
async fn serve_beside(
    coordinator: &Coordinator,
    settings: &Settings,
    secret: Option<Secret>,
    asked: &CancellationToken,
) -> Result<(), Failure> {
    let address = reachable(coordinator.local_addr());
    admits_itself(&settings.accept, address)?;
    let starting = Host::start(settings, secret, vec![address.to_string()]);
    let Some(host) = unless_asked(asked, starting).await? else { return Ok(()) };
    let at_first = async |host: &Host| {
        ready_coordinator(settings, coordinator)?;
        // Whoever reads the line may ask for a container at once.
        host.registered(settings).await?;
        host.ready(settings)
    };
    host.serve(settings, asked, at_first).await
}

/// The agent that was started, unless a signal comes before: it has served nobody yet.
async fn unless_asked(
    asked: &CancellationToken,
    starting: impl Future<Output = Result<Host, Failure>>,
) -> Result<Option<Host>, Failure> {
    tokio::select! {
        biased;
        started = starting => started.map(Some),
        () = asked.cancelled() => {
            tracing::info!("asked to end before it had started");
            Ok(None)
        }
    }
}

/// Ends with the first signal.
async fn told_to_end(asked: &CancellationToken, settings: &Settings) {
    asked.cancelled().await;
    tracing::info!(
        "ending in order, each part within {} (--shutdown-timeout); a second signal ends the \
         process at once",
        settings.shutdown_timeout.show()
    );
}

async fn start_coordinator(
    settings: &Settings,
    secret: Option<Secret>,
) -> Result<Coordinator, Failure> {
    warn_of_strangers(&settings.listen, settings);
    let config = CoordinatorConfig {
        listen: settings.listen.show(),
        accept: settings.accept.clone(),
        secret,
        accept_original: settings.accept_original.clone(),
        registry: rules(settings),
        disconnect_timeout: settings.disconnect_timeout,
    };
    let started = Coordinator::start(config, &Bus::start("coordinator")?).await;
    started.map_err(|error| Failure::from(error).within(with_flag("--listen")))
}

/// The timings and the placement of the registry. There are no others: each is
/// a setting.
fn rules(settings: &Settings) -> RegistryConfig {
    RegistryConfig {
        recovery_window: settings.alive_timeout,
        unused_timeout: settings.unused_timeout,
        drain_deadline: settings.drain_timeout,
        start_timeout: settings.start_timeout,
        ask_interval: settings.drain_interval,
        terminate_timeout: settings.terminate_timeout,
        restart_delay: settings.restart_delay,
        longest_restart_delay: settings.longest_restart_delay,
        shortest_lease: settings.shortest_alive_timeout,
        longest_lease: settings.longest_alive_timeout,
        placement: settings.placement.0,
    }
}

fn ready_coordinator(settings: &Settings, coordinator: &Coordinator) -> Result<(), Failure> {
    let address = coordinator.local_addr();
    Ok(output::line(&if settings.json {
        json!({ "coordinator": address.to_string() }).to_string()
    } else {
        format!("coordinator listening on {address}")
    })?)
}

/// An agent with what it stands on.
struct Host {
    agent: Agent,
    network: Arc<ClientNetwork>,
}

impl Host {
    async fn start(
        settings: &Settings,
        secret: Option<Secret>,
        coordinators: Vec<String>,
    ) -> Result<Self, Failure> {
        directories::prepare(settings)?;
        warn_of_strangers(&settings.agent_listen, settings);
        let documents = SqliteDocuments::open(&settings.data).map_err(|error| {
            Failure::usage(format!(
                "the documents in {} cannot be used: {error}",
                settings.data.display()
            ))
        })?;
        let bus = Bus::start("agent")?;
        let network =
            ClientNetwork::new(settings, secret.clone(), coordinators.clone(), bus.clone());
        let network = Arc::new(network);
        let agent = Agent::start(
            config(settings, secret, coordinators)?,
            bus,
            network.clone(),
            Arc::new(documents),
        )
        .await
        .map_err(|error| match error {
            AgentError::Bus(_) => Failure::from(error).within(with_flag("--agent-listen")),
            other => other.into(),
        })?;
        Ok(Self { agent, network })
    }

    async fn registered(&self, settings: &Settings) -> Result<(), Failure> {
        let id = self.agent.id();
        tokio::time::timeout(settings.timeout, self.network.registered(id))
            .await
            .map_err(|_| {
                Failure::late(format!(
                    "the agent {id} did not register within {}",
                    settings.timeout.show()
                ))
            })?
            .map_err(Failure::from)
    }

    fn ready(&self, settings: &Settings) -> Result<(), Failure> {
        let (id, address, kinds) = (self.agent.id(), self.agent.local_addr(), self.agent.kinds());
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        Ok(output::line(&if settings.json {
            json!({ "agent": id.as_str(), "address": address.to_string(), "kinds": kinds })
                .to_string()
        } else {
            let kinds = if kinds.is_empty() { "none yet".to_owned() } else { kinds.join(", ") };
            format!("agent {id} listening on {address}, serving kinds: {kinds}")
        })?)
    }

    /// Serves, and ends in order with the first signal, or when what it does at
    /// first fails.
    async fn serve(
        self,
        settings: &Settings,
        asked: &CancellationToken,
        at_first: impl AsyncFnOnce(&Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let done = tokio::select! {
            biased;
            () = asked.cancelled() => Ok(()),
            done = at_first(&self) => done,
        };
        match &done {
            Ok(()) => told_to_end(asked, settings).await,
            Err(failure) => tracing::error!("ending in order, because {failure}"),
        }
        self.agent.shutdown(settings.shutdown_timeout).await;
        self.network.close(settings.shutdown_timeout).await;
        done
    }
}

fn config(
    settings: &Settings,
    secret: Option<Secret>,
    coordinators: Vec<String>,
) -> Result<AgentConfig, Failure> {
    let KindPolicy { file_bytes, grants, limits, trusted } = kind_policy(settings)?;
    Ok(AgentConfig {
        listen: settings.agent_listen.show(),
        accept: settings.accept.clone(),
        secret,
        accept_original: settings.accept_original.clone(),
        advertise: settings.advertise.as_ref().map(Typed::show),
        coordinators,
        labels: settings.agent_labels.clone(),
        offers: settings.singletons.0.clone(),
        containers: settings.containers.map(|count| count.0),
        file_bytes,
        grants,
        limits,
        memory: settings.agent_memory.map(|memory| usize::try_from(memory.0).unwrap_or(usize::MAX)),
        trusted,
        alive_timeout: settings.alive_timeout,
        ping_interval: settings.ping_every(),
        disconnect_timeout: settings.disconnect_timeout,
        ..AgentConfig::new(settings.plugins.clone(), settings.cache.clone())
    })
}

/// Tells which flag chooses the address.
fn with_flag(flag: &str) -> impl FnOnce(String) -> String {
    move |message| format!("{message} (with {flag} HOST:PORT)")
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Bind(message) => Self::usage(message),
            BusError::Start(message) => Self::refused(message),
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Bus(error) => error.into(),
            AgentError::Plugins { .. }
            | AgentError::Cache { .. }
            | AgentError::Input(_)
            | AgentError::NoCoordinator => Self::usage(error.to_string()),
            AgentError::Engine(_)
            | AgentError::Thread(_)
            | AgentError::File { .. }
            | AgentError::Unsigned(_) => Self::refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hulynet_coordinator::registry::Placement;

    use super::*;
    use crate::config::Layers;

    #[tokio::test]
    async fn a_signal_ends_what_has_not_started() {
        let asked = CancellationToken::new();
        asked.cancel();
        let started = unless_asked(&asked, std::future::pending()).await;
        assert!(started.unwrap().is_none());
    }

    #[test]
    fn every_timing_of_the_registry_is_a_setting() {
        let flags = [
            ("alive-timeout", "1s"),
            ("unused-timeout", "2m"),
            ("drain-timeout", "3h"),
            ("start-timeout", "4s"),
            ("drain-interval", "5ms"),
            ("terminate-timeout", "6s"),
            ("restart-delay", "7s"),
            ("longest-restart-delay", "8s"),
            ("shortest-alive-timeout", "9ms"),
            ("longest-alive-timeout", "10s"),
            ("placement", "least-loaded"),
        ];
        let flags = flags.map(|(key, text)| (key, text.to_owned())).into();
        let layers = Layers::read(flags, std::iter::empty(), None).unwrap();
        let (second, millisecond) = (Duration::from_secs(1), Duration::from_millis(1));
        let expected = RegistryConfig {
            recovery_window: second,
            unused_timeout: second * 2 * 60,
            drain_deadline: second * 3 * 60 * 60,
            start_timeout: second * 4,
            ask_interval: millisecond * 5,
            terminate_timeout: second * 6,
            restart_delay: second * 7,
            longest_restart_delay: second * 8,
            shortest_lease: millisecond * 9,
            longest_lease: second * 10,
            placement: Placement::LeastLoaded,
        };
        assert_eq!(rules(&Settings::resolve(&layers).unwrap()), expected);
    }
}
