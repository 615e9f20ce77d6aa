//! Requests to registry calls, and answers to JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use hulynet_backrpc::{
    calls::{Get, Send, ToCoordinator},
    endpoints,
    records::{AgentRecord, write},
};
use hulynet_protocol::{
    AgentId, Call, Change, ContainerId, ContainerRecord, ContainerState, ErrorKind, GetOptions,
    Kind, NetworkError, Reply, Selector, Target, Uuid,
};

use super::Desk;
use crate::registry::{Registry, Route};

/// What a request comes to.
#[derive(Debug)]
pub enum Asked {
    /// Ask the registry; its answer is for [`Desk::answer`].
    Registry(Call, Wish),
    /// Pass it on to a container.
    Send(Sending),
    /// Have it sent again soon: the container is on its way.
    Later,
    /// Answer with this JSON.
    Answer(Bytes),
    /// Answer with this error.
    Refuse(String),
}

/// How the answer of the registry is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Which containers the agent must end.
    Registered,
    /// `"ok"`.
    Done,
    /// All agents.
    Agents,
    /// All containers of a list.
    Containers,
    /// A container of this kind.
    Container(Kind),
}

/// A request on its way to a container.
#[derive(Debug)]
pub struct Sending {
    /// The container.
    pub id: ContainerId,
    /// Where it lives.
    pub route: Route,
    /// The operation.
    pub operation: String,
    /// Its argument.
    pub data: Bytes,
}

impl Desk {
    /// Translates a request.
    pub fn ask(&mut self, registry: &Registry, body: &Bytes) -> Asked {
        let call = match ToCoordinator::read(body) {
            Ok(call) => call,
            Err(refusal) => return Asked::Refuse(refusal.0),
        };
        match call {
            ToCoordinator::Register(register) => self.register(registry, register),
            ToCoordinator::Unregister(agent) => {
                Asked::Registry(Call::Unregister(agent), Wish::Done)
            }
            ToCoordinator::Agents => Asked::Registry(Call::Agents, Wish::Agents),
            ToCoordinator::Kinds => Asked::Answer(self.kinds(registry)),
            ToCoordinator::List(kind) => {
                let select = Selector::default();
                Asked::Registry(Call::List { kind, select }, Wish::Containers)
            }
            ToCoordinator::Get(get) => Self::get(registry, get),
            ToCoordinator::Release(uuid) => match registry.identity(&uuid) {
                Some(id) => Asked::Registry(Call::Release(id.clone()), Wish::Done),
                None => Asked::Answer(ok()),
            },
            ToCoordinator::Send(send) => Self::send(registry, send),
        }
    }

    /// A uuid is enough: the kind of the container that has it is not asked.
    fn get(registry: &Registry, get: Get) -> Asked {
        let Get { kind: wanted, uuid, labels, extra } = get;
        let known = uuid.as_ref().and_then(|uuid| registry.identity(uuid));
        let kind = known.map_or_else(|| wanted.clone(), |known| known.kind.clone());
        let options = GetOptions { uuid, labels, extra, ..GetOptions::default() };
        Asked::Registry(Call::Get { kind, options }, Wish::Container(wanted))
    }

    fn send(registry: &Registry, send: Send) -> Asked {
        let Send { container, operation, data } = send;
        if registry.is_coming(&container) {
            return Asked::Later;
        }
        let Some(id) = registry.identity(&container).cloned() else {
            return Asked::Refuse(format!("Container {container} not found"));
        };
        match registry.route(&Target { id: id.clone(), epoch: None }) {
            Ok(route) => Asked::Send(Sending { id, route, operation, data }),
            Err(error) => Asked::Refuse(error.message),
        }
    }

