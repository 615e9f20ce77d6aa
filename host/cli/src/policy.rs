//! Settings of the network's rules: who is let in, how containers are placed,
//! how many an agent takes, which are singletons, what kinds are granted and
//! which are trusted.

use std::{fs, io, path::Path, sync::Arc};

use hulynet_agent::{ContainerLimits, Grants, KeyError, KindPolicy, PublicKey};
use hulynet_bus::{Admission, Secret};
use hulynet_coordinator::registry::Placement;
use hulynet_protocol::ContainerId;

use crate::{
    config::Settings,
    failure::Failure,
    target::Exact,
    units::{ByteSize, Toml, Typed, Unreadable},
};

/// How an agent is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacementPolicy(pub(crate) Placement);

impl Typed for PlacementPolicy {
    const TAKES: &'static str = "round-robin or least-loaded";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text {
            "round-robin" => Ok(Self(Placement::RoundRobin)),
            "least-loaded" => Ok(Self(Placement::LeastLoaded)),
            _ => Err(Unreadable::default()),
        }
    }

    fn show(&self) -> String {
        match self.0 {
            Placement::RoundRobin => "round-robin",
            Placement::LeastLoaded => "least-loaded",
        }
        .to_owned()
    }
}

/// How many, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl Typed for Count {
    const TAKES: &'static str = "a number, at least 1";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text.parse() {
            Ok(count @ 1..) => Ok(Self(count)),
            _ => Err(Unreadable::default()),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// The containers that an agent offers as singletons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Singletons(pub(crate) Vec<ContainerId>);

impl Typed for Singletons {
    const TAKES: &'static str = "containers such as indexer/main, several separated by commas";
    const TOML: Toml = Toml::List;

    fn read(text: &str) -> Result<Self, Unreadable> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let exact = parts.map(|part| part.parse::<Exact>().map(|exact| exact.0));
        exact.collect::<Result<_, _>>().map(Self).map_err(|cause| Unreadable(Some(cause)))
    }

    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// The keys whose owners vouch for kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrustedKeys(pub(crate) Vec<PublicKey>);

impl Typed for TrustedKeys {
    const TAKES: &'static str = "public keys such as ed25519:64HEX, several separated by commas";
    const TOML: Toml = Toml::List;

