//! Which containers this client holds, and what follows from it.
//!
//! A pure state machine. It counts the handles that the program has of each
//! container and turns them into at most one hold at the coordinator: one
//! [`Action::Reclaim`] after the coordinator forgot the client, one
//! [`Action::Release`] when the last handle is gone. It knows where each
//! container lives and accepts news about that only when they are not older
//! than what it knows.
//!
//! The owner calls the methods, passes `now` where time matters, and after
//! each call drains [`References::poll_action`] and arms a timer for
//! [`References::next_timeout`].
//!
//! Calls to the coordinator run concurrently, so a release can overtake a get
//! of the same container and undo it. A get that was under way while a release
//! of its container ended is therefore confirmed by a reclaim.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    Change, ContainerId, ContainerRecord, Epoch, ErrorKind, GetOptions, NetworkError, Selector,
};

use crate::retry;

#[cfg(test)]
mod tests;

/// The longest pause between two attempts to reclaim a container.
const RECLAIM_PAUSE: Duration = Duration::from_secs(2);

/// Names a get that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Names a caller that waits for an answer of the table; chosen by the owner.
pub type Token = u64;

/// What the owner of the table has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the coordinator to hold the container again, then call
    /// [`References::reclaimed`].
    Reclaim {
        /// The container.
        id: ContainerId,
        /// The newest activation that is known.
        epoch: Epoch,
        /// How to start it again if it is not live.
        options: GetOptions,
    },
    /// Give the container up at the coordinator, then call
    /// [`References::released`].
    Release(ContainerId),
    /// Answers [`References::locate`].
    Located {
        /// Who asked.
        token: Token,
        /// Where the container lives.
        result: Result<ContainerRecord, NetworkError>,
    },
    /// Answers [`References::release`].
    Released {
        /// Who asked.
        token: Token,
    },
    /// The container has another epoch or endpoint than before.
    Moved(ContainerRecord),
    /// No held container lives at this address any more.
    Unused(String),
}

/// How far the coordinator agrees with the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The coordinator holds the container for this client.
    Held,
    /// A reclaim is under way; `again` when another one must follow because
    /// the coordinator forgot the client meanwhile.
    Reclaiming { again: bool },
    /// A release is under way.
    Releasing,
    /// The last reclaim failed; the next one is due then.
    Stranded { due: Instant },
}

#[derive(Debug)]
struct Entry {
    handles: usize,
    record: ContainerRecord,
    /// How it is started again.
    options: GetOptions,
    hold: Hold,
    failures: u32,
    locating: Vec<Token>,
    releasing: Vec<Token>,
}

/// The table of held containers. See the module's documentation.
#[derive(Debug, Default)]
pub struct References {
    entries: BTreeMap<ContainerId, Entry>,
    /// Gets under way.
    gets: BTreeSet<Ticket>,
    /// Releases that ended while a get was under way, by order.
    ended_releases: BTreeMap<u64, ContainerId>,
    /// How many entries live at each address.
    addresses: BTreeMap<String, usize>,
    timers: BTreeSet<(Instant, ContainerId)>,
    actions: VecDeque<Action>,
    sequence: u64,
}

impl References {
    /// A table that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A get is about to be sent; ends with [`Self::got`] or
    /// [`Self::get_failed`].
    pub fn begin_get(&mut self) -> Ticket {
        let ticket = Ticket(self.count());
        self.gets.insert(ticket);
        ticket
    }

    /// A get was answered: the program has one more handle of the container.
    pub fn got(&mut self, ticket: Ticket, record: ContainerRecord, options: &GetOptions) {
        let id = record.id.clone();
        let undone = self.ended_releases.range(ticket.0..).any(|(_, released)| *released == id);
        self.get_failed(ticket);
        match self.entries.get_mut(&id) {
            Some(entry) => {
                entry.handles += 1;
                // Whoever waits for a release that was not sent yet gave up
                // its handle; the container stays held for this one.
                if !matches!(entry.hold, Hold::Releasing) {
                    let tokens = std::mem::take(&mut entry.releasing);
                    self.actions.extend(tokens.into_iter().map(|token| Action::Released { token }));
                }
                self.learn(record);
            }
            None => {
                self.use_address(&record);
                let entry = Entry {
                    handles: 1,
                    record,
                    options: options.clone(),
                    hold: Hold::Held,
                    failures: 0,
                    locating: Vec::new(),
                    releasing: Vec::new(),
                };
                self.entries.insert(id.clone(), entry);
            }
        }
        if undone && !mutant(Mutant::UnconfirmedGet) {
            self.begin_reclaim(&id);
        }
    }

