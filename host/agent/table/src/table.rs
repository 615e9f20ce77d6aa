//! Which containers an agent runs, and who may talk to them. Pure: it decides,
//! the service acts.
//!
//! An epoch tells activations of one container apart. Calls that name another
//! one than the live one are refused, so a late message never reaches the
//! wrong activation.

mod connections;

use std::time::Instant;

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    Activation, ContainerId, Epoch, ErrorKind, Intake, Load, NetworkError, Target, Uuid,
};
use indexmap::IndexMap;

use connections::Connections;
pub use connections::{Attempt, Begun};

/// The containers of an agent; `C` is how one is reached.
#[derive(Debug)]
pub struct Table<C> {
    containers: IndexMap<Uuid, Running<C>>,
    connections: Connections,
    /// Counts the attempts to attach one.
    attempts: u64,
    /// The most that may run at a time.
    capacity: usize,
    /// The highest term of a coordinator that was obeyed.
    term: u64,
    /// When the lease ends that allows to serve; `None` before the first.
    serves_until: Option<Instant>,
    draining: bool,
    closed: bool,
}

#[derive(Debug)]
struct Running<C> {
    activation: Activation,
    container: C,
    /// The coordinator wants it to end, because the container lives elsewhere.
    retired: bool,
    /// It may live elsewhere: no coordinator confirmed it since the lease ended.
    doubtful: bool,
    /// The last registration told of it.
    brought: bool,
    /// A caller named its epoch, or a coordinator confirmed it: it was given
    /// out. Before, the coordinator may have given up its start, and had it
    /// started elsewhere.
    named: bool,
}

/// What an agent runs and may go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// What was given out and not given away since.
    pub certain: Vec<Activation>,
    /// What may live elsewhere.
    pub doubtful: Vec<Activation>,
}

/// A container that may be talked to.
#[derive(Debug, PartialEq, Eq)]
pub struct Located<C> {
    /// How it is reached.
    pub container: C,
    /// Its activation.
    pub epoch: Epoch,
}

/// What to do with an order to start.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<C> {
    /// Start it.
    Start,
    /// The same activation is there: an order that came twice.
    Running(C),
    /// An older activation must end first.
    Replace(C),
}

/// The addressee of a call among those with its uuid.
fn located<C: Clone>(
    entry: Option<&Running<C>>,
    target: &Target,
) -> Result<Located<C>, NetworkError> {
    let entry = entry
        .filter(|entry| entry.activation.id == target.id)
        .filter(|entry| !entry.retired || mutant(Mutant::ServesRetired))
        .ok_or_else(|| {
            NetworkError::not_processed(
                ErrorKind::UnknownContainer,
                format!("the container {} does not run on this agent; ask for it again", target.id),
            )
        })?;
    if entry.doubtful {
        return Err(NetworkError::not_processed(
            ErrorKind::Unavailable,
            format!("{}; the coordinator is about to know", may_live_elsewhere(&target.id)),
        ));
    }
    let live = entry.activation.epoch;
    match target.epoch {
        Some(epoch) if epoch != live && !mutant(Mutant::NoEpochCheck) => {
            Err(stale(&target.id, epoch, live))
        }
        _ => Ok(Located { container: entry.container.clone(), epoch: live }),
    }
}

