//! Agents of the original network: what they bring, what they are asked, and
//! what they answer.

use bytes::Bytes;
use hulynet_backrpc::{
    back,
    calls::Register,
    records::{AgentEvent, Change},
};
use hulynet_protocol::{
    AgentId, Call, ContainerId, Endpoint, Epoch, Labels, Load, NetworkError, Registration,
    StartContainer,
};

use super::{Asked, Desk, Wish};
use crate::registry::{Input, Registry};

impl Desk {
    /// A registration. Which containers are the agent's own the registry
    /// decides, by the epochs that it gives them here.
    pub(super) fn register(&mut self, registry: &Registry, register: Register) -> Asked {
        let agent = register.agent.clone();
        if self.agents.contains_key(&agent) {
            let (id, kinds, event) = (agent.clone(), register.kinds.clone(), Change::Updated);
            self.events.agents.push(AgentEvent { id, kinds, event });
        }
        self.learn_original(&register);
        let brought: Vec<ContainerId> = register.containers.iter().map(identity).collect();
        let containers = registry.activations(&agent, brought);
        let (mut offers, mut records) = (Vec::new(), Vec::new());
        for (activation, record) in containers.iter().zip(register.containers) {
            if self.is_offered(&agent, &activation.id) {
                offers.push(activation.id.clone());
            }
            if activation.epoch != Epoch::default() {
                records.push(record);
            }
        }
        for record in records {
            self.learn_brought(record);
        }
        let registration = Registration {
            endpoint: Endpoint { agent, address: None },
            kinds: register.kinds,
            labels: Labels::new(),
            containers,
            load: Load::default(),
            offers,
            doubtful: Vec::new(),
        };
        Asked::Registry(Call::Register(registration), Wish::Registered)
    }

    /// A container that an agent brings as another one does, or again after it
    /// was asked to end it, is a singleton: the agent keeps it ready for good.
    fn is_offered(&self, agent: &AgentId, id: &ContainerId) -> bool {
        let own = self.agents.get(agent).and_then(|agent| agent.original.as_ref());
        own.is_some_and(|own| own.offered.contains(&id.uuid))
            || self
                .agents
                .iter()
                .filter(|(other, _)| *other != agent)
                .filter_map(|(_, other)| other.original.as_ref())
                .any(|other| other.brought.contains(&id.uuid))
    }

    /// What an agent is asked in order to start a container.
    ///
    /// # Errors
    /// `InvalidArguments` when it cannot be asked for it.
    pub fn start(
        registry: &Registry,
        agent: &AgentId,
        container: &StartContainer,
    ) -> Result<Bytes, NetworkError> {
        let StartContainer { id, labels, extra, .. } = container;
        // Whoever named nothing takes what the agent has.
        let uuid = (!registry.is_shared(agent, id)).then_some(&id.uuid);
        back::get(agent, &id.kind, uuid, labels, extra)
    }

    /// What came of it, for the registry.
    pub fn started(
        &mut self,
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
        answer: Result<Result<Bytes, Bytes>, NetworkError>,
    ) -> Input {
        match answer.and_then(back::given) {
            Ok((given, reference)) => {
                self.references.insert(given.clone(), (agent.clone(), reference));
                Input::Given { agent, id, epoch, given }
            }
            Err(error) => Input::Started { agent, id, epoch, result: Err(error) },
        }
    }

    /// The failure of a start is being handled: its cause is told to those who
    /// waited for it, as the original does.
    pub fn failing(&mut self, cause: Option<&NetworkError>) {
        self.failure = cause.map(|cause| cause.message.clone());
    }

    /// What an agent is asked in order to end a container.
    pub fn terminate(&mut self, agent: &AgentId, id: &ContainerId) -> Bytes {
        let original = self.agents.get_mut(agent).and_then(|agent| agent.original.as_mut());
        if let Some(original) = original {
            original.ends(&id.uuid);
        }
        back::terminate(agent, &id.uuid)
    }
}

fn identity(container: &hulynet_backrpc::records::Brought) -> ContainerId {
    ContainerId { kind: container.kind.clone(), uuid: container.uuid.clone() }
}
