//! A held container.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use futures::future::Either;
use hulynet_bus::Response;
use hulynet_protocol::{
    Call, ContainerCall, ContainerId, ContainerRecord, Epoch, ErrorKind, NetworkError, Reply,
    Target, limits,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    agents::{Agent, Keep},
    client::Client,
    connection::{self, Connection},
    request::{Answer, Request},
    retry::{Attempts, Next, Repeat},
    shared::{Shared, closed, unexpected},
    subscription::Subscription,
};

/// Holds a container: it stays live while someone holds it, and is started
/// again elsewhere when its agent is lost.
///
/// Clones are handles of the same hold; dropping the last one releases the
/// container in the background.
#[derive(Debug)]
pub struct Reference {
    client: Client,
    id: ContainerId,
    released: bool,
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        self.client.shared().held.update(|table| table.add_handle(&self.id));
        Self { client: self.client.clone(), id: self.id.clone(), released: false }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        if !self.released {
            self.client.shared().held.update(|table| table.drop_handle(&self.id));
        }
    }
}

impl Reference {
    /// Takes over a handle that the table already counts.
    pub(crate) fn new(client: Client, id: ContainerId) -> Self {
        Self { client, id, released: false }
    }

    /// The container's identity.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The container's activation, as far as the client knows.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn epoch(&self) -> Result<Epoch, NetworkError> {
        Ok(self.record()?.epoch)
    }

    /// Where the container lives, as far as the client knows.
    ///
    /// # Errors
    /// `Internal` when the client lost track of its own reference.
    pub fn record(&self) -> Result<ContainerRecord, NetworkError> {
        known(self.shared(), &self.id)
    }

    /// Asks the container and returns its whole answer; a streamed one is
    /// collected up to the limit of a payload (16 MiB).
    ///
    /// # Errors
    /// As [`Self::perform`], and `TooLarge` when a stream does not fit.
    pub async fn request(
        &self,
        operation: impl Into<String>,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, NetworkError> {
        let answer = self.perform(Request::new(operation, payload)).await?;
        answer.collect(limits::PAYLOAD_BYTES).await
    }

    /// Asks the container.
    ///
    /// A request that was certainly not processed (the container moved, its
    /// agent was lost before, a queue was full) is repeated within the
    /// deadline.
    ///
    /// # Errors
    /// What the container or the network answers. `TooLarge` for a payload over
    /// 16 MiB, `DeadlineExceeded` when the deadline passed, `Unavailable` when
    /// the agent was lost while it had the request, `Cancelled` when the client
    /// is closed.
    pub async fn perform(&self, request: Request) -> Result<Answer, NetworkError> {
        let (response, deadline, keep) = self.deliver(request, false).await?;
        Answer::read(response, deadline, keep)
    }

    /// Hands the container a message; ends when it was accepted. There is no
    /// answer.
    ///
    /// # Errors
    /// As [`Self::perform`], without those of the container's own code.
    pub async fn send(&self, request: Request) -> Result<(), NetworkError> {
        match self.deliver(request, true).await?.0.reply {
            Reply::Done => Ok(()),
            other => Err(unexpected("a send", &other)),
        }
    }

    /// Receives what the container broadcasts. The connection holds the
    /// container and follows it when it moves.
    ///
    /// # Errors
    /// As [`Self::perform`].
    pub async fn connect(&self) -> Result<Connection, NetworkError> {
        self.subscribe(Subscription::new()).await
    }

    /// Like [`Self::connect`], on other terms.
    ///
    /// # Errors
    /// As [`Self::perform`].
    pub async fn subscribe(&self, subscription: Subscription) -> Result<Connection, NetworkError> {
        connection::open(self.clone(), subscription).await
    }

    /// Gives this handle up. Ends when the coordinator confirmed, at once when
    /// other handles of the container remain.
    ///
    /// # Errors
    /// `Unavailable` when the coordinator did not confirm within the request
    /// timeout; the release goes on in the background. `Cancelled` when the
    /// client is closed, which releases everything.
    pub async fn release(mut self) -> Result<(), NetworkError> {
        self.released = true;
        let shared = Arc::clone(self.shared());
        let released = async {
            match timeout(shared.settings.request_timeout, shared.held.release(&self.id)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(closed()),
                Err(_) => Err(NetworkError::maybe_processed(
                    ErrorKind::Unavailable,
                    format!("the release of {} is not confirmed yet", self.id),
                )),
            }
        };
        shared.unless_closed(released).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.client.shared()
    }

    async fn deliver(
        &self,
        request: Request,
        send: bool,
    ) -> Result<(Response, Instant, Option<Keep>), NetworkError> {
        request.check()?;
        let shared = self.shared();
        let deadline = Instant::now() + request.timeout.unwrap_or(shared.settings.request_timeout);
        // Pinned here: whatever took it over would make room for it again.
        let repeated = pin!(self.repeat(request, send, deadline));
        let (response, keep) = shared.unless_closed(repeated).await?;
        Ok((response, deadline, keep))
    }

    async fn repeat(
        &self,
        request: Request,
        send: bool,
        deadline: Instant,
    ) -> Result<(Response, Option<Keep>), NetworkError> {
        let shared = self.shared();
        let mut call = ContainerCall {
            target: Target { id: self.id.clone(), epoch: None },
            operation: request.operation,
            caller: request.caller.unwrap_or_else(|| shared.settings.caller.clone()),
            idempotency: request.idempotency,
            trace: shared.traces.next(),
            send,
        };
        let mut attempts = Attempts::new(deadline.into_std(), Repeat::Unprocessed);
        loop {
            let (epoch, agent) = self.find(deadline).await?;
            call.target.epoch = Some(epoch);
            let payload = request.payload.clone();
            let container_call = Call::Container(call.clone());
            let sent = send_once(shared, agent.as_ref(), container_call, payload, deadline);
            match sent.await {
                Ok(response) => return Ok((response, agent.as_ref().map(Agent::keep))),
                Err(error) => {
                    Box::pin(recover(shared, &mut attempts, &self.id, epoch, error)).await?;
                }
            }
        }
    }

    /// The activation and its agent, when that is reached directly.
    async fn find(&self, deadline: Instant) -> Result<(Epoch, Option<Agent>), NetworkError> {
        let shared = self.shared();
        // Nearly always the agent has joined: nothing is copied then.
        let joined = shared.held.read(|table| {
            let record = table.record(&self.id)?;
            Some((record.epoch, Some(shared.agents.joined(&record.endpoint)?)))
        });
        if let Some(found) = joined {
            return Ok(found);
        }
        // Boxed, because what is rare must not take room in every request.
        Box::pin(async {
            let record = self.record()?;
            let route = shared.agents.route(shared, &record.endpoint, deadline).await?;
            Ok((record.epoch, route.agent))
        })
        .await
    }
}

