//! The one table of all settings.

use std::{path::PathBuf, time::Duration};

use hulynet_bus::Admission;
use hulynet_protocol::{AccountId, Labels};

use super::{ConfigError, Layers, Origin};
use crate::{
    policy::{Count, PlacementPolicy, Singletons, TrustedKeys},
    units::{Address, Addresses, ByteSize, Toml, Typed, Unreadable},
};

/// What the variables of settings begin with.
pub(super) const PREFIX: &str = "HULYNET_";

/// Which commands take a setting as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    Every,
    /// Those that run a coordinator.
    Coordinator,
    /// Those that run an agent.
    Agent,
    /// Those that run a coordinator or an agent.
    Server,
    /// Those that run an agent or look at kinds.
    Kinds,
    /// Those that run an agent, look at kinds, or sign and verify their files.
    Files,
    /// Those that run a coordinator or an agent, or look at kinds.
    Starts,
}

/// One setting, as help and `hulynet config` need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its key in the file; `--KEY` is its flag.
    pub(crate) key: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its default, as it could be written; empty for none.
    pub(crate) default: &'static str,
    /// What it takes.
    pub(crate) takes: &'static str,
    /// How it is written in the file.
    pub(crate) toml: Toml,
    /// Which commands take its flag.
    pub(crate) scope: Scope,
}

impl Setting {
    /// Its name in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_ascii_uppercase().replace('-', "_"))
    }
}

macro_rules! settings {
    ($($key:literal $field:ident: $type:ty = $default:literal, $scope:ident, $doc:literal;)+) => {
        /// The effective configuration.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $(pub(crate) $field: $type,)+
            /// Where each value comes from, in the order of [`TABLE`].
            pub(crate) origins: Vec<Origin>,
        }

        /// All settings, in the order in which they are shown.
        pub(crate) const TABLE: &[Setting] = &[$(Setting {
            key: $key,
            doc: $doc,
            default: $default,
            takes: <$type as Typed>::TAKES,
            toml: <$type as Typed>::TOML,
            scope: Scope::$scope,
        },)+];

        impl Settings {
            /// Takes each value from the highest layer that has it.
            pub(crate) fn resolve(layers: &Layers) -> Result<Self, ConfigError> {
                let mut origins = Vec::with_capacity(TABLE.len());
                let mut settings = TABLE.iter();
                $(let $field = take::<$type>(layers, settings.next(), &mut origins)?;)+
                Ok(Self { $($field,)+ origins }.complete())
            }

            /// The values as they could be written, in the order of [`TABLE`].
            pub(crate) fn shown(&self) -> Vec<String> {
                vec![$(Typed::show(&self.$field),)+]
            }
        }
    };
}

