//! One proxied request, in a task of its own.

use bytes::Bytes;
use hulynet_bus::{Body, Responder, Response, Server};
use hulynet_protocol::{Call, ClientId, NetworkError, Reply, Retry};

/// How a relayed request ended at the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    /// With an error that says whether it may have been carried out.
    Failed(Retry),
    /// The caller gave up before there was an answer.
    Cancelled,
}

/// Passes a request on within the caller's deadline and its answer back; a
/// stream chunk by chunk, each when the caller has room for it. A caller that
/// gives up cancels the request at the agent.
pub(crate) async fn relay(
    server: Server,
    agent: ClientId,
    call: Call,
    payload: Bytes,
    mut responder: Responder,
) -> Outcome {
    let timeout = responder.remaining();
    let answer = tokio::select! {
        answer = server.call(&agent, call, payload, timeout) => answer,
        () = responder.cancelled() => return Outcome::Cancelled,
    };
    match answer {
        Ok(Response { reply, body }) => {
            pass(reply, body, responder).await;
            Outcome::Succeeded
        }
        Err(error) => {
            let retry = error.retry;
            responder.reply(Err(error));
            Outcome::Failed(retry)
        }
    }
}

async fn pass(reply: Reply, body: Body, responder: Responder) {
    let mut chunks = match body {
        Body::Payload(payload) => return responder.reply(Ok((reply, payload))),
        Body::Stream(chunks) => chunks,
    };
    let mut stream = responder.stream();
    let end: Result<(), NetworkError> = loop {
        let next = tokio::select! {
            next = chunks.next() => next,
            // Seen while the container is silent, too.
            () = stream.cancelled() => return,
        };
        match next {
            Some(Ok(chunk)) => {
                if stream.send(chunk).await.is_err() {
                    // Nobody reads any more; dropping the chunks cancels them.
                    return;
                }
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    stream.finish(end);
}
