//! Sessions of peers that speak the language of the original.
//!
//! Their rules are in [`hulynet_backrpc::session`]; this carries them out with
//! the sessions, the limits and the door that all peers share. What a peer
//! waits for outlives its connection as long as its session, and its session
//! as long as its connection.
//!
//! | file | what it does |
//! |---|---|
//! | `hear` | what these peers send |
//! | `say` | what they are sent |
//! | `ask` | the handles of owners |

mod ask;
mod hear;
mod say;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hulynet_backrpc::session::{Session, Turn};
use hulynet_protocol::{ClientId, Role};
use tokio::time::Instant;

use super::{Directory, Incoming, frames::lost, service::State};
use crate::{
    door::Link,
    original::{Hold, OriginalAsker},
};

/// Owners hear at least so often that a peer lives, and several times within
/// its alive timeout.
const BEAT: Duration = Duration::from_millis(500);

/// How many clients that were lost are remembered, to notice their return.
const LOST: usize = 4096;

/// Messages that a peer may send before hello without being a nuisance: while
/// its server is another one's, its socket keeps a thousand, and sends them
/// first.
const EARLY: usize = 2048;

type Rules = Session<Hold, OriginalAsker>;

/// One peer.
#[derive(Debug)]
struct Talk {
    rules: Rules,
    /// `None` while its session waits for a new connection.
    link: Option<Arc<Link>>,
    /// How often its owner hears that it lives, and when it did last.
    beat: Duration,
    told: Instant,
    /// How many messages came before its first hello.
    early: usize,
}

/// Whose a session is, and which connection its talk is named after.
#[derive(Debug)]
struct Bound {
    client: ClientId,
    talk: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Originals {
    directory: Arc<Directory<Link>>,
    /// By connection; one whose connection is gone keeps its place.
    talks: HashMap<u64, Talk>,
    /// By session.
    bound: HashMap<u64, Bound>,
    /// Clients whose sessions ended by silence, the latest last.
    lost: VecDeque<ClientId>,
    /// When those are renewed who are not silent but patient.
    renewal: Option<Instant>,
    turns: Vec<Turn<OriginalAsker>>,
}

impl Originals {
    pub(super) fn new(directory: Arc<Directory<Link>>) -> Self {
        Self {
            directory,
            talks: HashMap::new(),
            bound: HashMap::new(),
            lost: VecDeque::new(),
            renewal: None,
            turns: Vec::new(),
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.renewal
    }

    pub(super) fn is_idle(&self) -> bool {
        // Who is away cannot be answered any more: nobody is let in.
        self.talks.values().all(|talk| talk.link.is_none() || !talk.rules.is_awaited())
    }

    /// A session ends without a goodbye; ask before it ends.
    pub(super) fn lose(&mut self, session: u64) {
        let Some(bound) = self.bound.get(&session) else { return };
        if self.lost.contains(&bound.client) {
            return;
        }
        if self.lost.len() >= LOST {
            self.lost.pop_front();
        }
        self.lost.push_back(bound.client.clone());
    }

    /// Whether a client comes back whose session ended without a goodbye.
    fn returned(&mut self, client: &ClientId) -> bool {
        let place = self.lost.iter().position(|lost| lost == client);
        place.is_some_and(|place| self.lost.remove(place).is_some())
    }

    /// Everybody who asked a peer is told that this end closes.
    pub(super) fn end(&mut self) {
        self.directory.lock().clear();
        for talk in self.talks.values_mut() {
            for asker in talk.rules.unanswered() {
                // Who asked may have left.
                let _gone = asker.send(Err(crate::ask::closed()));
            }
        }
    }

    /// Somebody is to be renewed, by then.
    fn renew_by(&mut self, due: Instant) {
        self.renewal = Some(self.renewal.map_or(due, |at| at.min(due)));
    }

    fn with(&mut self, number: u64, change: impl FnOnce(&mut Rules)) {
        if let Some(talk) = self.talks.get_mut(&number) {
            change(&mut talk.rules);
        }
    }
}

impl State {
    /// A session ended. What its client waits for is still answered as long as
    /// its connection stands.
    pub(super) fn end_original(&mut self, session: u64, why: &str) {
        let Some(Bound { client, talk: number }) = self.originals.bound.remove(&session) else {
            return;
        };
        self.originals.directory.lock().remove(&client);
        let Some(talk) = self.originals.talks.get_mut(&number) else { return };
        talk.rules.left();
        fail(&mut talk.rules, &client, why);
        if talk.link.is_none() {
            self.originals.talks.remove(&number);
        }
    }

    /// A connection is gone; its session, if it has one, waits for another one.
    pub(super) fn original_disconnected(&mut self, number: u64, session: Option<u64>) {
        let Some(talk) = self.originals.talks.get_mut(&number) else { return };
        let Some(bound) = session.and_then(|session| self.originals.bound.get(&session)) else {
            self.originals.talks.remove(&number);
            return;
        };
        self.originals.directory.lock().remove(&bound.client);
        fail(&mut talk.rules, &bound.client, "the connection was lost");
        talk.link = None;
    }

    /// Renews the sessions of those who wait for answers. On an agent nothing
    /// is leased to its clients: there they all stay as long as their
    /// connections, so that one that never pings goes on hearing what it
    /// listens to.
    pub(super) fn renew_originals(&mut self, now: Instant) {
        if self.originals.renewal.is_none_or(|renewal| renewal > now) {
            return;
        }
        let mut next: Option<Instant> = None;
        for Bound { client, talk: number } in self.originals.bound.values() {
            let Some(talk) = self.originals.talks.get_mut(number) else { continue };
            let stays = talk.rules.is_awaited() || self.config.role == Role::Agent;
            if !stays || talk.link.is_none() {
                continue;
            }
            self.sessions.heard(now, *number);
            talk.told = now;
            // An owner that is too slow hears the next one.
            let _full = self.outbox.offer(Incoming::Alive(client.clone()));
            next = Some(next.map_or(now + talk.beat, |next| next.min(now + talk.beat)));
        }
        self.originals.renewal = next;
    }
}

/// Everybody who asked a peer is told that it will not answer.
fn fail(rules: &mut Rules, client: &ClientId, why: &str) {
    for asker in rules.unanswered() {
        // Who asked may have left.
        let _gone = asker.send(Err(lost(client, why)));
    }
}
