//! Direct links to agents.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hulynet_bus::{Peer, PeerEvent, Response};
use hulynet_protocol::{Call, Endpoint, ErrorKind, Event, NetworkError};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connections::Sent,
    paths::{Choice, Path, Paths},
    shared::{Shared, lock},
};

#[derive(Debug)]
struct Link {
    peer: Peer,
    /// Whether the agent answered hello and was not lost since.
    joined: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Link {
    fn agent(&self) -> Agent {
        Agent { peer: self.peer.clone(), joined: self.joined.subscribe() }
    }
}

#[derive(Debug)]
struct State {
    paths: Paths,
    links: BTreeMap<String, Link>,
}

/// All direct links, by address.
#[derive(Debug)]
pub(crate) struct Agents {
    state: Mutex<State>,
}

/// A path that can be used now.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) path: Path,
    /// The agent, on a direct path.
    pub(crate) agent: Option<Agent>,
}

/// An agent that is reached directly.
#[derive(Debug)]
pub(crate) struct Agent {
    peer: Peer,
    joined: watch::Receiver<bool>,
}

/// Keeps a link open until what it brings is read.
pub(crate) type Keep = watch::Receiver<bool>;

impl Agent {
    pub(crate) fn keep(&self) -> Keep {
        self.joined.clone()
    }

    /// Makes a call once, on the connection of now: the coordinator may know a
    /// better place than an agent that was lost.
    pub(crate) fn call(
        &self,
        call: Call,
        payload: Bytes,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, NetworkError>> + Send + use<'_> {
        self.peer.call_joined(call, payload, timeout)
    }

    /// Makes a call once that is for this agent alone: it waits for a
    /// connection when there is none now.
    pub(crate) async fn tell(
        self,
        call: Call,
        timeout: Duration,
    ) -> Result<Response, NetworkError> {
        self.peer.call(call, Bytes::new(), timeout).await
    }
}

enum Step {
    Done(Route),
    Wait(watch::Receiver<bool>, Instant),
}

impl Agents {
    pub(crate) fn new(direct: bool) -> Self {
        Self { state: Mutex::new(State { paths: Paths::new(direct), links: BTreeMap::new() }) }
    }

    /// The agent of an endpoint, when it has joined.
    pub(crate) fn joined(&self, endpoint: &Endpoint) -> Option<Agent> {
        let state = lock(&self.state);
        let address = state.paths.joined_at(endpoint)?;
        state.links.get(address).map(Link::agent)
    }

    /// The path to an endpoint; waits a little for an agent that is new.
    ///
    /// # Errors
    /// `DeadlineExceeded`, not processed, when the deadline passes meanwhile.
    pub(crate) async fn route(
        &self,
        shared: &Arc<Shared>,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<Route, NetworkError> {
        loop {
            match self.step(shared, endpoint) {
                Step::Done(route) => return Ok(route),
                // Changed or late: either way the next step decides.
                Step::Wait(mut joined, until) => {
                    let waited = timeout_at(until.min(deadline), joined.changed()).await;
                    if waited.is_err() && deadline < until {
                        return Err(NetworkError::not_processed(
                            ErrorKind::DeadlineExceeded,
                            format!("agent {} did not answer in time", endpoint.agent),
                        ));
                    }
                }
            }
        }
    }

    /// The agent at an address, while its link is open.
    pub(crate) fn agent(&self, address: &str) -> Option<Agent> {
        lock(&self.state).links.get(address).map(Link::agent)
    }

    /// Leaves an address that no held container lives at, once the calls under
    /// way to it have ended.
    pub(crate) fn close(&self, address: &str) {
        let mut state = lock(&self.state);
        state.paths.closed(address);
        if let Some(link) = state.links.remove(address) {
            link.stop.cancel();
        }
    }

    fn step(&self, shared: &Arc<Shared>, endpoint: &Endpoint) -> Step {
        let proxied = || Step::Done(Route { path: Path::Proxied, agent: None });
        let mut state = lock(&self.state);
        let now = Instant::now();
        let mut choice = state.paths.choose(now.into_std(), endpoint);
        if let Choice::Open(address) = choice {
            let until = now + shared.settings.hello_timeout;
            state.paths.opened(&address, until.into_std());
            state.links.insert(address.clone(), open(shared, &address));
            choice = state.paths.choose(now.into_std(), endpoint);
        }
        match choice {
            Choice::Wait(address, until) => match state.links.get(&address) {
                Some(link) => Step::Wait(link.joined.subscribe(), until.into()),
                None => proxied(),
            },
            Choice::Take(path @ Path::Direct(_)) => {
                let link = endpoint.address.as_ref().and_then(|address| state.links.get(address));
                Step::Done(Route { path, agent: link.map(Link::agent) })
            }
            Choice::Take(Path::Proxied) | Choice::Open(_) => proxied(),
        }
    }

    fn update(&self, change: impl FnOnce(&mut Paths)) {
        change(&mut lock(&self.state).paths);
    }
}

fn open(shared: &Arc<Shared>, address: &str) -> Link {
    let (peer, events) = shared.bus.connect(address, shared.peer_config());
    let link = Link {
        peer: peer.clone(),
        joined: watch::Sender::new(false),
        stop: CancellationToken::new(),
    };
    let (joined, stop) = (link.joined.clone(), link.stop.clone());
    let served = serve(Arc::clone(shared), peer, events, joined, stop);
    shared.tasks.spawn(served);
    link
}

/// Serves the events of one agent until its link is closed.
async fn serve(
    shared: Arc<Shared>,
    peer: Peer,
    mut events: mpsc::Receiver<PeerEvent>,
    joined: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let path = Path::Direct(peer.address().to_owned());
    let unused = async {
        stop.cancelled().await;
        joined.closed().await;
    };
    let mut unused = pin!(unused);
    loop {
        let event = tokio::select! {
            biased;
            () = shared.closed.cancelled() => break,
            () = &mut unused => break,
            event = events.recv() => event,
        };
        match event {
            Some(PeerEvent::Joined { resumed, .. }) => {
                let open = || {
                    shared.agents.update(|paths| paths.joined(peer.address()));
                    joined.send_replace(true);
                };
                if resumed {
                    open();
                } else {
                    shared.connections.renew_path(&path, open);
                }
            }
            Some(PeerEvent::Lost { reason }) => {
                tracing::debug!(address = peer.address(), %reason, "an agent is lost");
                shared.agents.update(|paths| paths.lost(peer.address()));
                joined.send_replace(false);
                shared.connections.disturb_path(&path);
            }
            Some(PeerEvent::Refused(error)) => {
                tracing::warn!(address = peer.address(), "an agent refuses this client: {error}");
                shared.agents.update(|paths| paths.lost(peer.address()));
                joined.send_replace(false);
            }
            Some(PeerEvent::Request(request)) => shared.serve(request),
            Some(PeerEvent::Event {
                event: Event::Container { connections, epoch, missed, lengths },
                payload,
            }) => {
                let sent = Sent { epoch, missed, lengths: &lengths };
                shared.connections.deliver(&path, &connections, &sent, &payload);
            }
            Some(PeerEvent::Event { event: Event::Network(_), .. }) => {
                tracing::debug!(address = peer.address(), "an agent sent events of the network");
            }
            None => break,
        }
    }
    peer.close(shared.settings.goodbye_timeout).await;
}
