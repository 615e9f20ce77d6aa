//! What a kind can ask for and an operator can grant. Whatever is not in this
//! table is either harmless and given to every kind (its own log and identity,
//! its connections, clocks, random numbers), or not to be had at all.
//!
//! `queue` and `search` will stand beside `documents`, each with a line of its
//! own in [`Capability::TABLE`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use hulynet_settings::{Mistake, Section, Wrong};

/// Something that is not given unless it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Finding, asking and connecting to containers of these kinds.
    Containers,
    /// Containers of other tenants than its own.
    OtherTenants,
    /// The documents of workspaces.
    Documents,
    /// These variables of its environment.
    Environment,
    /// These secrets.
    Secrets,
    /// Requests to these hosts.
    Http,
    /// Hosts whose addresses are not public.
    PrivateAddresses,
}

/// How a capability is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `true` or `false`.
    Switch,
    /// A list of names; `*` stands for all of them.
    Names,
    /// A list of hosts, as names, with the port where it is unusual.
    Hosts,
}

impl Capability {
    /// All of them: key, form, and what it allows.
    pub const TABLE: [(Self, &'static str, Form, &'static str); 7] = [
        (
            Self::Containers,
            "containers",
            Form::Names,
            "find, ask and connect to containers of these kinds",
        ),
        (Self::OtherTenants, "other-tenants", Form::Switch, "containers of other tenants too"),
        (Self::Documents, "documents", Form::Switch, "the documents of workspaces"),
        (Self::Environment, "environment", Form::Names, "these variables of the environment"),
        (Self::Secrets, "secrets", Form::Names, "these secrets"),
        (
            Self::Http,
            "http",
            Form::Hosts,
            "send HTTP requests to these hosts; with the port where it is unusual",
        ),
        (
            Self::PrivateAddresses,
            "private-addresses",
            Form::Switch,
            "hosts whose addresses are not public too",
        ),
    ];

    /// Its key in a manifest and in the grants.
    #[must_use]
    pub fn key(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// How it is written.
    #[must_use]
    pub fn form(self) -> Form {
        Self::TABLE.iter().find(|row| row.0 == self).map_or(Form::Switch, |row| row.2)
    }
}

/// Names that are asked for or granted. `*` is every name, and `*.x` every
/// name that ends with `.x`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// Every name.
    #[must_use]
    pub fn all() -> Self {
        Self::from_iter(["*"])
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is named, as it was written, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a name, or everything that a pattern stands for, is among these.
    #[must_use]
    pub fn cover(&self, name: &str) -> bool {
        self.0.iter().any(|granted| match granted.strip_prefix('*') {
            Some("") => true,
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => granted == name,
        })
    }
}

impl<S: Into<String>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

/// A set of capabilities: asked for, or granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeMap<Capability, Names>);

impl Capabilities {
    /// All of every capability.
    #[must_use]
    pub fn all() -> Self {
        Capability::TABLE.iter().map(|row| (row.0, Names::all())).collect()
    }

    /// What is said about one of them; `None` when nothing is.
    #[must_use]
    pub fn get(&self, capability: Capability) -> Option<&Names> {
        self.0.get(&capability)
    }

    /// Whether a name is among those of a capability.
    #[must_use]
    pub fn allow(&self, capability: Capability, name: &str) -> bool {
        self.get(capability).is_some_and(|names| names.cover(name))
    }

    /// Whether any of a capability is there: what a switch says.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.get(capability).is_some_and(|names| !names.is_empty())
    }

    /// Both together.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for (capability, names) in &other.0 {
            self.0.entry(*capability).or_default().0.extend(names.0.iter().cloned());
        }
        self
    }

    /// What is in here and not in the other.
    #[must_use]
    pub fn without(&self, granted: &Self) -> Self {
        let missing = |(capability, names): (&Capability, &Names)| {
            let missing: Names =
                names.iter().filter(|name| !granted.allow(*capability, name)).collect();
            (!missing.is_empty()).then_some((*capability, missing))
        };
        self.0.iter().filter_map(missing).collect()
    }

    /// Whether nothing is in here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Names::is_empty)
    }

    /// What is in here.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, &Names)> {
        self.0.iter().map(|(capability, names)| (*capability, names))
    }

    /// Takes the keys of capabilities out of a table.
    ///
    /// # Errors
    /// A value that a capability does not take.
    pub fn read(section: &mut Section<'_>) -> Result<Self, Mistake> {
        let mut read = Self::default();
        for (capability, key, form, _) in Capability::TABLE {
            let names = match form {
                Form::Switch => {
                    let switch = section.switch(key)?;
                    switch.map(|on| if on { Names::all() } else { Names::default() })
                }
                Form::Names => {
                    let takes = "a list of names in quotes, [\"*\"] for all";
                    section.take(key, takes, |value| names(value))?
                }
                Form::Hosts => {
                    let takes = "a list of hosts in quotes, [\"*\"] for all";
                    section.take(key, takes, |value| hosts(value))?
                }
            };
            if let Some(names) = names {
                read.0.insert(capability, names);
            }
        }
        Ok(read)
    }

    /// The keys that [`Capabilities::read`] takes.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        Capability::TABLE.iter().map(|row| row.1)
    }
}

