//! The state of one container on the host's side, in its store.

use std::{sync::Arc, time::Instant};

use hulynet_agent_kinds::{ContainerLimits, Grants, Terms};
use hulynet_protocol::{ACCOUNT, AccountId, Activation, AgentId};
use hulynet_store::Documents;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::{
    CallerHandle, Connections, Pools, Serving, Share, Usage, environment, http::Http, log::Gate,
    memory::MemoryLimit, output::Output, paths::Paths, random,
};
use crate::{
    container::{Meter, Threads},
    engine::{Clock, Places},
    network::Network,
};

/// What containers are made with: what all of an agent share, and the terms of
/// their kind and tenant.
#[derive(Clone)]
pub(crate) struct Services {
    /// The agent.
    pub(crate) agent: AgentId,
    /// Other containers.
    pub(crate) network: Arc<dyn Network>,
    /// The documents of all workspaces.
    pub(crate) documents: Arc<dyn Documents>,
    /// Of each container.
    pub(crate) limits: ContainerLimits,
    /// What it may do.
    pub(crate) terms: Terms,
    /// What the operator says of all kinds.
    pub(crate) grants: Arc<Grants>,
    /// What they compute on.
    pub(crate) threads: Threads,
    /// What moves on while they do.
    pub(crate) clock: Clock,
    /// The memory of all of them.
    pub(crate) memory: Arc<Pools>,
    /// The memory maps of all of them.
    pub(crate) places: Arc<Places>,
}

/// The state of one container.
pub(crate) struct Context {
    pub(crate) activation: Arc<Activation>,
    pub(crate) services: Arc<Services>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) table: ResourceTable,
    pub(crate) meter: Meter,
    pub(crate) log: Gate,
    pub(crate) memory: MemoryLimit,
    /// What it has open.
    pub(crate) usage: Arc<Usage>,
    /// The requests in progress that others wait for, and who waits.
    pub(crate) paths: Paths,
    /// What it works on, when it does one thing at a time.
    pub(crate) serving: Option<Serving>,
    /// Made when the container first uses it, as the rest of WASI: most never
    /// do, and it takes a seed and several allocations.
    pub(super) http: Option<Box<Http>>,
    wasi: Option<Box<WasiCtx>>,
}

impl Context {
    /// A fresh one.
    pub(crate) fn new(
        activation: Arc<Activation>,
        services: Arc<Services>,
        connections: Arc<Connections>,
        usage: Arc<Usage>,
        share: Share,
    ) -> Self {
        let limits = &services.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let log = Gate::new(activation.clone(), limits, Instant::now());
        let memory = MemoryLimit::new(limits.memory, share, usage.clone());
        Self {
            meter: Meter::new(limits.compute),
            activation,
            connections,
            table,
            log,
            memory,
            usage,
            paths: Paths::default(),
            serving: None,
            http: None,
            wasi: None,
            services,
        }
    }

    /// What it may use.
    pub(crate) fn limits(&self) -> &ContainerLimits {
        &self.services.limits
    }

    /// For whom the container acts: the caller that it serves, or its own
    /// account.
    pub(crate) fn account(
        &self,
        on_behalf: Option<&Resource<CallerHandle>>,
    ) -> wasmtime::Result<Option<AccountId>> {
        Ok(match on_behalf {
            Some(caller) => self.table.get(caller)?.caller.account.clone(),
            None => self.own_account(),
        })
    }

    /// The account that the container was started for.
    pub(crate) fn own_account(&self) -> Option<AccountId> {
        let account = self.activation.labels.get(ACCOUNT)?;
        AccountId::new(account).ok()
    }
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| Box::new(wasi(&self.services.terms, &self.log)));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// Clocks, random numbers and variables; what the container prints becomes log
/// lines.
fn wasi(terms: &Terms, log: &Gate) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    wasi.allow_tcp(false)
        .allow_udp(false)
        .stdout(Output::new(log.clone()))
        .stderr(Output::new(log.clone()));
    environment::give(&mut wasi, terms);
    random::give(&mut wasi);
    wasi.build()
}
