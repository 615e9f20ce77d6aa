//! What the operator allows, by kind and by tenant: the file of the agent's
//! setting `grants`. Whatever it does not say is not granted, and without the
//! file nothing is.
//!
//! ```toml
//! [default]                        # every kind
//! documents = true
//! [default.limits]
//! memory = "128 MiB"
//!
//! [kind.session]                   # this kind gets these too
//! containers = ["query"]
//! environment = ["REGION"]
//! [kind.session.limits]            # these take the place of the default ones
//! memory = "512 MiB"
//!
//! [kind.query]
//! shared = true                    # what tenants start of it serves all of them
//!
//! [tenant.acme]                    # of its containers: never more than their kind
//! documents = false
//! [tenant.acme.limits]
//! memory = "64 MiB"
//! [tenant.acme.total]              # all of them together, on this agent
//! memory = "2 GiB"
//! containers = 100
//!
//! [tenant."*"]                     # a tenant without an entry of its own
//!
//! [environment]                    # what the variables are
//! REGION = "europe"
//! [secrets]                        # the files that hold the secrets
//! TOKEN = "/run/secrets/token"
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use hulynet_protocol::Kind;
use hulynet_settings::{Mistake, Section, section};

use crate::{
    Capabilities, ContainerLimits, WrittenLimits,
    limits::{Bytes, Count, Unit},
};

/// What a tenant without an entry of its own gets.
const OTHERS: &str = "*";

/// What the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    default: Entry,
    kinds: BTreeMap<String, Entry>,
    /// Kinds whose containers serve all tenants.
    shared: BTreeSet<String>,
    tenants: BTreeMap<String, Tenant>,
    /// The values of variables.
    pub environment: BTreeMap<String, String>,
    /// The files that hold secrets.
    pub secrets: BTreeMap<String, PathBuf>,
}

/// Capabilities and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// For a kind what it is granted; for a tenant the most that its
    /// containers keep of what their kind is granted, where it says anything.
    pub capabilities: Capabilities,
    /// For a kind what takes the place of the defaults; for a tenant the most.
    pub limits: WrittenLimits,
}

/// What a tenant's containers may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Each of them.
    pub each: Entry,
    /// All of them together, on one agent.
    pub total: Total,
}

/// What several containers may use together; `None` is no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Bytes over all memories and tables.
    pub memory: Option<usize>,
    /// Containers at a time.
    pub containers: Option<usize>,
}

impl Grants {
    /// The largest file of grants that is read, in bytes.
    pub const LARGEST: u64 = 1024 * 1024;

    /// What a kind is granted.
    #[must_use]
    pub fn capabilities(&self, kind: &Kind) -> Capabilities {
        let granted = self.default.capabilities.clone();
        match self.kinds.get(kind.as_str()) {
            Some(entry) => granted.union(&entry.capabilities),
            None => granted,
        }
    }

    /// The most that a container of a kind may use.
    #[must_use]
    pub fn limits(&self, kind: &Kind, defaults: &ContainerLimits) -> ContainerLimits {
        let limits = defaults.clone().with(&self.default.limits);
        match self.kinds.get(kind.as_str()) {
            Some(entry) => limits.with(&entry.limits),
            None => limits,
        }
    }

    /// The kinds that have an entry, sorted.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// Whether containers of this kind serve all tenants: what a tenant's
    /// container starts of it belongs to nobody.
    #[must_use]
    pub fn shares(&self, kind: &Kind) -> bool {
        self.shared.contains(kind.as_str())
    }

    /// What a tenant's containers may use; `None` is what their kind may.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.get(name).or_else(|| self.tenants.get(OTHERS))
    }

    /// Whether a tenant has an entry of its own.
    #[must_use]
    pub fn names_tenant(&self, name: &str) -> bool {
        self.tenants.contains_key(name)
    }

    /// Reads the grants; `file` is what messages call it.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        let mut all = Section::parse(file, text)?;
        let kinds = each(all.section("kind")?, |name, section| match Kind::new(name) {
            Ok(_) => kind(section),
            Err(cause) => Err(section.mistake(section.line(""), cause.to_string())),
        })?;
        let shared = kinds.iter().filter(|(_, (_, shared))| *shared);
        let grants = Self {
            default: match all.section("default")? {
                Some(section) => default(section)?,
                None => Entry::default(),
            },
            shared: shared.map(|(name, _)| name.clone()).collect(),
            kinds: kinds.into_iter().map(|(name, (entry, _))| (name, entry)).collect(),
            tenants: each(all.section("tenant")?, |_, section| tenant(section))?,
            environment: values(all.section("environment")?, "a text in quotes")?,
            secrets: values(all.section("secrets")?, "the path of a file in quotes")?
                .into_iter()
                .map(|(name, path)| (name, PathBuf::from(path)))
                .collect(),
        };
        all.finish(["default", "kind", "tenant", "environment", "secrets"])?;
        Ok(grants)
    }
}

fn default(mut section: Section<'_>) -> Result<Entry, Mistake> {
    let entry = entry(&mut section)?;
    section.finish(Capabilities::keys().chain(["limits"]))?;
    Ok(entry)
}

/// And whether its containers serve all tenants.
fn kind(mut section: Section<'_>) -> Result<(Entry, bool), Mistake> {
    let entry = entry(&mut section)?;
    let shared = section.switch("shared")?.unwrap_or_default();
    section.finish(Capabilities::keys().chain(["limits", "shared"]))?;
    Ok((entry, shared))
}

