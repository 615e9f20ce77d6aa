//! On what terms a kind is served: what it asks for against what the operator
//! grants. Decided when the kind is loaded, and once more, for the container's
//! tenant, when a container starts; never at the call.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use hulynet_protocol::Kind;

use crate::{
    Capabilities, Capability, Concurrency, ContainerLimits, Grants, Manifest, Names, Termination,
};

/// The capabilities that a component imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports(BTreeSet<Capability>);

impl Imports {
    /// Those among a component's imports.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().filter_map(capability_of).collect())
    }

    /// What a kind without a manifest asks for: all of what it imports.
    fn asked(&self) -> Capabilities {
        self.0.iter().map(|capability| (*capability, Names::all())).collect()
    }
}

/// What an import stands for, unless every kind may import it.
fn capability_of(import: &str) -> Option<Capability> {
    let interface = import.split('@').next().unwrap_or(import);
    match interface {
        "huly:network/containers" | "huly:network/containers-sync" => Some(Capability::Containers),
        "huly:network/documents" | "huly:network/documents-sync" => Some(Capability::Documents),
        "wasi:http/outgoing-handler" => Some(Capability::Http),
        _ => None,
    }
}

/// On what terms a kind, or one container of it, is served. The default grants
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What it asks for: it gets no more than that.
    pub asked: Capabilities,
    /// What the operator grants to the kind.
    pub granted: Capabilities,
    /// What the operator leaves of it to the container's tenant, where that
    /// says anything.
    pub tenant: Capabilities,
    /// How much one container may use.
    pub limits: ContainerLimits,
    /// Whether an entry of its tenant's own lowers its limits: what fails then
    /// says nothing about the kind.
    pub lowered: bool,
    /// How its containers end.
    pub termination: Termination,
    /// The variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// The files of its secrets, which become variables too.
    pub secrets: BTreeMap<String, PathBuf>,
}

/// Why a kind is not served, or a container of it not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// It imports what its manifest does not ask for.
    #[error(
        "imports {imported}, and its manifest does not ask for that; add to {kind}.toml, under [asks] and one a line: {imported}"
    )]
    NotAsked {
        /// The kind.
        kind: Kind,
        /// What it imports.
        imported: Capabilities,
    },
    /// It asks for what is not granted.
    #[error(
        "asks for {missing}, and this agent grants it {}; add to the agent's grants, under [kind.{}] and one a line, and start it again: {missing}",
        nothing(granted),
        key(kind)
    )]
    NotGranted {
        /// The kind.
        kind: Kind,
        /// What it asks for in vain.
        missing: Capabilities,
        /// What it is granted.
        granted: Capabilities,
    },
    /// It asks for more than it is allowed.
    #[error(
        "asks for {asked}, and this agent allows it {allowed}; lower it in {kind}.toml, or add to the \
         agent's grants, under [kind.{}.limits], and start it again: {asked}",
        key(kind)
    )]
    TooMuch {
        /// The kind.
        kind: Kind,
        /// The limit that it asks for.
        asked: String,
        /// The most that it may have.
        allowed: String,
    },
    /// It asks for a variable or a secret that the operator gave no value.
    #[error(
        "asks for {section} = [{name:?}], which has no value here; add to the agent's grants, under [{section}], and start it again: {name} = \"…\""
    )]
    NoValue {
        /// Its name.
        name: String,
        /// The table of values.
        section: &'static str,
    },
    /// It asks for what its tenant may not have.
    #[error(
        "the kind {kind} asks for {missing}, which the tenant {tenant:?} is not granted on this agent; \
         change [tenant.{tenant:?}] in the agent's grants and start it again"
    )]
    NotForTenant {
        /// The kind.
        kind: Kind,
        /// The container's tenant.
        tenant: String,
        /// What it asks for in vain.
        missing: Capabilities,
    },
}

impl Terms {
    /// What a kind asks for: in its manifest, or without one by its imports.
    #[must_use]
    pub fn asked(manifest: Option<&Manifest>, imports: &Imports) -> Capabilities {
        manifest.map_or_else(|| imports.asked(), |manifest| manifest.asks.clone())
    }

