//! The agent's connection to its coordinator: keeps it registered, takes what
//! it asks, and fences the agent when it is lost for too long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use hulynet_agent_table::{Ask, Membership};
use hulynet_bus::{Bus, Peer, PeerConfig, PeerEvent};
use hulynet_protocol::{
    Call, ClientId, ContainerId, Labels, NetworkError, Registered, Registration, Reply, Role,
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{Ended, core::Core, sink::Route};
use crate::{config::AgentConfig, error::AgentError};

/// More often than this the coordinator is never told.
const SHORTEST_BEAT: Duration = Duration::from_millis(1);

/// Keeps an agent in the network.
pub(super) struct Link {
    core: Arc<Core>,
    bus: Bus,
    settings: PeerConfig,
    labels: Labels,
    offers: Vec<ContainerId>,
    addresses: Vec<String>,
    address: usize,
    peer: watch::Sender<Peer>,
    events: mpsc::Receiver<PeerEvent>,
    endings: mpsc::UnboundedReceiver<Ended>,
    changes: watch::Receiver<()>,
    membership: Membership,
    asked: Option<Asked>,
    /// The coordinator's own name, under which its calls arrive.
    coordinator: Option<ClientId>,
    /// Since when there is no connection.
    apart: Instant,
    fenced: bool,
}

/// A call to the coordinator in progress, and when it was sent.
struct Asked {
    sent: Instant,
    answer: BoxFuture<'static, Result<Answered, NetworkError>>,
}

enum Answered {
    Registered(Registered),
    Reported,
}

impl Link {
    /// Begins to connect.
    ///
    /// # Errors
    /// [`AgentError::NoCoordinator`] without an address.
    pub(super) fn new(
        core: Arc<Core>,
        config: &AgentConfig,
        bus: Bus,
        endings: mpsc::UnboundedReceiver<Ended>,
        changes: watch::Receiver<()>,
    ) -> Result<(Self, watch::Receiver<Peer>), AgentError> {
        let first = config.coordinators.first().ok_or(AgentError::NoCoordinator)?;
        let settings = PeerConfig {
            client: ClientId::random(),
            role: Role::Agent,
            alive_timeout: config.alive_timeout,
            ping_interval: config.ping_interval,
            secret: config.secret.clone(),
        };
        let (peer, events) = bus.connect(first, settings.clone());
        let (peer, current) = watch::channel(peer);
        let link = Self {
            core,
            bus,
            settings,
            labels: config.labels.clone(),
            offers: config.offers.clone(),
            addresses: config.coordinators.clone(),
            address: 0,
            peer,
            events,
            endings,
            changes,
            membership: Membership::default(),
            asked: None,
            coordinator: None,
            apart: Instant::now(),
            fenced: false,
        };
        Ok((link, current))
    }

    /// Runs as long as the agent.
    pub(super) async fn run(mut self) {
        // What is served by now is part of the first registration.
        self.changes.mark_unchanged();
        let mut beat = interval(self.settings.ping_interval.max(SHORTEST_BEAT));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.ask();
            let fence_at = self.membership.serves_until().filter(|_| !self.fenced);
            let ask_at = self.membership.next_timeout();
            tokio::select! {
                biased;
                () = sleep_until(fence_at.unwrap_or_else(Instant::now).into()), if fence_at.is_some() => {
                    self.fence();
                }
                () = sleep_until(ask_at.unwrap_or_else(Instant::now).into()), if ask_at.is_some() => {}
                answer = answered(&mut self.asked) => self.answered(answer),
                event = self.events.recv() => self.event(event),
                Some((id, epoch)) = self.endings.recv() => self.membership.ended(id, epoch),
                Ok(()) = self.changes.changed() => self.membership.changed(),
                _ = beat.tick() => {
                    self.membership.beat();
                    self.try_next_address();
                }
            }
        }
    }

    fn event(&mut self, event: Option<PeerEvent>) {
        match event {
            Some(PeerEvent::Joined { server, resumed }) => {
                if !resumed {
                    // Whoever was connected through the coordinator is
                    // forgotten there.
                    self.leave_coordinator();
                }
                self.coordinator = ClientId::new(server.as_str()).ok();
                tracing::info!(coordinator = %self.peer.borrow().address(), "joined");
                self.membership.joined(resumed);
            }
            Some(PeerEvent::Request(request)) => {
                let peer = &self.peer;
                self.core.answer(|_| Route::Coordinator(peer.borrow().clone()), request);
            }
            // An agent watches nothing, so there is nothing to hear.
            Some(PeerEvent::Event { .. }) => {}
            Some(PeerEvent::Lost { reason }) => self.lost(&reason),
            Some(PeerEvent::Refused(error)) => {
                tracing::warn!(
                    coordinator = %self.peer.borrow().address(),
                    "the coordinator refuses this agent: {error}; trying again"
                );
            }
            None => {
                self.lost("its thread ended");
                self.connect();
            }
        }
    }

    fn lost(&mut self, reason: &str) {
        if self.membership.is_joined() {
            tracing::warn!(
                coordinator = %self.peer.borrow().address(),
                "the coordinator is lost ({reason}); trying to reach it again"
            );
            self.apart = Instant::now();
        }
        self.membership.lost();
    }

    fn leave_coordinator(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            self.core.peer_left(&coordinator);
        }
    }

    /// With several coordinators, the next one gets its turn when this one
    /// does not answer.
    fn try_next_address(&mut self) {
        if self.addresses.len() < 2
            || self.membership.is_joined()
            || self.apart.elapsed() < self.settings.alive_timeout
        {
            return;
        }
        self.address = (self.address + 1) % self.addresses.len();
        self.connect();
    }

    fn connect(&mut self) {
        let Some(address) = self.addresses.get(self.address) else { return };
        let (peer, events) = self.bus.connect(address, self.settings.clone());
        let old = self.peer.send_replace(peer);
        self.events = events;
        self.apart = Instant::now();
        tokio::spawn(async move { old.close(Duration::ZERO).await });
    }

    /// Begins the next call, if one is due and none is in progress.
    fn ask(&mut self) {
        let sent = Instant::now();
        let Some(ask) = self.membership.ask(sent) else { return };
        let peer = self.peer.borrow().clone();
        let timeout = self.settings.alive_timeout;
        let answer = match ask {
            Ask::Register { doubtful } => {
                // Of one moment, and locked once: two guards in one expression
                // would wait for each other.
                let (brought, load) = {
                    let mut table = self.core.table();
                    (table.bring(doubtful), table.load())
                };
                let registration = Call::Register(Registration {
                    endpoint: self.core.endpoint().clone(),
                    kinds: self.core.kinds(),
                    labels: self.labels.clone(),
                    containers: brought.certain,
                    doubtful: brought.doubtful,
                    load,
                    offers: self.offers.clone(),
                });
                register(peer, registration, timeout).boxed()
            }
            Ask::Report(containers) => {
                let agent = self.core.endpoint().agent.clone();
                let load = self.core.table().load();
                report(peer, Call::Ended { agent, containers, load }, timeout).boxed()
            }
        };
        self.asked = Some(Asked { sent, answer });
    }

    fn answered(&mut self, (sent, answer): (Instant, Result<Answered, NetworkError>)) {
        match answer {
            Ok(Answered::Registered(registered)) => {
                let lease = Duration::from_millis(registered.lease_ms.into());
                let doubt = Duration::from_millis(registered.doubt_ms.into());
                self.membership.registered(Instant::now(), sent, lease, doubt);
                // What lives elsewhere is not served even for a moment, nor asked.
                self.core.retire(&registered.terminate);
                self.core.table().doubt(self.membership.is_doubtful());
                if doubt.is_zero() {
                    self.core.table().settle();
                }
                self.serve();
                let kinds = self.core.kinds();
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
                tracing::info!(kinds = kinds.join(", "), ?doubt, "registered");
            }
            Ok(Answered::Reported) => {
                self.membership.reported(Instant::now(), sent);
                self.serve();
            }
            Err(error) => {
                tracing::warn!("the coordinator did not take the agent's call: {error}");
                self.membership.failed();
            }
        }
    }

    /// The table refuses by itself when the lease is over; this tells the
    /// operator, and has the agent ask what it may keep.
    fn fence(&mut self) {
        tracing::warn!("no coordinator answered for two thirds of the lease: serving nothing");
        self.fenced = true;
        self.membership.changed();
    }

    /// Tells the table how long it may serve.
    fn serve(&mut self) {
        let until = self.membership.serves_until();
        self.core.table().serve_until(until);
        if self.fenced && until.is_some_and(|until| Instant::now() < until) {
            tracing::info!("serving again");
            self.fenced = false;
        }
    }
}

/// Waits for the call in progress; for ever when there is none.
async fn answered(asked: &mut Option<Asked>) -> (Instant, Result<Answered, NetworkError>) {
    match asked {
        Some(Asked { sent, answer }) => {
            let answer = (*sent, answer.await);
            *asked = None;
            answer
        }
        None => std::future::pending().await,
    }
}

async fn register(peer: Peer, call: Call, timeout: Duration) -> Result<Answered, NetworkError> {
    match peer.call(call, Bytes::new(), timeout).await?.reply {
        Reply::Registered(registered) => Ok(Answered::Registered(registered)),
        other => Err(unexpected(&other)),
    }
}

async fn report(peer: Peer, call: Call, timeout: Duration) -> Result<Answered, NetworkError> {
    match peer.call(call, Bytes::new(), timeout).await?.reply {
        Reply::Done => Ok(Answered::Reported),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> NetworkError {
    NetworkError::refused(
        hulynet_protocol::ErrorKind::Protocol,
        format!("the coordinator answered {reply:?}, which is no answer to the call"),
    )
}