    fn read(text: &str) -> Result<Self, Unreadable> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let keys = parts.map(str::parse).collect::<Result<_, _>>();
        keys.map(Self).map_err(|cause: KeyError| Unreadable(Some(cause.to_string())))
    }

    /// Without what nobody else may see: errors end up in logs.
    fn repeat(text: String) -> String {
        let is_private = |part: &str| part.parse::<PublicKey>() == Err(KeyError::Private);
        if text.split(',').any(is_private) { "a private key".to_owned() } else { text }
    }

    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Typed for Admission {
    const TAKES: &'static str = "all, or networks such as 10.1.0.0/16 and addresses such as ::1, several separated by commas";
    const TOML: Toml = Toml::List;

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse()
            .map_err(|cause: hulynet_bus::AdmissionError| Unreadable(Some(cause.to_string())))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The secret of the network, if it has one.
pub(crate) fn secret(settings: &Settings) -> Result<Option<Secret>, Failure> {
    let Some(path) = &settings.secret_file else { return Ok(None) };
    Secret::read(path).map(Some).map_err(|cause| {
        let file = path.display();
        // What is there may be anything, and is not to be written over.
        let (new, name_it) = if path.exists() { (".new", ", and name that") } else { ("", "") };
        Failure::usage(format!(
            "the secret file {file} cannot be used: {cause}; name the network's own with \
             --secret-file, or make one for everybody{name_it}: \
             (umask 077; set -C; head -c 32 /dev/urandom | base64 > {file}{new})"
        ))
    })
}

/// The largest file of a kind, in bytes.
pub(crate) fn largest_kind(settings: &Settings) -> usize {
    bytes(settings.largest_kind)
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

/// What the operator decides about kinds.
pub(crate) fn kind_policy(settings: &Settings) -> Result<KindPolicy, Failure> {
    let limits = ContainerLimits {
        memory: bytes(settings.container_memory),
        start: settings.start_timeout,
        ..ContainerLimits::default()
    };
    let usual = settings.dir.join("grants.toml");
    let grants = match &settings.grants {
        Some(path) => read_grants(path)?,
        None if usual.exists() => read_grants(&usual)?,
        None => Grants::default(),
    };
    Ok(KindPolicy {
        grants: Arc::new(grants),
        file_bytes: largest_kind(settings),
        limits,
        trusted: settings.trusted_keys.0.clone(),
    })
}

fn read_grants(path: &Path) -> Result<Grants, Failure> {
    let file = path.display().to_string();
    let bounded = |path: &Path| -> io::Result<String> {
        let length = fs::metadata(path)?.len();
        if length > Grants::LARGEST {
            return Err(io::Error::other(format!("it has {length} bytes; is it another file?")));
        }
        fs::read_to_string(path)
    };
    let text = bounded(path).map_err(|cause| {
        Failure::usage(format!("the grants {file} cannot be read: {cause}; correct --grants"))
    })?;
    Grants::parse(&file, &text).map_err(|mistake| Failure::usage(mistake.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Layers;

    #[test]
    fn what_an_agent_and_an_inspection_allow_every_kind_is_what_the_settings_say() {
        let policy = |flags: &[(&'static str, &str)]| {
            let dir = ("dir", "no/such/directory");
            let flags = flags.iter().chain([&dir]).map(|(key, text)| (*key, (*text).to_owned()));
            let layers = Layers::read(flags.collect(), std::iter::empty(), None).unwrap();
            let KindPolicy { file_bytes, limits, .. } =
                kind_policy(&Settings::resolve(&layers).unwrap()).unwrap();
            (file_bytes, limits)
        };
        let usual = KindPolicy::default();
        assert_eq!(policy(&[]), (usual.file_bytes, usual.limits));
        let flags =
            [("start-timeout", "5s"), ("container-memory", "1MiB"), ("largest-kind", "2MiB")];
        let (start, memory) = (Duration::from_secs(5), 1 << 20);
        let limits = ContainerLimits { start, memory, ..ContainerLimits::default() };
        assert_eq!(policy(&flags), (2 << 20, limits));
    }

    #[test]
    fn a_private_key_among_the_trusted_ones_is_not_repeated() {
        let private = format!("ed25519:{}, ed25519-private:{}", "1".repeat(64), "2".repeat(64));
        assert!(TrustedKeys::read(&private).is_err());
        assert_eq!(TrustedKeys::repeat(private), "a private key");
        assert_eq!(TrustedKeys::repeat("no key".to_owned()), "no key");
    }

    #[test]
    fn trusted_keys_are_shown_as_they_are_written() {
        let key = |seed| hulynet_agent::PrivateKey::from_random([seed; 32]).public().to_string();
        let both = format!("{},{}", key(1), key(2));
        assert_eq!(TrustedKeys::read(&both).unwrap().show(), both);
        assert!(TrustedKeys::read("x").unwrap_err().0.unwrap().contains("ed25519:"));
        assert_eq!(TrustedKeys::read("").unwrap(), TrustedKeys::default());
    }

    #[test]
    fn who_is_let_in_is_shown_as_it_is_written() {
        for text in ["all", "10.1.0.0/16,::1/128"] {
            assert_eq!(Admission::read(text).unwrap().show(), text);
        }
        assert!(Admission::read("").unwrap_err().0.unwrap().contains("nobody"));
    }

    #[test]
    fn policies_are_shown_as_they_are_written() {
        for text in ["round-robin", "least-loaded"] {
            assert_eq!(PlacementPolicy::read(text).unwrap().show(), text);
        }
        assert!(PlacementPolicy::read("random").is_err());
        assert_eq!(Count::read("16").unwrap().show(), "16");
        for none in ["0", "-1", "1.5", ""] {
            assert!(Count::read(none).is_err(), "{none:?}");
        }
        assert_eq!(Singletons::read("a/1, b/2").unwrap().show(), "a/1,b/2");
        assert_eq!(Singletons::read("").unwrap(), Singletons::default());
        assert!(Singletons::read("a").unwrap_err().0.unwrap().contains("KIND/UUID"));
    }
}
