//! Moves inputs into the registry and its actions out; holds no decision.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hulynet_bus::{
    Guests, Incoming, Language, OriginalAnswer, Request, Responder, Response, Server,
};
use hulynet_protocol::{
    AgentId, Call, ClientId, ConnectionId, ContainerId, Epoch, ErrorKind, NetworkError, Reply,
    StartContainer, Target,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    CoordinatorConfig,
    connections::{Attempt, Connections},
    ears::Ears,
    original::{LATER, Originals, not_drained},
    watchers::Watchers,
};
use crate::registry::{Action, Input, Registry, Route, Time, Token};

/// How many results of calls may wait for the registry.
pub(crate) const RESULTS: usize = 1024;

/// What spawned tasks report.
#[derive(Debug)]
pub(crate) enum Report {
    /// Something for the registry.
    Input(Input),
    /// What an agent of the original answered when it was asked for a
    /// container.
    Given {
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
        answer: Result<OriginalAnswer, NetworkError>,
    },
    /// An attempt to make a proxied connection failed; perhaps the agent made
    /// it all the same.
    NotConnected { connection: ConnectionId, attempt: Attempt, perhaps_made: bool },
    /// A container on an agent of the original is not heard any more on a
    /// connection; the error, if any, is why it must not be made again.
    Unheard { connection: ConnectionId, attempt: Attempt, error: Option<NetworkError> },
    /// An agent was not told that a connection ended.
    NotEnded { agent: ClientId, connection: ConnectionId },
}

type Answer = Result<Reply, NetworkError>;

/// The task that owns the registry.
pub(crate) struct Driver {
    pub(crate) registry: Registry,
    pub(crate) config: CoordinatorConfig,
    pub(crate) server: Server,
    began: Instant,
    tokens: u64,
    /// Requests that were not answered at once.
    waiting: BTreeMap<Token, oneshot::Sender<Answer>>,
    /// The request that is being handled, until it is answered.
    current: Option<(Token, Responder)>,
    pub(crate) reports: mpsc::Sender<Report>,
    results: mpsc::Receiver<Report>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) connections: Connections,
    pub(crate) ears: Ears,
    pub(crate) guests: Guests,
    watchers: Watchers,
    pub(crate) originals: Originals,
}

impl Driver {
    pub(crate) fn new(registry: Registry, config: CoordinatorConfig, server: Server) -> Self {
        let (reports, results) = mpsc::channel(RESULTS);
        Self {
            registry,
            config,
            server,
            began: Instant::now(),
            tokens: 0,
            waiting: BTreeMap::new(),
            current: None,
            reports,
            results,
            tasks: JoinSet::new(),
            connections: Connections::default(),
            ears: Ears::default(),
            guests: Guests::default(),
            watchers: Watchers::default(),
            originals: Originals::default(),
        }
    }

