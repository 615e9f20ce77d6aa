//! What must be true after every step, and in the end.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_coordinator::registry::{Action, Input, Time, Token};
use hulynet_protocol::{
    Call, Change, ContainerId, ContainerRecord, ContainerState, Epoch, GetOptions, Kind,
    NetworkEvent, Reply, Snapshot, Target,
};

use crate::{
    client::PATIENCE,
    coordinator::LEASE,
    link::Role,
    names::{self, container, singleton},
    plan::UUIDS,
    random::nth,
    world::World,
};

/// What a watcher believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    revision: u64,
    containers: BTreeMap<ContainerId, Epoch>,
    agents: BTreeSet<String>,
}

impl Mirror {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        Self {
            revision: snapshot.revision,
            containers: snapshot.containers.iter().map(|r| (r.id.clone(), r.epoch)).collect(),
            agents: snapshot.agents.iter().map(|a| a.endpoint.agent.to_string()).collect(),
        }
    }

    /// Takes an event in; `false` when some are missing before it.
    pub(crate) fn apply(&mut self, event: &NetworkEvent) -> Result<bool, String> {
        if event.revision <= self.revision {
            return Ok(true);
        }
        if event.since > self.revision {
            return Ok(false);
        }
        self.revision = event.revision;
        let told = match &event.change {
            Change::AgentAdded(record) => self.agents.insert(record.endpoint.agent.to_string()),
            Change::AgentUpdated(record) => self.agents.contains(record.endpoint.agent.as_str()),
            Change::AgentRemoved(id) => self.agents.remove(id.as_str()),
            Change::ContainerAdded(record) => {
                self.containers.insert(record.id.clone(), record.epoch).is_none()
            }
            Change::ContainerUpdated(record) => {
                self.containers.insert(record.id.clone(), record.epoch).is_some()
            }
            Change::ContainerRemoved { id, .. } => self.containers.remove(id).is_some(),
        };
        if told { Ok(true) } else { Err(format!("{event:?} contradicts what was told before")) }
    }
}

impl World {
    /// The coordinator gave an activation out.
    pub(crate) fn granted(&mut self, record: &ContainerRecord) {
        if record.endpoint.address.is_none() {
            self.fail("endpoint", format!("{} has no address", record.id));
        }
        let agent = record.endpoint.agent.clone();
        let all = self.grants.entry(record.id.clone()).or_default();
        let before = all.insert(record.epoch, agent.clone());
        if let Some(before) = before.filter(|before| *before != agent) {
            self.fail(
                "epoch",
                format!("{} was {} on {before} and on {agent}", record.id, record.epoch),
            );
        }
        // One coordinator never goes back. The next one may, when everybody who
        // knew better is gone: see `client` for what those who are left see.
        let node = self.coordinator.as_mut().map(|node| &mut node.newest);
        if let Some(newest) = node.and_then(|newest| newest.insert(record.id.clone(), record.epoch))
            && record.epoch < newest
        {
            let what = format!("{} went back from {newest} to {}", record.id, record.epoch);
            self.fail("back", what);
        }
    }

    /// After every event: at most one activation of each container serves.
    pub(crate) fn check(&mut self) {
        self.check_answers();
        let mut serving: BTreeMap<&ContainerId, (Epoch, usize)> = BTreeMap::new();
        let mut wrong = None;
        for (index, peer) in self.peers.iter().enumerate() {
            let Role::Agent(agent) = &peer.role else { continue };
            if !peer.alive || peer.paused > self.now {
                continue;
            }
            let local = peer.clock.instant(self.now);
            for container in agent.containers.values() {
                let id = &container.activation.id;
                let epoch = container.activation.epoch;
                let given = self.grants.get(id).is_some_and(|all| all.contains_key(&epoch));
                let target = Target { id: id.clone(), epoch: Some(epoch) };
                if !given || agent.table.locate(local, &target).is_err() {
                    continue;
                }
                if let Some((other, there)) = serving.insert(id, (epoch, index)) {
                    wrong = Some(format!("{id} serves as {other} on {there}, {epoch} on {index}"));
                }
            }
        }
        if let Some(what) = wrong {
            self.fail("one", what);
        }
    }

