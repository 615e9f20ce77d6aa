//! Peers of the original network on the bus.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hulynet_backrpc::{back, json};
use hulynet_bus::{Body, OriginalAnswer, OriginalRequest, OriginalResponder, Responder, Response};
use hulynet_protocol::{
    AgentId, Call, Caller, ClientId, ContainerCall, ContainerId, Epoch, ErrorKind, NetworkError,
    Reply, StartContainer, Target, limits,
};

use super::driver::{Driver, Report};
use crate::{
    original::{Asked, Desk, Sending, Wish},
    registry::{Input, Token},
};

/// How long a request may take whose peer sets no limit. Longer than anybody
/// waits; it bounds what a silent container can hold.
const PATIENCE: Duration = Duration::from_secs(3600);

/// After how many ticks of its own a peer sends again what came too early.
pub(crate) const LATER: usize = 2;

/// What the driver keeps for them.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    pub(crate) desk: Desk,
    waiting: BTreeMap<Token, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    peer: ClientId,
    wish: Wish,
    responder: OriginalResponder,
}

impl Originals {
    /// A peer is gone; nobody waits for what it asked.
    pub(crate) fn left(&mut self, peer: &ClientId) {
        if !self.desk.speaks(peer) {
            return;
        }
        self.desk.left(peer);
        self.waiting.retain(|_, waiting| waiting.peer != *peer);
    }

    /// Nothing is answered any more: who waits asks again, the next
    /// coordinator perhaps.
    pub(crate) fn clear(&mut self) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            waiting.responder.put_off(LATER);
        }
    }
}

impl Driver {
    pub(crate) fn original_joined(&mut self, peer: ClientId) {
        if !self.originals.desk.listens() {
            let snapshot = self.registry.observe();
            self.originals.desk.begin(self.now(), snapshot);
        }
        self.originals.desk.joined(peer);
    }

    pub(crate) fn original_request(&mut self, request: OriginalRequest) {
        let OriginalRequest { peer, body, responder } = request;
        if !self.registry.is_living(&peer) {
            // The bus is about to forget its session, and then revives it.
            return responder.put_off(LATER);
        }
        match self.originals.desk.ask(&self.registry, &body) {
            Asked::Registry(call, wish) => {
                let token = self.next_token();
                let waiting = Waiting { peer: peer.clone(), wish, responder };
                self.originals.waiting.insert(token, waiting);
                self.input(Input::Request { client: peer, token, call });
            }
            Asked::Send(sending) => self.send_original(sending, responder),
            Asked::Later => responder.put_off(LATER),
            Asked::Answer(result) => responder.reply(result),
            Asked::Refuse(why) => responder.refuse(&why),
        }
    }

    /// Whether a request came from a peer of the original.
    pub(crate) fn is_original(&self, token: Token) -> bool {
        self.originals.waiting.contains_key(&token)
    }

    pub(crate) fn answer_original(&mut self, token: Token, result: Result<Reply, NetworkError>) {
        let Some(waiting) = self.originals.waiting.remove(&token) else { return };
        match self.originals.desk.answer(&self.registry, &waiting.wish, result) {
            Ok(result) => waiting.responder.reply(result),
            Err(why) => waiting.responder.refuse(&why),
        }
    }

    /// A request of a peer of the original to a container.
    fn send_original(&mut self, sending: Sending, responder: OriginalResponder) {
        let Sending { id, route, operation, data } = sending;
        let server = self.server.clone();
        if self.originals.desk.speaks(&route.peer) {
            let body = match back::send(&route.agent, &id.uuid, &operation, &data) {
                Ok(body) => body,
                Err(error) => return responder.refuse(&error.message),
            };
            self.tasks.spawn(async move {
                let answer = tokio::select! {
                    answer = server.ask_original(&route.peer, body, PATIENCE) => answer,
                    () = responder.cancelled() => return,
                };
                finish(responder, answer.and_then(back::result));
            });
            return;
        }
        let call = Call::Container(ContainerCall {
            target: Target { id, epoch: Some(route.epoch) },
            operation,
            caller: Caller::outside(None),
            idempotency: None,
            trace: 0,
            send: false,
        });
        self.tasks.spawn(async move {
            let answer = tokio::select! {
                answer = server.call(&route.peer, call, data, PATIENCE) => answer,
                () = responder.cancelled() => return,
            };
            let answer = match answer {
                Ok(response) => collected(response).await,
                Err(error) => Err(error),
            };
            finish(responder, answer);
        });
    }