settings! {
    "coordinator" coordinator: Addresses = "127.0.0.1:3737", Every,
        "The coordinators to ask, tried in order";
    "account" account: Option<AccountId> = "", Every,
        "In whose name requests are made";
    "timeout" timeout: Duration = "30s", Every,
        "How long an answer may take";
    "alive-timeout" alive_timeout: Duration = "3s", Every,
        "An agent or client that is silent for this long is lost; a coordinator that starts gives agents this long to bring their containers back";
    "json" json: bool = "false", Every,
        "Print JSON for programs instead of tables for people";
    "log" log: LogFilter = "auto", Every,
        "What is logged on stderr; auto is info for up, coordinator and agent and warn for the others";
    "log-format" log_format: LogFormat = "text", Every,
        "How it is logged: text for people, json for programs";
    "secret-file" secret_file: Option<PathBuf> = "", Every,
        "The file of the network's secret, the same for everybody: coordinators, agents and clients prove to each other that they have it, and refuse who does not; without it there is no authentication";
    "listen" listen: Address = "127.0.0.1:3737", Coordinator,
        "Where the coordinator listens; port 0 takes a free one. Without a secret-file whoever reaches the address and is accepted controls the network, so leave loopback (0.0.0.0:3737) only where you trust all of these";
    "accept" accept: Admission = "all", Server,
        "From which addresses a coordinator or agent accepts connections: others are closed at once. An address tells where somebody is and not who, so it is no authentication";
    "accept-original" accept_original: Option<Admission> = "", Server,
        "From which of the accepted addresses peers of the original network are let in: they cannot prove to have a secret; without it all of them, and none where there is a secret-file";
    "unused-timeout" unused_timeout: Duration = "5s", Coordinator,
        "A container that nobody holds for this long is asked to terminate";
    "drain-timeout" drain_timeout: Duration = "30s", Coordinator,
        "A container that answers 'not yet' for this long is ended by force";
    "drain-interval" drain_interval: Duration = "1s", Coordinator,
        "How long after 'not yet' a container is asked again";
    "terminate-timeout" terminate_timeout: Duration = "10s", Coordinator,
        "How long an agent may take to answer whether a container ended, before it is asked again";
    "restart-delay" restart_delay: Duration = "1s", Coordinator,
        "How long a container that failed waits before it is started again; doubles with every further failure";
    "longest-restart-delay" longest_restart_delay: Duration = "30s", Coordinator,
        "Where that delay stops to grow";
    "shortest-alive-timeout" shortest_alive_timeout: Duration = "100ms", Coordinator,
        "The shortest alive timeout that an agent or client may choose for itself";
    "longest-alive-timeout" longest_alive_timeout: Duration = "1m", Coordinator,
        "The longest alive timeout that an agent or client may choose for itself";
    "placement" placement: PlacementPolicy = "round-robin", Coordinator,
        "How an agent is chosen for a container among those that suit equally: in turn, or the less loaded of two drawn at random";
    "start-timeout" start_timeout: Duration = "30s", Starts,
        "How long a container may take to start; the grants of an agent change it by kind, and what is longer than the coordinator's has no effect";
    "agent-listen" agent_listen: Address = "127.0.0.1:3738", Agent,
        "Where the agent listens; port 0 takes a free one. Without a secret-file leave loopback (0.0.0.0:3738) only where you trust whoever is accepted";
    "advertise" advertise: Option<Address> = "", Agent,
        "The address that clients are told to reach the agent at; without it the one it listens on";
    "ping-interval" ping_interval: Option<Duration> = "", Every,
        "How often an agent or client tells that it lives; without it a third of the alive timeout";
    "hello-timeout" hello_timeout: Duration = "1s", Every,
        "How long an address has for its first answer: then an agent is reached through the coordinator until it answers, and the next coordinator is tried";
    "goodbye-timeout" goodbye_timeout: Duration = "1s", Every,
        "How long a command waits for the network to confirm that it left";
    "disconnect-timeout" disconnect_timeout: Duration = "5s", Server,
        "How long a client may take to learn that its connection ended";
    "shutdown-timeout" shutdown_timeout: Duration = "10s", Server,
        "How long a coordinator or agent may take to end in order";
    "agent-labels" agent_labels: Labels = "", Agent,
        "Labels of the agent, for placement";
    "singletons" singletons: Singletons = "", Agent,
        "Containers that are to run somewhere as long as an agent names them here: the first one runs it, the others stand by in order";
    "containers" containers: Option<Count> = "", Agent,
        "The most containers that run on the agent at a time; without it as many as the machine has room for, at most 10000";
    "dir" dir: PathBuf = ".hulynet", Kinds,
        "The state directory; made when it is missing";
    "plugins" plugins: PathBuf = "DIR/plugins", Agent,
        "The directory of kinds: every .wasm file in it is served; the default one is made when it is missing";
    "cache" cache: PathBuf = "DIR/cache", Kinds,
        "The directory of compiled kinds; trusted, so only the agent's user may write to it";
    "data" data: PathBuf = "DIR/data", Agent,
        "The directory of the workspaces' documents; agents on one machine may share it";
    "largest-kind" largest_kind: ByteSize = "64MiB", Files,
        "The largest .wasm file that is served or signed; to compile one takes about 200 times as much memory at worst";
    "container-memory" container_memory: ByteSize = "256MiB", Kinds,
        "The most memory that one container may use, where the grants say nothing about its kind";
    "agent-memory" agent_memory: Option<ByteSize> = "", Agent,
        "The most memory that all containers of the agent may use together, without the first 2MiB of each, and that its process may hold before it starts no more; without it three quarters of what the machine has";
    "grants" grants: Option<PathBuf> = "", Kinds,
        "The file that says what kinds and tenants are granted; without it DIR/grants.toml, and when that is not there nothing is granted";
    "trusted-keys" trusted_keys: TrustedKeys = "", Kinds,
        "Public keys: with any, only kinds that one of them signed are served";
}

