//! For whom the containers of a kind work. What one tenant's containers do does
//! not take the kind from others: each tenant has its own quarantine, and the
//! failed starts of one of several tenants do not judge a version.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::trouble::{Quarantine, Trouble};
use crate::ContainerLimits;

/// Tenants without containers that are remembered at least.
const FORGET: usize = 64;

/// Those for whom containers of a kind work, and those whose containers crashed
/// lately.
#[derive(Debug, Default)]
pub(super) struct Parties {
    /// Containers that work for no tenant.
    nobody: Party,
    tenants: BTreeMap<String, Party>,
    /// When there are so many, those that do not matter are looked for.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Party {
    live: usize,
    trouble: Trouble,
}

impl Parties {
    pub(super) fn begun(&mut self, tenant: Option<&str>) {
        self.party(tenant).live += 1;
    }

    pub(super) fn ended(&mut self, now: Instant, tenant: Option<&str>) {
        let party = self.party(tenant);
        party.live = party.live.saturating_sub(1);
        if self.tenants.len() >= self.sweep_at {
            self.tenants.retain(|_, party| party.live > 0 || !party.trouble.is_over(now));
            self.sweep_at = (self.tenants.len() * 2).max(FORGET);
        }
    }

    /// A container with these limits crashed; answers whether a quarantine
    /// begins.
    pub(super) fn crash(
        &mut self,
        now: Instant,
        tenant: Option<&str>,
        limits: &ContainerLimits,
        reason: &str,
    ) -> bool {
        let party = self.party(tenant);
        party.trouble.crash(now, party.live, limits, reason)
    }

    /// The quarantine of a tenant's containers.
    pub(super) fn quarantined(&self, now: Instant, tenant: Option<&str>) -> Option<&Quarantine> {
        let party = match tenant {
            None => Some(&self.nobody),
            Some(name) => self.tenants.get(name),
        };
        party.and_then(|party| party.trouble.quarantined(now))
    }

    /// A quarantine, and whose.
    pub(super) fn any_quarantine(&self, now: Instant) -> Option<(Option<&str>, &Quarantine)> {
        let tenants = self.tenants.iter().map(|(name, party)| (Some(name.as_str()), party));
        let mut all = [(None, &self.nobody)].into_iter().chain(tenants);
        all.find_map(|(whose, party)| Some((whose, party.trouble.quarantined(now)?)))
    }

    /// All troubles are over: there is another version.
    pub(super) fn forgive(&mut self) {
        self.nobody.trouble = Trouble::default();
        self.tenants.values_mut().for_each(|party| party.trouble = Trouble::default());
    }

    fn party(&mut self, tenant: Option<&str>) -> &mut Party {
        match tenant {
            None => &mut self.nobody,
            Some(name) => self.tenants.entry(name.to_owned()).or_default(),
        }
    }
}

/// The starts of a version that failed before one succeeded.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Of containers that work for no tenant.
    nobody: usize,
    total: usize,
    tenants: BTreeSet<String>,
}

impl Failures {
    /// One more. Answers whether they judge the version: `needed` of nobody's
    /// containers do, and `needed` of whomever, unless only some of those for
    /// whom containers of the kind work had any.
    pub(super) fn are_enough_with(
        &mut self,
        tenant: Option<&str>,
        needed: usize,
        parties: &Parties,
    ) -> bool {
        self.total += 1;
        match tenant {
            None => self.nobody += 1,
            Some(name) => {
                self.tenants.insert(name.to_owned());
            }
        }
        let live = parties.tenants.iter().filter(|(_, party)| party.live > 0);
        let others = live.filter(|(name, _)| !self.tenants.contains(*name)).take(needed).count()
            + usize::from(self.nobody == 0 && parties.nobody.live > 0);
        let had_some = self.tenants.len() + usize::from(self.nobody > 0);
        self.nobody >= needed || self.total >= needed && (had_some >= needed || others == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn enough(live: &[Option<&str>], failed: &[Option<&str>]) -> bool {
        let mut parties = Parties::default();
        live.iter().for_each(|tenant| parties.begun(*tenant));
        let mut failures = Failures::default();
        failed.iter().any(|tenant| failures.are_enough_with(*tenant, 3, &parties))
    }

    #[test]
    fn one_tenant_of_several_judges_no_version() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        for (live, failed, judged) in [
            (&[][..], &[a, a][..], false),
            (&[], &[a, a, a], true),
            (&[a], &[a, a, a], true),
            (&[a, b], &[a, a, a, a, a, a], false),
            (&[None], &[a, a, a, a], false),
            (&[a, b], &[a, a, a, b], true),
            (&[a, b, c], &[a, a, b, a, b], false),
            (&[a, b, c, Some("d")], &[a, b, c], true),
            (&[a, b], &[None, None, None], true),
            (&[a, None], &[None, a, a], true),
        ] {
            assert_eq!(enough(live, failed), judged, "{failed:?} among {live:?}");
        }
    }

    #[test]
    fn tenants_that_have_nothing_and_are_in_no_trouble_are_forgotten() {
        let (mut now, limits) = (Instant::now(), ContainerLimits::default());
        let mut parties = Parties::default();
        parties.begun(Some("lasting"));
        for tenant in 0..1_000 {
            let name = tenant.to_string();
            parties.begun(Some(&name));
            parties.crash(now, Some(&name), &limits, "it trapped");
            now += Duration::from_secs(1);
            parties.ended(now, Some(&name));
        }
        assert!(parties.tenants.len() <= 2 * FORGET, "{}", parties.tenants.len());
        assert_eq!(parties.tenants["lasting"].live, 1);
    }
}