    /// No request waits longer than its asker.
    fn check_answers(&mut self) {
        let now = self.now;
        let old = self.coordinator.as_ref().and_then(|node| {
            node.tokens.iter().find(|(_, token)| now - token.2 > 38_000_000).map(|(t, _)| *t)
        });
        if let Some(token) = old {
            self.fail("ends", format!("the coordinator does not answer {token}"));
        }
    }

    /// A get by labels is answered with one of the containers that run now.
    pub(crate) fn expect_labelled(&mut self, token: u64, call: &Call) {
        let Call::Get { kind, options } = call else { return };
        if options.uuid.is_some() || options.labels.is_empty() {
            return;
        }
        let mut running = self.records();
        running.retain(|record| {
            record.id.kind == *kind
                && record.state == ContainerState::Running
                && options.labels.iter().all(|pair| record.labels.iter().any(|has| has == pair))
        });
        let ids: Vec<ContainerId> = running.into_iter().map(|record| record.id).collect();
        self.labelled = (token, ids);
    }

    pub(crate) fn check_labelled(&mut self, token: u64, given: &ContainerId) {
        let (asked, running) = &self.labelled;
        if *asked == token && !running.is_empty() && !running.contains(given) {
            let what = format!("{given} was given though {running:?} run");
            self.fail("labels", what);
        }
    }

    /// Every container is asked for, and every get succeeds.
    pub(crate) fn get_everything(&mut self) {
        self.quiet = true;
        let clients: Vec<usize> =
            (0..self.peers.len()).filter(|peer| self.client(*peer).is_some()).collect();
        for uuid in 0..UUIDS {
            let ContainerId { kind, uuid: name } = container(uuid);
            let options = GetOptions { uuid: Some(name), ..GetOptions::default() };
            if let Some(client) = nth(&clients, uuid) {
                self.get(*client, kind, options);
            }
        }
    }

    /// Every handle is used once.
    pub(crate) fn use_everything(&mut self) {
        for peer in 0..self.peers.len() {
            let held = self.client(peer).map(|client| client.held()).unwrap_or_default();
            for id in held {
                self.request(peer, id);
            }
        }
    }

    pub(crate) fn drop_everything(&mut self) {
        for peer in 0..self.peers.len() {
            let client = self.client(peer);
            let open: Vec<u64> =
                client.map(|c| c.connections.keys().copied().collect()).unwrap_or_default();
            for number in open {
                self.close(peer, number);
            }
            while self.client(peer).is_some_and(|client| !client.handles.is_empty()) {
                self.drop_one(peer, 0);
            }
        }
    }

    /// What the registry says of itself.
    fn ask(&mut self, call: Call) -> Option<Reply> {
        let token = Token(self.number());
        let now = self.now;
        let node = self.coordinator.as_mut()?;
        let client = names::probe();
        let time = node.registry.next_timeout().unwrap_or_default().min(Time::default());
        let _ = now;
        let mut answer = None;
        let mut take = |node: &mut crate::coordinator::Coordinator| {
            while let Some(action) = node.registry.poll_action() {
                if let Action::Answer { token: answered, result } = action
                    && answered == token
                {
                    answer = result.ok();
                }
            }
        };
        let joined =
            Input::ClientJoined { client: client.clone(), alive_timeout: LEASE, resumed: false };
        node.registry.handle(time, joined);
        take(node);
        node.registry.handle(time, Input::Request { client: client.clone(), token, call });
        take(node);
        node.registry.handle(time, Input::ClientLeft(client));
        take(node);
        answer
    }

    fn records(&mut self) -> Vec<ContainerRecord> {
        let call = Call::List { kind: None, select: Default::default() };
        match self.ask(call) {
            Some(Reply::Containers(records)) => records,
            _ => Vec::new(),
        }
    }