/// Reads one setting and notes where it came from.
fn take<T: Typed>(
    layers: &Layers,
    setting: Option<&Setting>,
    origins: &mut Vec<Origin>,
) -> Result<T, ConfigError> {
    let setting = setting.ok_or(ConfigError::Table)?;
    let (text, origin) = layers.pick(setting)?;
    let value = T::read(&text).map_err(|Unreadable(cause)| ConfigError::Value {
        key: setting.key,
        origin: origin.clone(),
        text: T::repeat(text),
        takes: setting.takes,
        cause,
    })?;
    origins.push(origin);
    Ok(value)
}

impl Settings {
    /// Puts the state directory in the place of `DIR` in the defaults.
    fn complete(mut self) -> Self {
        for directory in [&mut self.plugins, &mut self.cache, &mut self.data] {
            if let Ok(rest) = directory.strip_prefix("DIR") {
                *directory = self.dir.join(rest);
            }
        }
        self
    }

    /// How often the lease is renewed.
    pub(crate) fn ping_every(&self) -> Duration {
        self.ping_interval.unwrap_or(self.alive_timeout / 3)
    }

    /// Where the setting with this key comes from.
    pub(crate) fn origin(&self, key: &str) -> Option<&Origin> {
        let index = TABLE.iter().position(|setting| setting.key == key)?;
        self.origins.get(index)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Typed for LogFormat {
    const TAKES: &'static str = "text or json";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Unreadable::default()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Json => "json".into(),
        }
    }
}

/// Which log lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFilter(String);

impl LogFilter {
    /// The directives, with `auto` resolved for a command that serves or one
    /// that asks. The transport warns at each orderly end that its sockets are
    /// removed already, which tells nobody anything.
    pub(crate) fn directives(&self, serves: bool) -> String {
        let level = match (self.0.as_str(), serves) {
            ("auto", true) => "info",
            ("auto", false) => "warn",
            (directives, _) => directives,
        };
        // Later directives win, so whoever names the transport hears it.
        format!("zeromq=error,{level}")
    }
}

impl Typed for LogFilter {
    const TAKES: &'static str = "a level (off, error, warn, info, debug, trace), auto, or directives such as hulynet_agent=debug";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let named = |part: &str| {
            part.contains('=') || ["off", "error", "warn", "info", "debug", "trace"].contains(&part)
        };
        if text != "auto" && !text.split(',').all(named) {
            return Err(Unreadable::default());
        }
        tracing_subscriber::EnvFilter::try_new(text)
            .map_err(|error| Unreadable(Some(error.to_string())))?;
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Settings {
        Settings::resolve(&Layers::default()).unwrap()
    }

    #[test]
    fn every_default_is_what_its_setting_takes() {
        let settings = defaults();
        let written: Vec<_> =
            TABLE.iter().map(|setting| setting.default.replace("DIR/", ".hulynet/")).collect();
        assert_eq!(settings.shown(), written);
        assert!(settings.origins.iter().all(|origin| *origin == Origin::Default));
    }

    #[test]
    fn everything_listens_on_loopback_unless_told_otherwise() {
        let settings = defaults();
        assert!(settings.listen.is_local() && settings.agent_listen.is_local());
    }

    #[test]
    fn directories_stand_in_the_state_directory_unless_named() {
        let flags = [("dir", "state".to_owned()), ("plugins", "kinds".to_owned())].into();
        let layers = Layers::read(flags, std::iter::empty(), None).unwrap();
        let settings = Settings::resolve(&layers).unwrap();
        assert_eq!(settings.plugins, PathBuf::from("kinds"));
        assert_eq!(settings.data, PathBuf::from("state/data"));
    }

    #[test]
    fn programs_that_serve_log_more_than_those_that_ask() {
        let auto = LogFilter::read("auto").unwrap();
        assert_eq!(auto.directives(true), "zeromq=error,info");
        assert_eq!(auto.directives(false), "zeromq=error,warn");
        assert_eq!(
            LogFilter::read("hulynet_agent=debug,warn").unwrap().directives(false),
            "zeromq=error,hulynet_agent=debug,warn"
        );
        assert!(LogFilter::read("loud").is_err());
    }
}