    /// A get ended without a container.
    pub fn get_failed(&mut self, ticket: Ticket) {
        self.gets.remove(&ticket);
        match self.gets.first() {
            Some(oldest) => self.ended_releases = self.ended_releases.split_off(&oldest.0),
            None => self.ended_releases.clear(),
        }
    }

    /// The program copied a handle.
    pub fn add_handle(&mut self, id: &ContainerId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.handles += 1;
        }
    }

    /// The program dropped a handle; the last one releases the container.
    pub fn drop_handle(&mut self, id: &ContainerId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.handles = entry.handles.saturating_sub(1);
        if entry.handles > 0 {
            return;
        }
        match entry.hold {
            Hold::Held | Hold::Stranded { .. } => self.begin_release(id),
            // The end of the call under way decides.
            Hold::Reclaiming { .. } | Hold::Releasing => {}
        }
    }

    /// Drops a handle and answers `token` with [`Action::Released`] when the
    /// container is released, at once when other handles remain.
    pub fn release(&mut self, id: &ContainerId, token: Token) {
        match self.entries.get_mut(id) {
            Some(entry) if entry.handles == 1 => entry.releasing.push(token),
            _ => self.actions.push_back(Action::Released { token }),
        }
        self.drop_handle(id);
    }

    /// Where the container lives, as far as the client knows.
    #[must_use]
    pub fn record(&self, id: &ContainerId) -> Option<&ContainerRecord> {
        self.entries.get(id).map(|entry| &entry.record)
    }

    /// A request did not reach the activation `tried`: answers `token` with
    /// [`Action::Located`] once the coordinator said where the container lives
    /// now. Concurrent questions share one reclaim.
    pub fn locate(&mut self, id: &ContainerId, tried: Epoch, token: Token) {
        let result = match self.entries.get_mut(id) {
            Some(entry) if entry.record.epoch > tried => Ok(entry.record.clone()),
            Some(entry) => {
                entry.locating.push(token);
                self.begin_reclaim(id);
                return;
            }
            None => Err(not_held(id)),
        };
        self.actions.push_back(Action::Located { token, result });
    }

    /// Hello was answered. A coordinator that does not know the client
    /// (`resumed` false) forgot its references: all are reclaimed.
    pub fn joined(&mut self, resumed: bool) {
        if resumed || mutant(Mutant::NoReclaim) {
            return;
        }
        let held: Vec<_> = self.entries.keys().cloned().collect();
        for id in held {
            if let Some(Entry { hold: Hold::Reclaiming { again }, .. }) = self.entries.get_mut(&id)
            {
                *again = true;
            }
            self.begin_reclaim(&id);
        }
    }

    /// A reclaim ended.
    pub fn reclaimed(
        &mut self,
        now: Instant,
        id: &ContainerId,
        result: Result<ContainerRecord, NetworkError>,
    ) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let again = matches!(entry.hold, Hold::Reclaiming { again: true });
        let tokens = std::mem::take(&mut entry.locating);
        match &result {
            Ok(_) => {
                entry.failures = 0;
                entry.hold = Hold::Held;
            }
            Err(_) => {
                let due = now + retry::pause(entry.failures).min(RECLAIM_PAUSE);
                entry.failures = entry.failures.saturating_add(1);
                entry.hold = Hold::Stranded { due };
                self.timers.insert((due, id.clone()));
            }
        }
        let unused = entry.handles == 0;
        if let Ok(record) = &result {
            self.learn(record.clone());
        }
        let located = |token| Action::Located { token, result: result.clone() };
        self.actions.extend(tokens.into_iter().map(located));
        if unused {
            self.begin_release(id);
        } else if again {
            self.begin_reclaim(id);
        }
    }

    /// A release ended, whatever its answer: a coordinator that could not be
    /// reached forgets the client by itself.
    pub fn released(&mut self, id: &ContainerId) {
        if !self.gets.is_empty() {
            let order = self.count();
            self.ended_releases.insert(order, id.clone());
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.hold = Hold::Held;
        let tokens = std::mem::take(&mut entry.releasing);
        self.actions.extend(tokens.into_iter().map(|token| Action::Released { token }));
        if entry.handles > 0 {
            self.begin_reclaim(id);
        } else if let Some(entry) = self.entries.remove(id) {
            let result = Err(not_held(id));
            let located = |token| Action::Located { token, result: result.clone() };
            self.actions.extend(entry.locating.into_iter().map(located));
            self.leave_address(&entry.record);
        }
    }

    /// News about a container that is perhaps held. One that has a new
    /// activation is held again: when somebody ended the one before, all
    /// references went with it, and nothing else tells.
    pub fn observe(&mut self, change: &Change) {
        let (Change::ContainerAdded(record) | Change::ContainerUpdated(record)) = change else {
            return;
        };
        let Some(entry) = self.entries.get(&record.id) else { return };
        let renewed = record.epoch > entry.record.epoch;
        let held = entry.hold == Hold::Held && entry.handles > 0;
        self.learn(record.clone());
        if renewed && held {
            self.begin_reclaim(&record.id);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Reclaims what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, id)) = self.timers.pop_first() {
            if due > now {
                self.timers.insert((due, id));
                return;
            }
            if self.entries.get(&id).is_some_and(|entry| entry.hold == Hold::Stranded { due }) {
                self.begin_reclaim(&id);
            }
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn count(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Reclaims unless a call is under way whose end leads to it.
    fn begin_reclaim(&mut self, id: &ContainerId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        match entry.hold {
            Hold::Held => {}
            Hold::Stranded { due } => {
                self.timers.remove(&(due, id.clone()));
            }
            Hold::Reclaiming { .. } | Hold::Releasing => return,
        }
        entry.hold = Hold::Reclaiming { again: false };
        let options = GetOptions {
            uuid: Some(id.uuid.clone()),
            labels: entry.record.labels.clone(),
            select: Selector::default(),
            ..entry.options.clone()
        };
        let epoch = entry.record.epoch;
        self.actions.push_back(Action::Reclaim { id: id.clone(), epoch, options });
    }

    fn begin_release(&mut self, id: &ContainerId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Hold::Stranded { due } = entry.hold {
            self.timers.remove(&(due, id.clone()));
        }
        entry.hold = Hold::Releasing;
        self.actions.push_back(Action::Release(id.clone()));
    }

    /// Takes a record over unless it is older than the known one.
    fn learn(&mut self, record: ContainerRecord) {
        let Some(entry) = self.entries.get_mut(&record.id) else { return };
        if record.epoch < entry.record.epoch {
            return;
        }
        let moved = record.epoch != entry.record.epoch || record.endpoint != entry.record.endpoint;
        let old = std::mem::replace(&mut entry.record, record.clone());
        self.use_address(&record);
        self.leave_address(&old);
        if moved {
            self.actions.push_back(Action::Moved(record));
        }
    }

    fn use_address(&mut self, record: &ContainerRecord) {
        if let Some(address) = &record.endpoint.address {
            *self.addresses.entry(address.clone()).or_default() += 1;
        }
    }

    fn leave_address(&mut self, record: &ContainerRecord) {
        let Some(address) = &record.endpoint.address else { return };
        let Some(users) = self.addresses.get_mut(address) else { return };
        *users -= 1;
        if *users == 0 {
            self.addresses.remove(address);
            self.actions.push_back(Action::Unused(address.clone()));
        }
    }
}

fn not_held(id: &ContainerId) -> NetworkError {
    NetworkError::refused(
        ErrorKind::UnknownContainer,
        format!("this client holds no reference to {id}; get it again"),
    )
}