fn tenant(mut section: Section<'_>) -> Result<Tenant, Mistake> {
    let each = entry(&mut section)?;
    let total = match section.section("total")? {
        Some(mut total) => {
            let read = Total {
                memory: total.take("memory", Bytes::TAKES, Bytes::read)?,
                containers: total.take("containers", Count::TAKES, Count::read)?,
            };
            total.finish(["memory", "containers"])?;
            read
        }
        None => Total::default(),
    };
    section.finish(Capabilities::keys().chain(["limits", "total"]))?;
    Ok(Tenant { each, total })
}

fn entry(section: &mut Section<'_>) -> Result<Entry, Mistake> {
    Ok(Entry {
        capabilities: Capabilities::read(section)?,
        limits: section
            .section("limits")?
            .map_or_else(|| Ok(WrittenLimits::default()), WrittenLimits::read)?,
    })
}

/// A table of tables: each name with what it holds.
fn each<T>(
    section: Option<Section<'_>>,
    read: impl Fn(&str, Section<'_>) -> Result<T, Mistake>,
) -> Result<BTreeMap<String, T>, Mistake> {
    let Some(mut section) = section else { return Ok(BTreeMap::new()) };
    let mut all = BTreeMap::new();
    for name in section.keys() {
        if let Some(inner) = section.section(&name)? {
            all.insert(name.clone(), read(&name, inner)?);
        }
    }
    Ok(all)
}

/// A table of texts.
fn values(section: Option<Section<'_>>, takes: &str) -> Result<BTreeMap<String, String>, Mistake> {
    let Some(mut section) = section else { return Ok(BTreeMap::new()) };
    let mut all = BTreeMap::new();
    for name in section.keys() {
        if let Some(value) = section.take(&name, takes, section::text)? {
            all.insert(name, value);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capability;

    fn parse(text: &str) -> Result<Grants, String> {
        Grants::parse("grants.toml", text).map_err(|error| error.to_string())
    }

    fn kind_named(name: &str) -> Kind {
        Kind::new(name).unwrap()
    }

    #[test]
    fn a_kind_gets_what_all_get_and_its_own() {
        let grants = parse(
            "[default]\ndocuments = true\n[default.limits]\nmemory = \"1 MiB\"\nmailbox = 7\n\
             [kind.session]\ncontainers = [\"query\"]\n[kind.session.limits]\nmemory = \"2 MiB\"\n",
        )
        .unwrap();
        let session = grants.capabilities(&kind_named("session"));
        assert_eq!(session.to_string(), "containers = [\"query\"], documents = true");
        assert_eq!(grants.capabilities(&kind_named("other")).to_string(), "documents = true");
        let defaults = ContainerLimits::default();
        let limits = grants.limits(&kind_named("session"), &defaults);
        assert_eq!((limits.memory, limits.mailbox), (2 << 20, 7));
        assert_eq!(grants.limits(&kind_named("other"), &defaults).memory, 1 << 20);
    }

    #[test]
    fn a_kind_serves_all_tenants_only_where_that_is_said() {
        let grants = parse("[kind.query]\nshared = true\n[kind.other]\nshared = false").unwrap();
        let shared = |name| grants.shares(&kind_named(name));
        assert!(shared("query") && !shared("other") && !shared("any"));
        let error = parse("[default]\nshared = true").unwrap_err();
        assert!(error.starts_with("grants.toml:2: there is no key \"default.shared\""), "{error}");
    }

    #[test]
    fn nothing_is_granted_that_is_not_said() {
        let grants = parse("").unwrap();
        assert_eq!(grants, Grants::default());
        assert!(grants.capabilities(&kind_named("any")).is_empty());
    }

    #[test]
    fn a_tenant_has_its_own_entry_or_that_of_all_others() {
        let grants =
            parse("[tenant.acme]\ndocuments = false\n[tenant.\"*\".limits]\nmailbox = 5").unwrap();
        let acme = grants.tenant("acme").unwrap();
        assert!(!acme.each.capabilities.has(Capability::Documents));
        assert_eq!(grants.tenant("another").unwrap().each.limits.mailbox, Some(5));
    }

    #[test]
    fn a_tenants_containers_have_a_total() {
        let grants = parse("[tenant.acme.total]\nmemory = \"2 GiB\"\ncontainers = 100").unwrap();
        let total = Total { memory: Some(2 << 30), containers: Some(100) };
        assert_eq!(grants.tenant("acme").unwrap().total, total);
    }

    #[test]
    fn every_mistake_points_at_its_line() {
        for (text, told) in [
            ("[kinds.a]", "grants.toml:1: there is no key \"kinds\", did you mean \"kind\"?"),
            ("[kind.a]\ndocument = true", "grants.toml:2: there is no key \"kind.a.document\""),
            ("[kind]\na = 1", "grants.toml:2: kind.a takes a table, not an integer"),
            ("[kind.a.limits]\nmemory = 1", "grants.toml:2: kind.a.limits.memory takes a size"),
            (
                "[tenant.a]\ntotal = 1",
                "grants.toml:2: tenant.a.total takes a table, not an integer",
            ),
            ("[kind.\"\"]", "grants.toml:1: "),
            ("[secrets]\nT = 1", "grants.toml:2: secrets.T takes the path of a file in quotes"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn the_example_of_the_readme_is_a_file_of_grants() {
        let readme = include_str!("../../../../README.md");
        let example = readme.split("```toml\n").find(|text| text.starts_with("[default]")).unwrap();
        let text = example.split("```").next().unwrap();
        let grants = parse(text).unwrap();
        assert_eq!(grants.environment["REGION"], "europe");
        assert_eq!(grants.secrets["TOKEN"], PathBuf::from("/run/secrets/token"));
        assert!(grants.names_tenant("acme") && grants.tenant("another").is_some());
        for key in Capabilities::keys() {
            assert!(text.contains(&format!("{key} = ")), "{key} is not shown");
        }
    }
}