/// A list of names, each plain or a pattern.
fn names(value: toml::de::DeValue<'_>) -> Result<Names, Wrong> {
    let names = hulynet_settings::section::texts(value)?;
    let well = |name: &str| {
        let rest = match name.strip_prefix('*') {
            Some("") => return true,
            Some(suffix) => suffix.strip_prefix('.').unwrap_or("*"),
            None => name,
        };
        !rest.is_empty() && !rest.contains(|c: char| c == '*' || c.is_control())
    };
    match names.iter().find(|name| !well(name)) {
        Some(name) => Err(Wrong::Value(
            name.clone(),
            Some("a name is written out, or * for all, or *.x for all that end with .x".to_owned()),
        )),
        None => Ok(names.into_iter().collect()),
    }
}

/// A list of hosts, written as they are compared.
fn hosts(value: toml::de::DeValue<'_>) -> Result<Names, Wrong> {
    let hosts = names(value)?;
    let well = |host: &str| {
        !host.contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace() || "/@?#".contains(c))
    };
    let wrong = hosts.iter().find(|host| !well(host)).map(str::to_owned);
    match wrong {
        Some(host) => Err(Wrong::Value(
            host,
            Some(
                "a host is written in lower case, without scheme and path: api.example.com, \
                 *.example.com, example.com:8080"
                    .to_owned(),
            ),
        )),
        None => Ok(hosts),
    }
}

impl FromIterator<(Capability, Names)> for Capabilities {
    fn from_iter<I: IntoIterator<Item = (Capability, Names)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl fmt::Display for Capabilities {
    /// As it stands in a file: `containers = ["query"], documents = true`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (capability, names) in self.iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "{separator}{} = ", capability.key())?;
            match capability.form() {
                Form::Switch => f.write_str("true")?,
                Form::Names | Form::Hosts => f.debug_list().entries(names.iter()).finish()?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Capabilities, String> {
        let mut section = Section::parse("k.toml", text).unwrap();
        let read = Capabilities::read(&mut section).map_err(|error| error.to_string())?;
        section.finish(Capabilities::keys()).map_err(|error| error.to_string())?;
        Ok(read)
    }

    #[test]
    fn a_pattern_covers_what_it_stands_for_and_narrower_patterns() {
        let names: Names = ["api.example.com", "*.github.com"].into_iter().collect();
        assert!(names.cover("api.example.com"));
        assert!(names.cover("raw.github.com") && names.cover("*.raw.github.com"));
        for other in ["example.com", "github.com", ".github.com", "evilgithub.com", "*", "*.com"] {
            assert!(!names.cover(other), "{other}");
        }
        assert!(Names::all().cover("*") && Names::all().cover("x"));
        assert!(!Names::default().cover("x"));
    }

    #[test]
    fn what_is_asked_and_not_granted_is_left() {
        let asked = read("containers = [\"query\", \"other\"]\ndocuments = true").unwrap();
        let granted = read("containers = [\"query\"]\ndocuments = false").unwrap();
        let missing = asked.without(&granted);
        assert_eq!(missing.to_string(), "containers = [\"other\"], documents = true");
        assert!(asked.without(&Capabilities::all()).is_empty());
        assert!(read("documents = false").unwrap().without(&granted).is_empty());
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, told) in [
            ("documents = 1", "k.toml:1: documents takes true or false, not an integer"),
            (
                "\ncontainers = \"a\"",
                "k.toml:2: containers takes a list of names in quotes, [\"*\"] for all, not a text",
            ),
            (
                "secrets = [\"a*b\"]",
                "k.toml:1: secrets takes a list of names in quotes, [\"*\"] for all, not \"a*b\": a name is written out",
            ),
            (
                "document = true",
                "k.toml:1: there is no key \"document\", did you mean \"documents\"?",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
        for wrong in ["*a", "", "*.", "a*", "*.*"] {
            assert!(read(&format!("secrets = [{wrong:?}]")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_is_written_as_it_is_compared() {
        for host in ["api.example.com", "*.example.com", "example.com:8080", "[::1]:81", "*"] {
            read(&format!("http = [{host:?}]")).unwrap();
        }
        for wrong in ["https://example.com", "Example.com", "example.com/path", "me@example.com"] {
            let error = read(&format!("http = [{wrong:?}]")).unwrap_err();
            assert!(error.contains("a host is written in lower case, without scheme"), "{error}");
        }
    }
}
