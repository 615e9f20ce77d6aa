//! How a client is set up.

use std::{sync::Arc, time::Duration};

use hulynet_bus::{Bus, Secret};
use hulynet_protocol::{AccountId, Caller, ClientId, ErrorKind, NetworkError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agents::Agents,
    client::Client,
    connections::Connections,
    coordinator::{self, Coordinator},
    driver,
    held::Held,
    shared::{Settings, Shared, Traces},
    watch::Watchers,
};

/// Sets up a [`Client`]; made by [`Client::builder`].
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    direct: bool,
    bus: Option<Bus>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            id: ClientId::random(),
            caller: Caller::default(),
            request_timeout: Duration::from_secs(30),
            alive_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(1),
            hello_timeout: Duration::from_secs(1),
            goodbye_timeout: Duration::from_secs(1),
            secret: None,
        };
        Self { settings, direct: true, bus: None }
    }

    /// In whose name requests are made. Default: nobody's.
    #[must_use]
    pub fn account(mut self, account: AccountId) -> Self {
        self.settings.caller = Caller::outside(Some(account));
        self
    }

    /// The client's name in the network. Default: a random one. Two live
    /// clients must not share one.
    #[must_use]
    pub fn id(mut self, id: ClientId) -> Self {
        self.settings.id = id;
        self
    }

    /// How long a call may take, its repetitions included. Default: 30 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// The client's lease: silent for longer, it counts as lost and what it
    /// holds is released. A short one frees containers of dead clients sooner,
    /// a long one outlasts longer interruptions. Default: 3 s.
    #[must_use]
    pub fn alive_timeout(mut self, timeout: Duration) -> Self {
        self.settings.alive_timeout = timeout;
        self
    }

    /// How often the lease is renewed; several times per alive timeout.
    /// Default: 1 s.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.settings.ping_interval = interval;
        self
    }

    /// How long a new address has for its first hello: then requests to an
    /// agent go through the coordinator until it answers, and the next
    /// coordinator is tried. Default: 1 s.
    #[must_use]
    pub fn hello_timeout(mut self, timeout: Duration) -> Self {
        self.settings.hello_timeout = timeout;
        self
    }

    /// How long the end of a connection, of a watch or of the client waits to
    /// be confirmed. What is not confirmed ends with the lease. Default: 1 s.
    #[must_use]
    pub fn goodbye_timeout(mut self, timeout: Duration) -> Self {
        self.settings.goodbye_timeout = timeout;
        self
    }

    /// The secret of the network: the client proves to coordinators and agents
    /// that it has it, and joins only those that prove the same. Default: none.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.settings.secret = Some(secret);
        self
    }

    /// `false` sends everything through the coordinator, for networks in which
    /// clients cannot reach agents. Slower. Default: `true`.
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Shares the bus thread of the program. Default: one of its own.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Connects to the first coordinator (`HOST:PORT`) that answers; the others
    /// are tried in turn when it is lost. Waits for one up to the request
    /// timeout.
    ///
    /// # Errors
    /// `InvalidArguments` without addresses; `Unavailable`, naming the
    /// addresses, when none answers in time.
    pub async fn connect(
        self,
        addresses: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Client, NetworkError> {
        let addresses: Vec<String> = addresses.into_iter().map(Into::into).collect();
        if addresses.is_empty() {
            return Err(NetworkError::refused(
                ErrorKind::InvalidArguments,
                "no coordinator address is given; name at least one HOST:PORT",
            ));
        }
        let bus = match self.bus {
            Some(bus) => bus,
            None => Bus::start("client").map_err(|error| {
                NetworkError::not_processed(
                    ErrorKind::Unavailable,
                    format!("the client's bus cannot start: {error}"),
                )
            })?,
        };
        let shared = Arc::new(Shared {
            settings: self.settings,
            bus,
            held: Held::default(),
            coordinator: Coordinator::new(addresses),
            agents: Agents::new(self.direct),
            connections: Connections::default(),
            watchers: Watchers::default(),
            traces: Traces::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let client = Client::new(Arc::clone(&shared));
        shared.tasks.spawn(coordinator::supervise(Arc::clone(&shared)));
        shared.tasks.spawn(driver::run(Arc::clone(&shared)));
        shared.coordinator.ready(shared.deadline()).await?;
        Ok(client)
    }
}
