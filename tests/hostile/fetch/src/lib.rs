//! A kind that asks hosts outside of the network. Tests of the agent run it
//! with and without grants.

use hulynet_sdk::prelude::*;
use wasip2::{
    http::{
        outgoing_handler::handle,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, Scheme,
        },
    },
    io::streams::StreamError,
};

/// It keeps nothing.
#[derive(Default)]
struct Fetch;

#[kind]
impl Fetch {
    /// Sends so many bytes to a host and answers its status and its body.
    fn post(&self, tls: bool, host: String, path: String, bytes: usize) -> Result<(u16, String)> {
        let answer = send(tls, &host, &path, bytes).and_then(answer);
        answer.map_err(|code| Error::application(format!("{code:?}")))
    }

    /// Asks a host as often as it may, and reads no answer. Answers how many it
    /// got, and the refusal.
    fn hoard(&self, host: String) -> (usize, String) {
        let mut held = Vec::new();
        loop {
            match send(false, &host, "/", 0).and_then(head) {
                Ok(response) => held.push(response),
                Err(code) => return (held.len(), format!("{code:?}")),
            }
        }
    }
}

fn send(
    tls: bool,
    host: &str,
    path: &str,
    bytes: usize,
) -> std::result::Result<FutureIncomingResponse, ErrorCode> {
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if tls { Scheme::Https } else { Scheme::Http };
    let method = if bytes == 0 { Method::Get } else { Method::Post };
    request.set_method(&method).map_err(invalid)?;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(host)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let body = request.body().map_err(invalid)?;
    let sent = handle(request, None)?;
    let stream = body.write().map_err(invalid)?;
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(4096);
        // The answer tells why the rest is not wanted.
        if stream.blocking_write_and_flush(&vec![b'x'; piece]).is_err() {
            return Ok(sent);
        }
        left -= piece;
    }
    drop(stream);
    OutgoingBody::finish(body, None)?;
    Ok(sent)
}

/// The head of an answer.
fn head(sent: FutureIncomingResponse) -> std::result::Result<IncomingResponse, ErrorCode> {
    sent.subscribe().block();
    match sent.get() {
        Some(Ok(answered)) => answered,
        Some(Err(())) | None => Err(ErrorCode::InternalError(None)),
    }
}

/// The status and the body of an answer.
fn answer(sent: FutureIncomingResponse) -> std::result::Result<(u16, String), ErrorCode> {
    let response = head(sent)?;
    let broken = |()| ErrorCode::InternalError(None);
    let body = response.consume().map_err(broken)?;
    let stream = body.stream().map_err(broken)?;
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(bytes) => read.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(ErrorCode::InternalError(Some(error.to_debug_string())));
            }
        }
    }
    Ok((response.status(), String::from_utf8_lossy(&read).into_owned()))
}
