//! What an operator may set, with the defaults.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hulynet_agent_kinds::{ContainerLimits, Grants, PublicKey, directory::POLL};
use hulynet_bus::{Admission, Secret};
use hulynet_protocol::{AgentId, ContainerId, Labels};

use crate::capabilities::of_process;

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Its name in the network.
    pub id: AgentId,
    /// Where it listens, `HOST:PORT`; port 0 takes any free one.
    pub listen: String,
    /// From which addresses it accepts connections. Default all.
    pub accept: Admission,
    /// What native peers must prove to have, and the coordinator too. Default
    /// nothing.
    pub secret: Option<Secret>,
    /// From which of the accepted addresses peers of the original network are
    /// let in. `None`, the default, is all without a secret and none with one.
    pub accept_original: Option<Admission>,
    /// The address that clients are told, when it is not the one it listens
    /// on (behind a forwarded port, or listening on all interfaces).
    pub advertise: Option<String>,
    /// The coordinators, `HOST:PORT`; the first that answers is used, the next
    /// when it is lost.
    pub coordinators: Vec<String>,
    /// Every `*.wasm` in this directory is a kind.
    pub plugins: PathBuf,
    /// Compiled kinds are kept here. The directory is made with mode 0700 and
    /// its content is trusted.
    pub cache: PathBuf,
    /// For placement by affinity.
    pub labels: Labels,
    /// Singletons: containers that are to run somewhere as long as an agent
    /// offers them. The first agent that offers one runs it, the others wait in
    /// order.
    pub offers: Vec<ContainerId>,
    /// How often the plugin directory is looked at where it gives no events,
    /// such as one on a network file system. Default 250 ms. What is there at
    /// the first look is served at once, and a file that comes later when it
    /// did not change for 150 ms.
    pub poll: Duration,
    /// How long the start waits for what is in the plugin directory; what takes
    /// longer to compile is served when it is ready. Default 30 s.
    pub warm_up: Duration,
    /// The most containers at a time; `None` takes what the kernel's limit of
    /// memory maps allows, at most 10,000.
    pub containers: Option<u32>,
    /// The largest `.wasm` file, in bytes. Default 64 MiB: compiling takes
    /// about 200 times as much memory at worst.
    pub file_bytes: usize,
    /// Of each container, where the grants say nothing about its kind.
    pub limits: ContainerLimits,
    /// Bytes of the memories and tables of all containers together; the first
    /// 2 MiB of each do not count, because idle ones hardly touch them. While
    /// the process itself holds more, by [`AgentConfig::resident`], no container
    /// starts and none grows. `None` takes three quarters of the machine's
    /// memory.
    pub memory: Option<usize>,
    /// Tells how many bytes the process holds itself; `None` bounds nothing. It
    /// is asked every 10 ms at most. Default what Linux says is resident and no
    /// file's, and nothing elsewhere; whoever knows better can say otherwise.
    pub resident: fn() -> Option<usize>,
    /// What kinds and tenants are granted. Default nothing.
    pub grants: Arc<Grants>,
    /// With any, only kinds that one of them signed are served. Default none.
    pub trusted: Vec<PublicKey>,
    /// How long a silent client keeps its connections, and how long the
    /// coordinator may be silent. Default 3 s.
    pub alive_timeout: Duration,
    /// How often the agent tells the coordinator that it lives. Default 1 s.
    pub ping_interval: Duration,
    /// How long a client may take to learn that its connection ended. Default
    /// 5 s.
    pub disconnect_timeout: Duration,
}

impl AgentConfig {
    /// The defaults, with what has none.
    #[must_use]
    pub fn new(plugins: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Self {
        Self {
            id: AgentId::random(),
            listen: "127.0.0.1:3738".to_owned(),
            accept: Admission::default(),
            secret: None,
            accept_original: None,
            advertise: None,
            coordinators: vec!["127.0.0.1:3737".to_owned()],
            plugins: plugins.into(),
            cache: cache.into(),
            labels: Labels::new(),
            offers: Vec::new(),
            poll: POLL,
            warm_up: Duration::from_secs(30),
            containers: None,
            file_bytes: 64 * 1024 * 1024,
            limits: ContainerLimits::default(),
            memory: None,
            resident: of_process,
            grants: Arc::default(),
            trusted: Vec::new(),
            alive_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(1),
            disconnect_timeout: Duration::from_secs(5),
        }
    }
}
