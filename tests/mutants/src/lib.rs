//! Deliberate defects: each breaks one rule of the network where the rule is
//! kept, so that a test can prove that it would notice.
//!
//! Shipped code asks [`mutant`] at the place of the rule. Without the feature
//! `switches` the answer is constantly no, and nothing of it is compiled.

/// One deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A uuid is found under another kind.
    AnyKind,
    /// Records of a container say no agent address.
    EmptyEndpoint,
    /// The containers of a lost agent stay where they were.
    StrandedReferences,
    /// A registration brings no containers along.
    ForgottenOnRegistration,
    /// A container that comes back without holders is never unused.
    ImmortalContainers,
    /// A watcher that left is told on.
    LeakedWatchers,
    /// Removed, then added, is told as updated only.
    MergedEvents,
    /// A reconnect of its socket counts as a client's death.
    DeadAfterReconnect,
    /// A release is confirmed and not done.
    LostRelease,
    /// A restart takes the epoch of the activation before.
    SameEpoch,
    /// Two agents bring the same container: the older epoch wins.
    OlderWins,
    /// An activation whose start was given up is left running.
    ForgottenStray,
    /// The agent serves on when its lease is over.
    NoFencing,
    /// The agent takes requests for other activations than the live one.
    NoEpochCheck,
    /// The agent serves what it was told to end.
    ServesRetired,
    /// An agent whose lease ended brings its containers back as if it had not.
    Undoubting,
    /// A start that the coordinator gave up before it crashed is brought to the
    /// next one as the container.
    BroughtUnnamed,
    /// The client does not hold again what a coordinator forgot.
    NoReclaim,
    /// A get by uuid is answered with another container that starts.
    AnyThatStarts,
    /// Labels are never matched against containers that are there.
    UnmatchedLabels,
    /// A start that failed is the answer to later gets.
    PoisonedStart,
    /// Who waits for an agent that is lost waits for ever.
    HangingRequests,
    /// A kind is listed once for each agent that serves it.
    DuplicateKinds,
    /// Of the agents that offer a singleton only the first counts.
    ForgottenStandby,
    /// A request that is sent again after a reconnect runs again.
    RunsTwice,
    /// The client does not confirm a get that a release overtook.
    UnconfirmedGet,
    /// The client stays attached to an activation that is over.
    StaysAttached,
    /// The agent keeps the subscribers of a client that vanished.
    LeakedSubscribers,
    /// The coordinator forgets the end of a connection that it could not tell
    /// the agent of.
    UnheardGoodbye,
    /// The agent lets events of activations leave that may live elsewhere.
    TellsUnconfirmed,
}

#[cfg(feature = "switches")]
mod switches {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static LIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether the defect is switched on in this thread.
    #[must_use]
    pub fn mutant(mutant: Mutant) -> bool {
        LIVE.get() == Some(mutant)
    }

    /// Switches one defect on in this thread, or all off.
    pub fn switch(mutant: Option<Mutant>) {
        LIVE.set(mutant);
    }
}

#[cfg(feature = "switches")]
pub use switches::{mutant, switch};

/// Whether the defect is switched on: never, in a build that ships.
#[cfg(not(feature = "switches"))]
#[must_use]
#[inline]
pub const fn mutant(_: Mutant) -> bool {
    false
}