    /// Compares what a kind asks for, in its manifest or without one by its
    /// imports, with what it is granted. `defaults` are the limits where the
    /// operator says nothing about the kind.
    ///
    /// # Errors
    /// [`Disagreement`] names what is asked, what is granted, and the remedy.
    pub fn agree(
        kind: &Kind,
        manifest: Option<&Manifest>,
        imports: &Imports,
        grants: &Grants,
        defaults: &ContainerLimits,
    ) -> Result<Self, Disagreement> {
        let asked = Self::asked(manifest, imports);
        let unasked = imports.0.iter().filter(|capability| !asked.has(**capability));
        let unasked: BTreeSet<Capability> = unasked.copied().collect();
        if !unasked.is_empty() {
            let imported = Imports(unasked).asked();
            return Err(Disagreement::NotAsked { kind: kind.clone(), imported });
        }
        let granted = grants.capabilities(kind);
        let missing = asked.without(&granted);
        if !missing.is_empty() {
            return Err(Disagreement::NotGranted { kind: kind.clone(), missing, granted });
        }
        let environment = values(&asked, Capability::Environment, &grants.environment)?;
        let secrets = values(&asked, Capability::Secrets, &grants.secrets)?;
        let allowed = grants.limits(kind, defaults);
        let default = Manifest::default();
        let manifest = manifest.unwrap_or(&default);
        if let Some((asked, allowed)) = manifest.limits.exceeding(&allowed).into_iter().next() {
            return Err(Disagreement::TooMuch { kind: kind.clone(), asked, allowed });
        }
        let mut limits = allowed.at_most(&manifest.limits);
        if manifest.concurrency == Concurrency::Exclusive {
            limits.concurrent = 1;
        }
        let (tenant, termination) = (Capabilities::default(), manifest.termination);
        let lowered = false;
        Ok(Self { asked, granted, tenant, limits, lowered, termination, environment, secrets })
    }

    /// Whether its containers take several requests at a time.
    #[must_use]
    pub fn concurrency(&self) -> Concurrency {
        if self.limits.concurrent == 1 { Concurrency::Exclusive } else { Concurrency::Concurrent }
    }

    /// The terms of a container that works for this tenant.
    ///
    /// # Errors
    /// [`Disagreement::NotForTenant`].
    pub fn for_tenant(
        &self,
        kind: &Kind,
        tenant: Option<&str>,
        grants: &Grants,
    ) -> Result<Self, Disagreement> {
        let mut terms = self.clone();
        let Some((name, entry)) = tenant.and_then(|name| Some((name, grants.tenant(name)?))) else {
            return Ok(terms);
        };
        let tenant = &entry.each.capabilities;
        let restricted =
            self.asked.iter().filter(|(capability, _)| tenant.get(*capability).is_some());
        let restricted: Capabilities =
            restricted.map(|(capability, names)| (capability, names.clone())).collect();
        let missing = restricted.without(tenant);
        if !missing.is_empty() {
            let (kind, tenant) = (kind.clone(), name.to_owned());
            return Err(Disagreement::NotForTenant { kind, tenant, missing });
        }
        terms.limits = terms.limits.at_most(&entry.each.limits);
        terms.lowered = grants.names_tenant(name) && terms.limits != self.limits;
        terms.tenant = tenant.clone();
        Ok(terms)
    }

    /// Whether a container may use a capability that is a switch.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.allow(capability, "*")
    }

    /// Whether a container may use a capability with this name: it was asked
    /// for and granted, and its tenant keeps it.
    #[must_use]
    pub fn allow(&self, capability: Capability, name: &str) -> bool {
        self.asked.allow(capability, name)
            && self.granted.allow(capability, name)
            && self.tenant.get(capability).is_none_or(|names| names.cover(name))
    }
}