impl<C: Clone> Table<C> {
    /// None yet, and room for so many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            containers: IndexMap::new(),
            connections: Connections::default(),
            attempts: 0,
            capacity,
            term: 0,
            serves_until: None,
            draining: false,
            closed: false,
        }
    }

    /// Decides about an order to start.
    ///
    /// # Errors
    /// `StaleEpoch` for an order that is older than what runs or than the
    /// coordinator that was obeyed last, `Busy` when there is no room or the
    /// agent drains, `Unavailable` without a lease.
    pub fn decide(
        &self,
        now: Instant,
        id: &ContainerId,
        epoch: Epoch,
    ) -> Result<Decision<C>, NetworkError> {
        self.check_lease(now)?;
        if epoch.term < self.term {
            return Err(stale(id, epoch, Epoch { term: self.term, counter: 0 }));
        }
        match self.containers.get(&id.uuid) {
            Some(entry) if entry.activation.epoch > epoch => {
                Err(stale(id, epoch, entry.activation.epoch))
            }
            Some(entry) if entry.activation.epoch == epoch => {
                Ok(Decision::Running(entry.container.clone()))
            }
            Some(entry) => Ok(Decision::Replace(entry.container.clone())),
            None if self.draining => Err(NetworkError::not_processed(
                ErrorKind::Busy,
                "the agent is draining and takes no new containers",
            )),
            None if self.containers.len() >= self.capacity => Err(NetworkError::not_processed(
                ErrorKind::Busy,
                format!(
                    "the agent is full: it runs {} of {} containers; end some, or allow it more --containers",
                    self.containers.len(),
                    self.capacity
                ),
            )),
            None => Ok(Decision::Start),
        }
    }

    /// A container was begun.
    pub fn insert(&mut self, activation: Activation, container: C) {
        self.term = self.term.max(activation.epoch.term);
        let entry = Running {
            activation,
            container,
            retired: false,
            doubtful: false,
            brought: false,
            named: false,
        };
        self.containers.insert(entry.activation.id.uuid.clone(), entry);
    }

    /// An activation ended; answers whether it was there.
    pub fn remove(&mut self, id: &ContainerId, epoch: Epoch) -> bool {
        if self.containers.get(&id.uuid).is_none_or(|entry| entry.activation.epoch != epoch) {
            return false;
        }
        self.containers.swap_remove(&id.uuid);
        self.connections.end_all_of(&id.uuid);
        true
    }

    /// The addressee of a call that came. Who names its epoch got it from a
    /// coordinator.
    ///
    /// # Errors
    /// Those of [`Table::locate`].
    pub fn reach(&mut self, now: Instant, target: &Target) -> Result<Located<C>, NetworkError> {
        self.check_lease(now)?;
        let mut entry = self.containers.get_mut(&target.id.uuid);
        let located = located(entry.as_deref(), target)?;
        if let Some(entry) = &mut entry {
            entry.named |= target.epoch.is_some();
        }
        Ok(located)
    }

    /// Who would be the addressee of a call now.
    ///
    /// # Errors
    /// `UnknownContainer`, `StaleEpoch`, `Unavailable` without a lease; the call
    /// was not processed.
    pub fn locate(&self, now: Instant, target: &Target) -> Result<Located<C>, NetworkError> {
        self.check_lease(now)?;
        located(self.containers.get(&target.id.uuid), target)
    }

    /// Whether an answer of this activation may still be given: the agent may
    /// have been stopped, or cut off, while it was worked out.
    ///
    /// # Errors
    /// `Unavailable`, maybe processed, when the lease is over or was, or the
    /// coordinator wants the activation to end.
    pub fn confirm(
        &self,
        now: Instant,
        id: &ContainerId,
        epoch: Epoch,
    ) -> Result<(), NetworkError> {
        if self.is_certain(now, id, epoch) {
            return Ok(());
        }
        Err(NetworkError::maybe_processed(
            ErrorKind::Unavailable,
            format!("{}; what it answered is not given out", may_live_elsewhere(id)),
        ))
    }

    /// Whether an event of this activation may leave now. One that may not is
    /// kept until it may, or until the activation ends.
    ///
    /// # Errors
    /// `Busy`, not processed, in the cases of [`Table::confirm`].
    pub fn release(
        &self,
        now: Instant,
        id: &ContainerId,
        epoch: Epoch,
    ) -> Result<(), NetworkError> {
        if self.is_certain(now, id, epoch) || mutant(Mutant::TellsUnconfirmed) {
            return Ok(());
        }
        Err(NetworkError::not_processed(
            ErrorKind::Busy,
            format!("{}; its events wait", may_live_elsewhere(id)),
        ))
    }

    /// Whether nothing speaks for another activation of a container.
    fn is_certain(&self, now: Instant, id: &ContainerId, epoch: Epoch) -> bool {
        let found = self.containers.get(&id.uuid).filter(|e| e.activation.epoch == epoch);
        self.serves_until.is_none_or(|until| now < until)
            && found.is_none_or(|entry| !entry.doubtful && !entry.retired)
    }

    /// Whether all that runs now may live elsewhere, since the lease ended.
    /// Such containers are not served; what is started from now on is.
    pub fn doubt(&mut self, doubtful: bool) {
        for entry in self.containers.values_mut() {
            entry.doubtful = doubtful;
        }
    }

    /// It may serve until then: its own clock decides, so that a process that
    /// was stopped for long serves nothing when it goes on. `None` is no lease
    /// yet, and nothing that one could lose.
    pub fn serve_until(&mut self, until: Option<Instant>) {
        self.serves_until = until;
    }

    /// Activations that the coordinator wants to end are not served from now
    /// on; answers those that were here, for their end. It is reported by
    /// [`Table::remove`], as usual.
    pub fn retire(&mut self, activations: &[(ContainerId, Epoch)]) -> Vec<C> {
        let mut retired = Vec::new();
        for (id, epoch) in activations {
            if let Some(entry) = self.containers.get_mut(&id.uuid)
                && entry.activation.id == *id
                && entry.activation.epoch == *epoch
            {
                entry.retired = true;
                retired.push(entry.container.clone());
            }
        }
        retired
    }

    /// Takes no new containers, or takes them again; those that run go on.
    pub fn drain(&mut self, drain: bool) {
        self.draining = drain;
    }

    /// Stops serving for good.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// The container with this uuid, for callers that do not know its kind.
    #[must_use]
    pub fn identity(&self, uuid: &Uuid) -> Option<ContainerId> {
        self.containers.get(uuid).map(|entry| entry.activation.id.clone())
    }

    /// An activation that runs, served or not.
    #[must_use]
    pub fn find(&self, target: &Target) -> Option<C> {
        let entry = self.containers.get(&target.id.uuid)?;
        let same = entry.activation.id == target.id
            && target.epoch.is_none_or(|epoch| epoch == entry.activation.epoch);
        same.then(|| entry.container.clone())
    }

    /// What a registration tells. `in_doubt` when the lease ended since a
    /// coordinator confirmed what runs.
    pub fn bring(&mut self, in_doubt: bool) -> Brought {
        let mut all = Brought::default();
        for entry in self.containers.values_mut().filter(|entry| !entry.retired) {
            entry.brought = true;
            let certain = (entry.named || mutant(Mutant::BroughtUnnamed)) && !in_doubt;
            let list = if certain { &mut all.certain } else { &mut all.doubtful };
            list.push(entry.activation.clone());
        }
        all
    }

    /// The coordinator knows all that the last registration told, and gives out
    /// what it did not have [retired](Table::retire).
    pub fn settle(&mut self) {
        for entry in self.containers.values_mut() {
            entry.named |= entry.brought;
        }
    }

    /// All containers.
    #[must_use]
    pub fn all(&self) -> Vec<C> {
        self.containers.values().map(|entry| entry.container.clone()).collect()
    }

    /// How busy the agent is and whether it takes containers.
    #[must_use]
    pub fn load(&self) -> Load {
        let count = self.containers.len() as u64;
        let used = count.saturating_mul(1_000_000) / (self.capacity.max(1) as u64);
        let leaves = self.closed || self.draining;
        let intake = match (leaves, self.containers.len() >= self.capacity) {
            (true, _) => Intake::Draining,
            (false, true) => Intake::Full,
            (false, false) => Intake::Open,
        };
        Load { used: u32::try_from(used).unwrap_or(u32::MAX), intake }
    }

    fn check_lease(&self, now: Instant) -> Result<(), NetworkError> {
        let over = self.serves_until.is_some_and(|until| until <= now);
        let reason = match (self.closed, over && !mutant(Mutant::NoFencing)) {
            (true, _) => "the agent is shutting down",
            (_, true) => "the agent lost its coordinator, so its containers may live elsewhere",
            (false, false) => return Ok(()),
        };
        Err(NetworkError::not_processed(ErrorKind::Unavailable, reason))
    }
}

fn may_live_elsewhere(id: &ContainerId) -> String {
    format!("the agent lost its coordinator, so the container {id} may live elsewhere")
}

fn stale(id: &ContainerId, named: Epoch, live: Epoch) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::StaleEpoch,
        format!(
            "the epoch {named} of the container {id} is not the live one, {live}; ask for it again"
        ),
    )
}

#[cfg(test)]
mod tests;
