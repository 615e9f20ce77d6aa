//! The connections behind a door.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hulynet_protocol::frame::Nonce;
use tokio::{sync::Notify, time::Instant};

use crate::{account::Account, bucket::Bucket, config::DoorConfig};

/// Frames without effect that a connection may send at once, and how long it
/// takes until it may send one more.
const STRIKES: (u32, Duration) = (128, Duration::from_millis(100));

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Names it; never used again.
    pub(crate) number: u64,
    /// Its routing id at the ROUTER.
    pub(crate) route: Bytes,
    /// Where it comes from.
    pub(crate) from: SocketAddr,
    /// What waits to be sent to it.
    pub(crate) account: Arc<Account>,
    began: Instant,
    /// Its peer said hello.
    greeted: AtomicBool,
    /// Its peer may send nothing for as long as it likes.
    rests: AtomicBool,
    /// When it sent something last, in milliseconds since it began.
    heard: AtomicU64,
    /// Since when it takes nothing, in milliseconds since it began, from 1 on.
    stalled: AtomicU64,
    strikes: Mutex<Bucket>,
    /// What its peer is to prove its secret with.
    challenge: Mutex<Option<Nonce>>,
    /// Its hello was refused for good.
    shut: AtomicBool,
    why: OnceLock<&'static str>,
    kicked: Notify,
}

/// Marks the routing ids of the door.
const MARK: u8 = b'#';

impl Link {
    pub(crate) fn new(number: u64, from: SocketAddr) -> Self {
        let mut route = vec![MARK];
        route.extend_from_slice(&number.to_be_bytes());
        Self {
            number,
            route: Bytes::from(route),
            from,
            account: Arc::default(),
            began: Instant::now(),
            greeted: AtomicBool::new(false),
            rests: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            strikes: Mutex::new(Bucket::new(STRIKES.0, STRIKES.1)),
            challenge: Mutex::default(),
            shut: AtomicBool::new(false),
            why: OnceLock::new(),
            kicked: Notify::new(),
        }
    }

    /// Ends the connection.
    pub(crate) fn kick(&self, why: &'static str) {
        // The first reason counts.
        let _known = self.why.set(why);
        self.kicked.notify_one();
    }

    /// It sent a frame without effect: too many end it.
    pub(crate) fn strike(&self, now: Instant) {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        if !strikes.take(now) {
            self.kick("it sent too many frames without effect");
        }
    }

    /// Ends when it is to end; why.
    pub(super) async fn kicked(&self) -> &'static str {
        self.kicked.notified().await;
        self.why.get().copied().unwrap_or_default()
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted.load(Ordering::Acquire)
    }

    /// Begins to wait for a proof, or ends to: each challenge is good for one.
    pub(crate) fn challenge(&self, nonce: Option<Nonce>) -> Option<Nonce> {
        std::mem::replace(&mut self.challenge.lock().unwrap_or_else(PoisonError::into_inner), nonce)
    }

    /// Nothing more is taken from it; its peer has the time that it had for
    /// its hello to read why.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }

    /// Whether its peer was told to leave; one that says more all the same is
    /// ended.
    pub(crate) fn is_shut(&self) -> bool {
        let shut = self.shut.load(Ordering::Relaxed);
        if shut {
            self.kick("it went on after its hello was refused");
        }
        shut
    }

    /// Its peer speaks a language in which nobody has to send anything. That
    /// its machine is gone the system finds out: see [`super::accept`].
    pub(crate) fn rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
    }

    fn is_idle(&self, age: u64, longest: Duration) -> bool {
        let silent = age.saturating_sub(self.heard.load(Ordering::Relaxed));
        !self.rests.load(Ordering::Relaxed) && Duration::from_millis(silent) > longest
    }

    fn age(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// It sent something.
    pub(super) fn hear(&self) {
        self.heard.store(self.age(), Ordering::Relaxed);
    }

    /// It takes nothing now, or again.
    pub(super) fn stalls(&self, stalls: bool) {
        self.stalled.store(if stalls { self.age().max(1) } else { 0 }, Ordering::Relaxed);
    }

    /// Why it may not stay any longer, if so.
    fn overdue(&self, config: &DoorConfig) -> Option<&'static str> {
        let age = self.age();
        let since = |then: u64| Duration::from_millis(age.saturating_sub(then));
        let stalled = self.stalled.load(Ordering::Relaxed);
        if !self.is_greeted() && since(0) > config.hello {
            Some("it did not say hello in time")
        } else if self.is_idle(age, config.idle) {
            Some("it sent nothing for too long")
        } else if stalled > 0 && since(stalled) > config.stall {
            Some("it took nothing for too long")
        } else {
            None
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    latest: u64,
    all: HashMap<u64, Arc<Link>>,
    /// Those that did not say hello yet, the oldest first.
    strangers: BTreeMap<u64, Arc<Link>>,
}

impl Links {
    /// The number that a routing id carries.
    pub(crate) fn number(route: &[u8]) -> Option<u64> {
        let number = route.strip_prefix(&[MARK])?;
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Link>> {
        self.lock().all.get(&number).cloned()
    }

    /// The peer of a connection said hello.
    pub(crate) fn greet(&self, link: &Link) {
        self.lock().strangers.remove(&link.number);
        link.greeted.store(true, Ordering::Release);
    }

    /// Whether all that was queued has left.
    pub(crate) fn are_drained(&self) -> bool {
        self.lock().all.values().all(|link| link.account.is_empty())
    }

    /// A new connection, unless there are too many. Of strangers the oldest
    /// makes room: who says hello at once always gets in.
    pub(super) fn begin(&self, from: SocketAddr, config: &DoorConfig) -> Option<Arc<Link>> {
        let mut lists = self.lock();
        if lists.strangers.len() >= config.strangers
            && let Some((_, oldest)) = lists.strangers.pop_first()
        {
            oldest.kick("it did not say hello before too many others came");
        }
        if lists.all.len() >= config.connections {
            return None;
        }
        lists.latest += 1;
        let link = Arc::new(Link::new(lists.latest, from));
        lists.all.insert(link.number, Arc::clone(&link));
        lists.strangers.insert(link.number, Arc::clone(&link));
        Some(link)
    }

    pub(super) fn remove(&self, number: u64) {
        let mut lists = self.lock();
        lists.all.remove(&number);
        lists.strangers.remove(&number);
    }

    /// Ends the connections that may not stay any longer.
    pub(super) fn sweep(&self, config: &DoorConfig) {
        for link in self.lock().all.values() {
            if let Some(why) = link.overdue(config) {
                link.kick(why);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        // Nothing panics while it is held, and lists are always whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