    /// A request of a native client to a container on an agent of the original.
    pub(crate) fn relay_original(
        &mut self,
        peer: ClientId,
        agent: &AgentId,
        call: &ContainerCall,
        payload: &[u8],
        mut responder: Responder,
    ) {
        let body = match back::send(agent, &call.target.id.uuid, &call.operation, payload) {
            Ok(body) => body,
            Err(error) => return responder.reply(Err(error)),
        };
        let (server, is_send) = (self.server.clone(), call.send);
        self.tasks.spawn(async move {
            if is_send {
                // Accepted; there is no answer to wait for.
                responder.reply(Ok((Reply::Done, Bytes::new())));
                let sent = server.ask_original(&peer, body, PATIENCE).await;
                if let Err(error) = sent.and_then(back::result) {
                    tracing::debug!(%peer, %error, "a request without an answer failed");
                }
                return;
            }
            let timeout = responder.remaining();
            let answer = tokio::select! {
                answer = server.ask_original(&peer, body, timeout) => answer,
                () = responder.cancelled() => return,
            };
            responder.reply(answer.and_then(back::result).map(|json| (Reply::Payload, json)));
        });
    }

    /// Asks an agent of the original for a container.
    pub(crate) fn start_original(
        &mut self,
        peer: ClientId,
        agent: AgentId,
        container: &StartContainer,
    ) {
        let StartContainer { id, epoch, .. } = container;
        let (id, epoch) = (id.clone(), *epoch);
        let body = Desk::start(&self.registry, &agent, container);
        let (server, reports) = (self.server.clone(), self.reports.clone());
        let timeout = self.config.registry.start_timeout;
        self.tasks.spawn(async move {
            let answer = match body {
                Ok(body) => server.ask_original(&peer, body, timeout).await,
                Err(error) => Err(error),
            };
            // A driver that is gone needs no answers.
            let _gone = reports.send(Report::Given { agent, id, epoch, answer }).await;
        });
    }

    pub(crate) fn given(
        &mut self,
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
        answer: Result<OriginalAnswer, NetworkError>,
    ) {
        let input = self.originals.desk.started(agent, id, epoch, answer);
        self.input(input);
    }

    /// Asks an agent of the original to end a container.
    pub(crate) fn terminate_original(
        &mut self,
        peer: ClientId,
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
    ) {
        let body = self.originals.desk.terminate(&agent, &id);
        let (server, reports) = (self.server.clone(), self.reports.clone());
        let timeout = self.config.registry.terminate_timeout;
        self.tasks.spawn(async move {
            let answer = server.ask_original(&peer, body, timeout).await;
            let result = answer.and_then(back::result).map(|_| true);
            let input = Input::Terminated { agent, id, epoch, result };
            // A driver that is gone needs no answers.
            let _gone = reports.send(Report::Input(input)).await;
        });
    }

    pub(crate) fn tell_originals(&mut self) {
        if let Some(body) = self.originals.desk.flush() {
            self.server.tell_originals(body);
        }
    }
}

/// Agents of the original network know no such order.
pub(crate) fn not_drained(agent: &AgentId) -> NetworkError {
    NetworkError::refused(
        ErrorKind::InvalidArguments,
        format!(
            "the agent {agent} is one of the original network, which cannot be drained; \
             stop it, and its containers start elsewhere"
        ),
    )
}

/// They do not tell what their containers may use.
pub(crate) fn without_limits(agent: &AgentId) -> NetworkError {
    NetworkError::refused(
        ErrorKind::InvalidArguments,
        format!("the agent {agent} is one of the original network, which knows no limits"),
    )
}

fn finish(responder: OriginalResponder, answer: Result<Bytes, NetworkError>) {
    match answer {
        Ok(result) => responder.reply(result),
        Err(error) => responder.refuse(&error.message),
    }
}

/// The JSON of a native answer; the items of a stream become an array.
async fn collected(response: Response) -> Result<Bytes, NetworkError> {
    let refuse = |error: json::Refusal| NetworkError::refused(ErrorKind::Application, error.0);
    let mut chunks = match response.body {
        Body::Payload(payload) => return json::payload(&payload).map_err(refuse),
        Body::Stream(chunks) => chunks,
    };
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        all.extend_from_slice(&chunk?);
        if all.len() > limits::PAYLOAD_BYTES {
            return Err(NetworkError::refused(
                ErrorKind::TooLarge,
                format!("the answer is over {} bytes", limits::PAYLOAD_BYTES),
            ));
        }
    }
    json::lines(&all.into()).map_err(refuse)
}