    /// All is quiet: what is referenced runs, and only that.
    pub(crate) fn check_held(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let now = self.now;
        let mut holders: BTreeMap<ContainerId, BTreeSet<usize>> = BTreeMap::new();
        for index in 0..self.peers.len() {
            let Some(client) = self.client(index) else { continue };
            // A client whose container's uuid belongs to another kind by now asks
            // for it again and again, and is answered every time.
            let old = |job: &&crate::client::Job| job.deadline < now + PATIENCE - 10_000_000;
            let jobs = client.jobs.values().filter(old).count();
            let requests: Vec<_> = client.requests.values().map(|r| r.id.to_string()).collect();
            for id in client.held() {
                holders.entry(id).or_default().insert(index);
            }
            if jobs + requests.len() > 0 {
                let what = format!("client {index} waits for {jobs} calls and for {requests:?}");
                return self.fail("ends", what);
            }
        }
        let records = self.records();
        // A uuid that became another kind's is refused for good.
        let taken = |id: &ContainerId| {
            records.iter().any(|record| record.id.uuid == id.uuid && record.id.kind != id.kind)
        };
        for (id, clients) in holders.iter().filter(|(id, _)| !taken(id)) {
            let record = records.iter().find(|record| record.id == *id);
            let Some(record) = record.filter(|r| r.state == ContainerState::Running) else {
                return self.fail("runs", format!("{id} is held by {clients:?}: {record:?}"));
            };
            if record.holders != clients.len() as u64 {
                let what = format!("{id}: {} references, held by {clients:?}", record.holders);
                return self.fail("count", what);
            }
        }
        let unused = records.iter().find(|r| !holders.contains_key(&r.id) && r.id != singleton());
        if let Some(record) = unused {
            return self.fail("unused", format!("nobody holds {record:?}"));
        }
        self.check_agents(&records);
        self.check_watchers();
    }

    /// What runs on agents is what the registry says.
    fn check_agents(&mut self, records: &[ContainerRecord]) {
        let mut wrong = None;
        for peer in self.peers.iter() {
            let Role::Agent(agent) = &peer.role else { continue };
            for container in agent.containers.values() {
                let activation = &container.activation;
                let known = records.iter().any(|record| {
                    record.id == activation.id
                        && record.epoch == activation.epoch
                        && record.endpoint.agent == agent.id
                });
                if !known {
                    let (id, epoch) = (&activation.id, activation.epoch);
                    wrong = Some(format!("{id} {epoch} runs on {} unknown", agent.id));
                }
            }
            for record in records.iter().filter(|record| record.endpoint.agent == agent.id) {
                let there = agent.containers.values().any(|container| {
                    container.activation.id == record.id
                        && container.activation.epoch == record.epoch
                });
                if !there {
                    wrong = Some(format!("{} does not run where it should", record.id));
                }
            }
        }
        if let Some(what) = wrong {
            self.fail("stray", what);
        }
        let single = records.iter().find(|record| record.id == singleton());
        let runs = single.is_some_and(|record| record.state == ContainerState::Running);
        if self.settings.has_singleton() != runs {
            self.fail("singleton", format!("{single:?}"));
        }
        let agents = match self.ask(Call::Agents) {
            Some(Reply::Agents(agents)) => agents.len(),
            _ => 0,
        };
        if agents != self.settings.agents {
            self.fail("agents", format!("{agents} agents are registered"));
        }
        let Some(Reply::Kinds(kinds)) = self.ask(Call::Kinds) else { return };
        let each: BTreeSet<&Kind> = kinds.iter().collect();
        if each.len() != kinds.len() {
            self.fail("kinds", format!("{kinds:?}"));
        }
    }

    fn check_watchers(&mut self) {
        let Some(Reply::Snapshot(snapshot)) = self.ask(Call::Watch) else { return };
        let truth = Mirror::new(&snapshot);
        for index in 0..self.peers.len() {
            let mirror = self.client(index).and_then(|client| client.mirror.clone());
            if let Some(mirror) = mirror
                && mirror != truth
            {
                return self.fail("watch", format!("{index} sees {mirror:?}, not {truth:?}"));
            }
        }
    }

    /// Nobody holds anything: nothing runs.
    pub(crate) fn check_empty(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let records = self.records();
        if let Some(record) = records.iter().find(|record| record.id != singleton()) {
            return self.fail("unused", format!("nobody holds {record:?}"));
        }
        self.check_agents(&records);
        self.check_watchers();
    }
}