    /// Runs until it is told to stop or the bus ends.
    pub(crate) async fn run(
        mut self,
        mut incoming: mpsc::Receiver<Incoming>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let now = Instant::now();
            let at = |time: Time| self.began + time.since(Time::default());
            let timeout = self.registry.next_timeout().map(at);
            let (again, telling) = (self.watchers.due(), self.originals.desk.due().map(at));
            tokio::select! {
                _ = &mut stopped => break,
                event = incoming.recv() => match event {
                    Some(event) => self.incoming(event),
                    None => break,
                },
                Some(report) = self.results.recv() => {
                    self.catch_up(&mut incoming);
                    self.report(report);
                }
                () = sleep_until(timeout.unwrap_or(now)), if timeout.is_some() => {
                    self.catch_up(&mut incoming);
                    self.registry.handle_timeout(self.now());
                    self.act();
                }
                () = sleep_until(again.unwrap_or(now)), if again.is_some() => {
                    let server = &self.server;
                    self.watchers.tell_again(Instant::now(), |to, event| server.broadcast(to, event));
                }
                () = sleep_until(telling.unwrap_or(now)), if telling.is_some() => {
                    self.tell_originals();
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
        // What waits is answered as not processed, what is on its way through
        // goes on until the server closes.
        self.waiting.clear();
        self.originals.clear();
        incoming.close();
        while let Some(event) = incoming.recv().await {
            match event {
                Incoming::Request(request) => request.responder.reply(Err(shutting_down())),
                Incoming::Original(request) => request.responder.put_off(LATER),
                _ => {}
            }
        }
        self.tasks.detach_all();
    }

    /// What had arrived before a result or a timeout comes before it: an
    /// agent's registration before the start that it answered later, a ping
    /// before the end of its lease.
    fn catch_up(&mut self, incoming: &mut mpsc::Receiver<Incoming>) {
        for _ in 0..incoming.len() {
            match incoming.try_recv() {
                Ok(event) => self.incoming(event),
                Err(_) => return,
            }
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time::after_start(self.began.elapsed())
    }

    fn incoming(&mut self, event: Incoming) {
        match event {
            Incoming::Joined { peer, role, language, alive_timeout, resumed } => {
                tracing::debug!(%peer, ?role, ?language, resumed, "peer joined");
                match language {
                    Language::Original => self.original_joined(peer.clone()),
                    Language::Native => self.originals.left(&peer),
                }
                self.settle(&peer);
                self.input(Input::ClientJoined { client: peer, alive_timeout, resumed });
            }
            Incoming::Alive(peer) => {
                self.settle(&peer);
                self.input(Input::ClientAlive(peer));
            }
            Incoming::Left { peer, lost } => {
                tracing::debug!(%peer, lost, "peer left");
                self.lose_peer(&peer);
                self.input(Input::ClientLeft(peer));
            }
            Incoming::Event { peer, event, payload } => {
                self.container_event(&peer, event, &payload);
            }
            Incoming::Request(request) => self.request(request),
            Incoming::Original(request) => self.original_request(request),
        }
    }

    fn request(&mut self, request: Request) {
        let Request { peer, call, payload, responder } = request;
        match call {
            Call::Container(call) => self.proxy(call, payload, responder),
            Call::Limits(target) => self.limits(target, responder),
            Call::Connect { target, connection, caller, flow } => {
                self.connect(peer, target, connection, caller, flow, responder);
            }
            Call::Credit { connection, credit } => {
                self.credit(&peer, connection, credit, responder);
            }
            Call::Disconnect { connection } => self.disconnect(&peer, connection, responder),
            Call::Disconnected { connection, error } => {
                self.disconnected(&peer, &connection, error, responder);
            }
            call => {
                let token = self.next_token();
                self.current = Some((token, responder));
                self.input(Input::Request { client: peer, token, call });
                if let Some((token, responder)) = self.current.take() {
                    self.answer_later(token, responder);
                }
            }
        }
    }

    pub(crate) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn answer_later(&mut self, token: Token, mut responder: Responder) {
        let (sender, answer) = oneshot::channel();
        self.waiting.insert(token, sender);
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            let answer = tokio::select! {
                biased;
                answer = answer => answer.unwrap_or_else(|_| Err(shutting_down())),
                () = responder.cancelled() => {
                    // A driver that is gone has forgotten the request.
                    let _gone = reports.send(Report::Input(Input::Cancelled(token))).await;
                    return;
                }
            };
            responder.reply(answer.map(|reply| (reply, Bytes::new())));
        });
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Input(input) => {
                if let Input::Cancelled(token) = &input {
                    self.waiting.remove(token);
                }
                self.input(input);
            }
            Report::Given { agent, id, epoch, answer } => self.given(agent, id, epoch, answer),
            Report::NotEnded { agent, connection } => {
                // With the session of an agent that is gone, all has ended there.
                if self.registry.knows(&agent) {
                    self.connections.owe(agent, connection);
                }
            }
            Report::Unheard { connection, attempt, error } => {
                self.unheard(connection, attempt, error);
            }
            Report::NotConnected { connection, attempt, perhaps_made } => {
                self.ears.end(&connection, attempt);
                let made = self.connections.failed(&connection, attempt, perhaps_made);
                if let Some(agent) = made {
                    self.end_at_agent(agent, connection);
                }
            }
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        if let Input::Started { result, .. } = &input {
            self.originals.desk.failing(result.as_ref().err());
        }
        self.registry.handle(self.now(), input);
        self.act();
        self.originals.desk.failing(None);
    }

    fn act(&mut self) {
        while let Some(action) = self.registry.poll_action() {
            match action {
                Action::Answer { token, result } => self.answer(token, result),
                Action::Start { peer, agent, container } => {
                    let StartContainer { id, epoch, .. } = container.clone();
                    tracing::info!(%id, %epoch, %agent, "starting");
                    if self.originals.desk.speaks(&peer) {
                        self.start_original(peer, agent, &container);
                        continue;
                    }
                    let timeout = self.config.registry.start_timeout;
                    self.ask(peer, Call::Start(container), timeout, move |answer| {
                        let result = answer.and_then(|reply| match reply {
                            Reply::Done => Ok(()),
                            other => Err(unexpected(&other)),
                        });
                        if let Err(error) = &result {
                            tracing::warn!(%id, %epoch, %agent, %error, "start failed");
                        }
                        Input::Started { agent, id, epoch, result }
                    });
                }
                Action::Terminate { peer, agent, id, epoch, force } => {
                    tracing::info!(%id, %epoch, %agent, force, "terminating");
                    if self.originals.desk.speaks(&peer) {
                        self.terminate_original(peer, agent, id, epoch);
                        continue;
                    }
                    let target = Target { id: id.clone(), epoch: Some(epoch) };
                    let timeout = self.config.registry.terminate_timeout;
                    self.ask(peer, Call::Terminate { target, force }, timeout, move |answer| {
                        let result = answer.and_then(|reply| match reply {
                            Reply::Terminated(ended) => Ok(ended),
                            other => Err(unexpected(&other)),
                        });
                        Input::Terminated { agent, id, epoch, result }
                    });
                }
                Action::Drain { token, peer, agent, drain } => {
                    if self.originals.desk.speaks(&peer) {
                        let result = Err(not_drained(&agent));
                        self.report_later(Input::Drained { token, agent, result });
                        continue;
                    }
                    tracing::info!(%agent, drain, "draining");
                    let timeout = self.config.registry.terminate_timeout;
                    let call = Call::Drain { agent: agent.clone(), drain };
                    self.ask(peer, call, timeout, move |answer| {
                        let result = answer.and_then(|reply| match reply {
                            Reply::Load(load) => Ok(load),
                            other => Err(unexpected(&other)),
                        });
                        Input::Drained { token, agent, result }
                    });
                }
                Action::Notify { clients, events } => {
                    self.originals.desk.observe(self.now(), &self.registry, &events);
                    self.tell_originals();
                    self.follow(&events);
                    let server = &self.server;
                    self.watchers.tell(Instant::now(), clients, events, |to, event| {
                        server.broadcast(to, event)
                    });
                }
                Action::Forget(client) => {
                    tracing::info!(%client, "lease ended");
                    self.lose_peer(&client);
                    self.server.forget(&client);
                }
            }
        }
        self.originals.desk.collect(self.now());
    }

    fn answer(&mut self, token: Token, result: Answer) {
        if self.is_original(token) {
            return self.answer_original(token, result);
        }
        match self.current.take_if(|(current, _)| *current == token) {
            Some((_, responder)) => responder.reply(result.map(|reply| (reply, Bytes::new()))),
            None => {
                if let Some(waiting) = self.waiting.remove(&token) {
                    // Whoever gave up in this moment is reported as cancelled.
                    let _gone = waiting.send(result);
                }
            }
        }
    }

    /// Asks an agent and hands its answer to the registry.
    fn ask(
        &mut self,
        peer: ClientId,
        call: Call,
        timeout: Duration,
        input: impl FnOnce(Answer) -> Input + Send + 'static,
    ) {
        let (server, reports) = (self.server.clone(), self.reports.clone());
        self.tasks.spawn(async move {
            let answer = server.call(&peer, call, Bytes::new(), timeout).await;
            let input = input(answer.map(|Response { reply, .. }| reply));
            // A driver that is gone needs no answers.
            let _gone = reports.send(Report::Input(input)).await;
        });
    }

    /// For what is known at once, while other actions wait.
    fn report_later(&mut self, input: Input) {
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            // A driver that is gone needs no answers.
            let _gone = reports.send(Report::Input(input)).await;
        });
    }

    pub(crate) fn route(&self, target: &Target) -> Result<Route, NetworkError> {
        self.registry.route(target)
    }

    pub(crate) fn forget_watcher(&mut self, peer: &ClientId) {
        self.watchers.forget(peer);
    }
}

fn unexpected(reply: &Reply) -> NetworkError {
    NetworkError::maybe_processed(
        ErrorKind::Protocol,
        format!("the agent answered out of place: {reply:?}"),
    )
}

pub(crate) fn shutting_down() -> NetworkError {
    NetworkError::not_processed(ErrorKind::Unavailable, "the coordinator is shutting down")
}