    /// Writes an answer of the registry.
    ///
    /// # Errors
    /// The text of the error.
    pub fn answer(
        &self,
        registry: &Registry,
        wish: &Wish,
        answer: Result<Reply, NetworkError>,
    ) -> Result<Bytes, String> {
        let reply = answer.map_err(|error| self.failed(wish, error))?;
        Ok(match (wish, reply) {
            (Wish::Registered, Reply::Registered(registered)) => {
                let all: Vec<&Uuid> = registered.terminate.iter().map(|(id, _)| &id.uuid).collect();
                write(&all)
            }
            (Wish::Done, Reply::Done) => ok(),
            (Wish::Agents, Reply::Agents(agents)) => self.agents(agents),
            (Wish::Containers, Reply::Containers(records)) => self.list(registry, records),
            (Wish::Container(_), Reply::Container(record)) => {
                let uuid = &record.id.uuid;
                write(&(uuid, self.reference(&record.endpoint, uuid)))
            }
            (_, reply) => return Err(format!("the registry answered out of place: {reply:?}")),
        })
    }

    /// The texts of the original where it has one.
    fn failed(&self, wish: &Wish, error: NetworkError) -> String {
        match (wish, error.kind) {
            (Wish::Container(kind), ErrorKind::UnknownKind) => {
                format!("No suitable agents found for container {kind}")
            }
            (Wish::Container(kind), ErrorKind::StartFailed) => {
                let cause = self.failure.as_ref().unwrap_or(&error.message);
                format!("Failed to get endpoint for container {kind}: {cause}")
            }
            _ => error.message,
        }
    }

    /// In order of registration, each once.
    fn kinds(&self, registry: &Registry) -> Bytes {
        let mut agents: Vec<_> = self.agents.values().collect();
        agents.sort_by_key(|agent| agent.order);
        let new = registry.untold().filter_map(|change| match change {
            Change::AgentAdded(record) => Some(&record.kinds),
            _ => None,
        });
        let mut kinds: Vec<&Kind> = Vec::new();
        for kind in agents.into_iter().map(|agent| &agent.kinds).chain(new).flatten() {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        write(&kinds)
    }

    /// In order of registration.
    fn agents(&self, records: Vec<hulynet_protocol::AgentRecord>) -> Bytes {
        let order = |agent: &AgentId| self.agents.get(agent).map_or(u64::MAX, |known| known.order);
        let mut records = records;
        records.sort_by_key(|record| order(&record.endpoint.agent));
        let translated = |record: hulynet_protocol::AgentRecord| {
            let agent = record.endpoint.agent;
            let known = self.agents.get(&agent);
            let endpoint = match known.and_then(|known| known.original.as_ref()) {
                Some(original) => original.endpoint.clone(),
                None => Some(endpoints::to_agent(&agent, record.endpoint.address.as_deref())),
            };
            let kinds = known.map_or(record.kinds, |known| known.kinds.clone());
            AgentRecord { agent, endpoint, kinds, containers: record.containers }
        };
        write(&records.into_iter().map(translated).collect::<Vec<_>>())
    }

    /// In the order in which they came.
    fn list(&self, registry: &Registry, mut records: Vec<ContainerRecord>) -> Bytes {
        // What is being started is not there yet.
        records.retain(|record| record.state != ContainerState::Starting);
        let untold = registry.untold().filter_map(|change| match change {
            Change::ContainerAdded(record) => Some(&record.id.uuid),
            _ => None,
        });
        let untold: BTreeMap<&Uuid, u64> = untold.zip(self.order + 1..).collect();
        let order = |uuid: &Uuid| match self.containers.get(uuid) {
            Some(known) => known.order,
            None => untold.get(uuid).copied().unwrap_or(u64::MAX),
        };
        records.sort_by_key(|record| order(&record.id.uuid));
        let translated =
            |record: &ContainerRecord| self.record(record, registry.extra(&record.id.uuid));
        write(&records.iter().map(translated).collect::<Vec<_>>())
    }
}

fn ok() -> Bytes {
    Bytes::from_static(b"\"ok\"")
}