/// Where a container lives, as far as the client knows.
pub(crate) fn known(shared: &Shared, id: &ContainerId) -> Result<ContainerRecord, NetworkError> {
    shared.held.read(|table| table.record(id).cloned()).ok_or_else(|| {
        NetworkError::refused(ErrorKind::Internal, format!("the reference to {id} is not counted"))
    })
}

/// Sends a call once: straight to the agent if there is one.
pub(crate) fn send_once(
    shared: &Shared,
    agent: Option<&Agent>,
    call: Call,
    payload: Bytes,
    deadline: Instant,
) -> impl Future<Output = Result<Response, NetworkError>> + Send {
    match agent {
        Some(agent) => {
            let left = deadline.saturating_duration_since(Instant::now());
            Either::Left(agent.call(call, payload, left))
        }
        // Boxed, as above.
        None => Either::Right(Box::pin(shared.coordinator.call(call, payload, deadline))),
    }
}

/// Prepares the next attempt after one that failed at the activation `tried`: waits a little and finds the
/// container again when it is not where it was tried.
///
/// # Errors
/// The last error, when another attempt would not help.
pub(crate) async fn recover(
    shared: &Shared,
    attempts: &mut Attempts,
    id: &ContainerId,
    tried: Epoch,
    mut error: NetworkError,
) -> Result<(), NetworkError> {
    loop {
        let Next::Again { pause, locate } = attempts.after(Instant::now().into_std(), &error)
        else {
            return Err(error);
        };
        sleep(pause).await;
        if !locate {
            return Ok(());
        }
        let located = shared.held.locate(id, tried);
        match timeout_at(attempts.deadline().into(), located).await {
            Ok(Ok(Ok(_))) => return Ok(()),
            Ok(Ok(Err(why))) => error = why,
            // The reason for asking says more than that there was no time.
            Ok(Err(_)) | Err(_) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_in_progress_is_small() {
        let bytes = size(|(held, request): (&'static Reference, Request)| held.perform(request));
        assert!(bytes <= 2048, "{bytes} bytes are moved whenever a request begins");
    }
}
