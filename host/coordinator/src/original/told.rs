//! Events, in batches: every batch is written once for all peers.

use std::time::Duration;

use bytes::Bytes;
use hulynet_backrpc::records::{AgentEvent, Change as Told, ContainerEvent, write};
use hulynet_protocol::{AgentId, AgentRecord, Change, ContainerRecord, NetworkEvent};

use super::Desk;
use crate::registry::{Registry, Time};

/// How long what the registry does not tell waits for what it tells, so that
/// both travel together. Peers hear of everything within 20 ms.
const COLLECT: Duration = Duration::from_millis(10);

impl Desk {
    /// Takes in what the registry tells.
    pub fn observe(&mut self, now: Time, registry: &Registry, events: &[NetworkEvent]) {
        if !self.listens {
            return;
        }
        self.now = now;
        for event in events {
            match &event.change {
                Change::AgentAdded(record) => self.agent(record, Told::Added),
                Change::AgentUpdated(record) => self.agent(record, Told::Updated),
                Change::AgentRemoved(agent) => self.agent_removed(agent),
                Change::ContainerAdded(record) => self.container(registry, record, Told::Added),
                Change::ContainerUpdated(record) => self.container(registry, record, Told::Updated),
                Change::ContainerRemoved { id, .. } => {
                    self.references.remove(&id.uuid);
                    if let Some(known) = self.containers.remove(&id.uuid) {
                        let (container, event) = (known.record, Told::Removed);
                        self.events.containers.push(ContainerEvent { container, event });
                    }
                }
            }
        }
    }

    /// Takes note that something happened of which the registry may tell
    /// nothing, such as a registration that changes nothing for it.
    pub fn collect(&mut self, now: Time) {
        if !self.events.is_empty() && self.due.is_none() {
            self.due = Some(now + COLLECT);
        }
    }

    /// When to [`flush`](Self::flush), at the latest.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    /// What there is to tell everybody, since the last time: one text for all
    /// of them.
    pub fn flush(&mut self) -> Option<Bytes> {
        self.due = None;
        if self.events.is_empty() {
            return None;
        }
        Some(write(&std::mem::take(&mut self.events)))
    }

    fn agent(&mut self, record: &AgentRecord, event: Told) {
        let (id, kinds) = (record.endpoint.agent.clone(), self.learn_agent(record));
        let told = AgentEvent { id, kinds, event };
        // A registration was told already.
        if self.events.agents.last() != Some(&told) {
            self.events.agents.push(told);
        }
    }

    fn container(&mut self, registry: &Registry, record: &ContainerRecord, event: Told) {
        let container = self.learn_container(record, registry.extra(&record.id.uuid));
        self.events.containers.push(ContainerEvent { container, event });
    }

    /// Agents of the original take a singleton over when they hear that it is
    /// gone; so they are told, even when it is being started elsewhere.
    fn agent_removed(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        let (id, kinds, event) = (id.clone(), agent.kinds, Told::Removed);
        for uuid in agent.original.iter().flat_map(|original| &original.brought) {
            let others = self.agents.values().filter_map(|agent| agent.original.as_ref());
            let has_standby = others.into_iter().any(|other| other.brought.contains(uuid));
            if let Some(known) = self.containers.get(uuid).filter(|known| known.agent == id)
                && has_standby
            {
                let (container, event) = (known.record.clone(), Told::Removed);
                self.events.containers.push(ContainerEvent { container, event });
            }
        }
        self.events.agents.push(AgentEvent { id, kinds, event });
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{ClientId, Uuid};

    use super::*;
    use crate::{original::Asked, registry::RegistryConfig};

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// An agent that registers again and again, of which the registry tells
    /// nobody.
    struct Office {
        registry: Registry,
        desk: Desk,
    }

    impl Office {
        fn new() -> Self {
            let mut registry = Registry::new(RegistryConfig::default(), 1, Uuid::random);
            let mut desk = Desk::default();
            desk.begin(Time::default(), registry.observe());
            let mut office = Self { registry, desk };
            office.register();
            assert_eq!(office.desk.flush(), None, "the registry tells of it");
            office
        }

        fn register(&mut self) {
            let body =
                Bytes::from_static(br#"["ar",{"uuid":"a","kinds":["echo"],"containers":[]}]"#);
            let asked = self.desk.ask(&self.registry, &body);
            assert!(matches!(asked, Asked::Registry(..)), "{asked:?}");
        }
    }

    #[test]
    fn what_the_registry_does_not_tell_is_told_within_20_ms() {
        let mut office = Office::new();
        let (mut now, mut waiting, mut told) = (Time::default(), Vec::new(), 0);
        for tick in 0..10_000u32 {
            now = now + MILLISECOND;
            // Alone, and in storms that never pause for as long as it waits.
            if tick < 9_900 && (tick % 97 == 0 || tick % 500 < 100) {
                office.register();
                waiting.push(now);
            }
            office.desk.collect(now);
            if office.desk.due().is_some_and(|due| due <= now) {
                assert!(office.desk.flush().is_some());
                told += 1;
                for at in waiting.drain(..) {
                    assert!(now.since(at) <= 20 * MILLISECOND, "{:?}", now.since(at));
                }
            }
        }
        assert!(waiting.is_empty() && told > 100, "{} waiting, {told} told", waiting.len());
    }

    #[test]
    fn what_everybody_hears_is_written_once_and_in_one_text() {
        let mut office = Office::new();
        for peer in 0..50 {
            office.desk.joined(ClientId::new(format!("ts{peer}")).unwrap());
        }
        office.register();
        office.desk.collect(Time::default());
        let texts: Vec<_> = std::iter::from_fn(|| office.desk.flush()).collect();
        let once = r#"{"agents":[{"id":"a","kinds":["echo"],"event":1}],"containers":[]}"#;
        assert_eq!(texts, [once]);
        assert_eq!(office.desk.due(), None);
    }
}
