//! The deliberate defects that must be found.

use hulynet_mutants::{Mutant, switch};

use crate::{plan::Settings, world};

/// The defects, each named as in [`Mutant`].
pub const ALL: &[Mutant] = &[
    Mutant::AnyKind,
    Mutant::EmptyEndpoint,
    Mutant::StrandedReferences,
    Mutant::ForgottenOnRegistration,
    Mutant::ImmortalContainers,
    Mutant::LeakedWatchers,
    Mutant::MergedEvents,
    Mutant::DeadAfterReconnect,
    Mutant::LostRelease,
    Mutant::SameEpoch,
    Mutant::OlderWins,
    Mutant::ForgottenStray,
    Mutant::NoFencing,
    Mutant::ServesRetired,
    Mutant::NoEpochCheck,
    Mutant::NoReclaim,
    Mutant::Undoubting,
    Mutant::BroughtUnnamed,
    Mutant::UnconfirmedGet,
    Mutant::AnyThatStarts,
    Mutant::UnmatchedLabels,
    Mutant::PoisonedStart,
    Mutant::HangingRequests,
    Mutant::DuplicateKinds,
    Mutant::ForgottenStandby,
    Mutant::RunsTwice,
    Mutant::StaysAttached,
    Mutant::LeakedSubscribers,
    Mutant::UnheardGoodbye,
    Mutant::TellsUnconfirmed,
];

/// How a defect was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The defect.
    pub mutant: Mutant,
    /// The first seed that fails, and its failure; nothing if none does.
    pub seed: Option<(u64, world::Failure)>,
}

/// Looks for a defect with the seeds `0..seeds`.
#[must_use]
pub fn hunt(mutant: Mutant, seeds: u64) -> Found {
    switch(Some(mutant));
    let seed = (0..seeds).find_map(|seed| {
        let outcome = world::run_seed(&Settings::new(seed), false);
        outcome.failure.map(|failure| (seed, failure))
    });
    switch(None);
    Found { mutant, seed }
}
