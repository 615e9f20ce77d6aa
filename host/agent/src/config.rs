//! What an operator may set, with the defaults.

use std::{path::PathBuf, time::Duration};

use hulynet_protocol::{AgentId, ContainerId, Labels};

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Its name in the network.
    pub id: AgentId,
    /// Where it listens, `HOST:PORT`; port 0 takes any free one.
    pub listen: String,
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
    /// How often the plugin directory is looked at. Default 500 ms; a new file
    /// is served after two looks.
    pub poll: Duration,
    /// The most containers at a time; `None` takes what the kernel's limit of
    /// memory maps allows, at most 10,000.
    pub containers: Option<u32>,
    /// The largest `.wasm` file, in bytes. Default 64 MiB: compiling takes
    /// about 200 times as much memory at worst.
    pub file_bytes: u64,
    /// Of each container.
    pub limits: ContainerLimits,
    /// How long a silent client keeps its connections, and how long the
    /// coordinator may be silent. Default 3 s.
    pub alive_timeout: Duration,
    /// How often the agent tells the coordinator that it lives. Default 1 s.
    pub ping_interval: Duration,
}

impl AgentConfig {
    /// The defaults, with what has none.
    #[must_use]
    pub fn new(plugins: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Self {
        Self {
            id: AgentId::random(),
            listen: "127.0.0.1:3738".to_owned(),
            advertise: None,
            coordinators: vec!["127.0.0.1:3737".to_owned()],
            plugins: plugins.into(),
            cache: cache.into(),
            labels: Labels::new(),
            offers: Vec::new(),
            poll: Duration::from_millis(500),
            containers: None,
            file_bytes: 64 * 1024 * 1024,
            limits: ContainerLimits::default(),
            alive_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(1),
        }
    }
}

/// What one container may use.
#[derive(Clone, Debug)]
pub struct ContainerLimits {
    /// Bytes over all its memories. Default 256 MiB.
    pub memory: usize,
    /// Requests that wait in its mailbox; more are refused as busy. Default
    /// 1,024.
    pub mailbox: usize,
    /// Requests that it works on at a time; more wait in the mailbox. Default
    /// 256.
    pub concurrent: usize,
    /// Connections to it. Default 4,096.
    pub connections: usize,
    /// Resources (callers, references, workspaces, WASI handles) that it may
    /// hold. Default 65,536.
    pub resources: usize,
    /// How long it may compute without a pause before it is ended. Default
    /// 10 s; less when everybody who waits for it has given up.
    pub compute: Duration,
    /// How long it may take to start. Default 30 s.
    pub start: Duration,
    /// How long it may take to answer when it is asked to terminate. Default
    /// 5 s.
    pub terminate: Duration,
    /// It is pinged after this long without a sign of life. Default 10 s.
    pub silent: Duration,
    /// How long it may take to answer a ping. Default 5 s.
    pub ping: Duration,
    /// The deadline of its own requests when it names none. Default 30 s.
    pub request: Duration,
    /// Log lines a second, with a burst of ten times as many. Default 100.
    pub log_lines: u32,
    /// Bytes of one log line with its fields; longer ones are cut. Default
    /// 8 KiB.
    pub log_bytes: usize,
}

impl Default for ContainerLimits {
    fn default() -> Self {
        Self {
            memory: 256 * 1024 * 1024,
            mailbox: 1024,
            concurrent: 256,
            connections: 4096,
            resources: 65_536,
            compute: Duration::from_secs(10),
            start: Duration::from_secs(30),
            terminate: Duration::from_secs(5),
            silent: Duration::from_secs(10),
            ping: Duration::from_secs(5),
            request: Duration::from_secs(30),
            log_lines: 100,
            log_bytes: 8 * 1024,
        }
    }
}