/// The values of the names that are asked for; a name that is written out has
/// one.
fn values<V: Clone>(
    asked: &Capabilities,
    capability: Capability,
    all: &BTreeMap<String, V>,
) -> Result<BTreeMap<String, V>, Disagreement> {
    let Some(names) = asked.get(capability) else { return Ok(BTreeMap::new()) };
    let unknown = |name: &&str| !name.starts_with('*') && !all.contains_key(*name);
    if let Some(name) = names.iter().find(unknown) {
        return Err(Disagreement::NoValue { name: name.to_owned(), section: capability.key() });
    }
    let named = all.iter().filter(|(name, _)| names.cover(name));
    Ok(named.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn nothing(granted: &Capabilities) -> String {
    if granted.is_empty() { "nothing".to_owned() } else { format!("only {granted}") }
}

/// A kind as a key of TOML.
fn key(kind: &Kind) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if kind.as_str().chars().all(bare) {
        kind.as_str().to_owned()
    } else {
        format!("{:?}", kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINERS: &str = "huly:network/containers@0.1.0";
    const DOCUMENTS: &str = "huly:network/documents@0.1.0";

    fn kind() -> Kind {
        Kind::new("session").unwrap()
    }

    fn agree(manifest: Option<&str>, imports: &[&str], grants: &str) -> Result<Terms, String> {
        let manifest = manifest.map(|text| Manifest::parse("session.toml", text).unwrap());
        let imports = Imports::of(imports.iter().copied());
        let grants = Grants::parse("grants.toml", grants).unwrap();
        let defaults = ContainerLimits::default();
        Terms::agree(&kind(), manifest.as_ref(), &imports, &grants, &defaults)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_manifest_a_kind_asks_for_what_it_imports() {
        let harmless = ["huly:network/log@0.1.0", "wasi:clocks/wall-clock@0.2.0"];
        assert!(agree(None, &harmless, "").unwrap().asked.is_empty());
        assert_eq!(
            agree(None, &[CONTAINERS], "[default]\ndocuments = true").unwrap_err(),
            "asks for containers = [\"*\"], and this agent grants it only documents = true; add to the \
             agent's grants, under [kind.session] and one a line, and start it again: containers = [\"*\"]"
        );
        let terms = agree(None, &[CONTAINERS], "[kind.session]\ncontainers = [\"*\"]").unwrap();
        assert!(terms.allow(Capability::Containers, "any"));
    }

    #[test]
    fn a_manifest_asks_for_everything_that_is_imported() {
        let manifest = Some("[asks]\ncontainers = [\"query\"]");
        let grants = "[default]\ncontainers = [\"*\"]\ndocuments = true";
        assert_eq!(
            agree(manifest, &[CONTAINERS, DOCUMENTS], grants).unwrap_err(),
            "imports documents = true, and its manifest does not ask for that; add to session.toml, \
             under [asks] and one a line: documents = true"
        );
        let terms = agree(manifest, &[CONTAINERS], grants).unwrap();
        assert!(terms.allow(Capability::Containers, "query"));
        assert!(!terms.allow(Capability::Containers, "other"), "granted, but not asked for");
    }

    #[test]
    fn the_kinds_of_this_checkout_ask_for_what_they_import_and_are_granted_it() {
        let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../plugins");
        let read = |file: &str| std::fs::read_to_string(format!("{plugins}/{file}")).unwrap();
        let grants = Grants::parse("grants.toml", &read("grants.toml")).unwrap();
        for (name, imports, concurrency) in [
            ("counter", &[][..], Concurrency::Concurrent),
            ("echo", &[CONTAINERS], Concurrency::Concurrent),
            ("query", &[DOCUMENTS], Concurrency::Concurrent),
            ("session", &[CONTAINERS, DOCUMENTS], Concurrency::Concurrent),
            ("transactor", &[DOCUMENTS], Concurrency::Exclusive),
        ] {
            let file = format!("{name}.toml");
            let manifest = Manifest::parse(&file, &read(&format!("{name}/{file}"))).unwrap();
            let (kind, limits) = (Kind::new(name).unwrap(), ContainerLimits::default());
            let imports = Imports::of(imports.iter().copied());
            for imports in [imports, Imports::default()] {
                let terms = Terms::agree(&kind, Some(&manifest), &imports, &grants, &limits);
                assert_eq!(terms.unwrap().concurrency(), concurrency, "{name}");
            }
        }
    }

    #[test]
    fn what_is_asked_and_not_granted_is_told_with_both_and_the_remedy() {
        let manifest = Some("[asks]\ncontainers = [\"query\"]\nother-tenants = true");
        assert_eq!(
            agree(manifest, &[], "[kind.session]\nother-tenants = true").unwrap_err(),
            "asks for containers = [\"query\"], and this agent grants it only other-tenants = true; add to the \
             agent's grants, under [kind.session] and one a line, and start it again: containers = [\"query\"]"
        );
        assert!(agree(manifest, &[], "").unwrap_err().contains("grants it nothing; "));
    }

    #[test]
    fn a_kind_lowers_its_limits_and_only_the_operator_raises_them() {
        let manifest = Some("concurrency = \"exclusive\"\n[limits]\nmemory = \"1 GiB\"");
        assert_eq!(
            agree(manifest, &[], "").unwrap_err(),
            "asks for memory = \"1GiB\", and this agent allows it 256MiB; lower it in session.toml, or \
             add to the agent's grants, under [kind.session.limits], and start it again: memory = \"1GiB\""
        );
        let terms = agree(manifest, &[], "[kind.session.limits]\nmemory = \"2 GiB\"").unwrap();
        assert_eq!((terms.limits.memory, terms.limits.concurrent), (1 << 30, 1));
    }

    #[test]
    fn a_variable_without_a_value_is_told_when_the_kind_is_loaded() {
        let manifest = Some("[asks]\nenvironment = [\"REGION\"]");
        let error = agree(manifest, &[], "[default]\nenvironment = [\"*\"]").unwrap_err();
        assert!(
            error.contains("environment = [\"REGION\"]") && error.contains("[environment]"),
            "{error}"
        );
        let values = "[environment]\nREGION = \"eu\"\nOTHER = \"x\"";
        let grants = format!("[default]\nenvironment = [\"*\"]\n{values}");
        let environment = agree(manifest, &[], &grants).unwrap().environment;
        assert_eq!(environment, [("REGION".to_owned(), "eu".to_owned())].into());
    }

    #[test]
    fn a_tenant_keeps_what_its_entry_leaves_of_it() {
        let text = "[default]\ncontainers = [\"*\"]\ndocuments = true\n\
                    [tenant.acme]\ncontainers = [\"query\"]\n[tenant.acme.limits]\nmailbox = 5\n";
        let grants = Grants::parse("grants.toml", text).unwrap();
        let manifest = "[asks]\ncontainers = [\"query\"]\ndocuments = true";
        let terms = agree(Some(manifest), &[], text).unwrap();
        let acme = terms.for_tenant(&kind(), Some("acme"), &grants).unwrap();
        assert_eq!((acme.limits.mailbox, acme.lowered), (5, true));
        assert!(acme.allow(Capability::Containers, "query"));
        assert!(acme.has(Capability::Documents), "the tenant's entry does not say anything");
        assert_eq!(terms.for_tenant(&kind(), Some("other"), &grants).unwrap(), terms);
        let wide = agree(Some("[asks]\ncontainers = [\"*\"]"), &[], text).unwrap();
        assert_eq!(
            wide.for_tenant(&kind(), Some("acme"), &grants).unwrap_err().to_string(),
            "the kind session asks for containers = [\"*\"], which the tenant \"acme\" is not granted on \
             this agent; change [tenant.\"acme\"] in the agent's grants and start it again"
        );
    }

    #[test]
    fn a_container_may_do_what_is_asked_for_and_granted_and_left_by_its_tenant() {
        let hosts = |name: &str| -> Capabilities {
            [(Capability::Http, Names::from_iter([name]))].into_iter().collect()
        };
        let allowed = |asked: &str, granted: &str, tenant: &str| {
            let (asked, granted, tenant) = (hosts(asked), hosts(granted), hosts(tenant));
            let terms = Terms { asked, granted, tenant, ..Terms::default() };
            terms.allow(Capability::Http, "a.example")
        };
        assert!(allowed("*", "*.example", "a.example"));
        assert!(!allowed("b.example", "*", "*"));
        assert!(!allowed("*", "b.example", "*"));
        assert!(!allowed("*", "*", "b.example"));
    }
}
