//! The registry's refusals: what a person reads and whether a retry is safe.

use hulynet_protocol::{
    AgentId, ClientId, ContainerId, Epoch, ErrorKind, Kind, NetworkError, Retry, Selector,
    StartFailure, Uuid, limits,
};

pub(crate) fn unknown_client(client: &ClientId) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::Unavailable,
        format!("the lease of client {client} ended; introduce yourself again and repeat this"),
    )
}

pub(crate) fn not_for_the_registry() -> NetworkError {
    NetworkError::refused(
        ErrorKind::Protocol,
        "the coordinator does not take this request; it is made to agents",
    )
}

pub(crate) fn invalid(message: impl Into<String>) -> NetworkError {
    NetworkError::refused(ErrorKind::InvalidArguments, message)
}

/// Names the kinds that are served, as far as they fit.
pub(crate) fn unknown_kind<'a>(
    kind: &Kind,
    served: impl Iterator<Item = &'a Kind>,
) -> NetworkError {
    let names: Vec<&str> = served.map(Kind::as_str).take(32).collect();
    let served = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    NetworkError::not_processed(
        ErrorKind::UnknownKind,
        format!(
            "no agent serves the kind \"{kind}\"; kinds served now: {served}; why one is not, \
             `hulynet kinds --verbose` tells"
        ),
    )
}

pub(crate) fn no_room(kind: &Kind, serving: usize) -> NetworkError {
    let agents = match serving {
        1 => "one agent, and it is".to_owned(),
        _ => format!("{serving} agents, and all of them are"),
    };
    NetworkError::not_processed(
        ErrorKind::Busy,
        format!(
            "the kind \"{kind}\" is served by {agents} draining or full, of containers or of memory, \
             which its log tells; start another agent, or wait until a container ends or an agent is \
             taken back"
        ),
    )
}

pub(crate) fn unknown_agent(agent: &AgentId) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::Unavailable,
        format!("the agent {agent} is not registered; register it and repeat this"),
    )
}

/// An operator named an agent that is not there. Names those that are, as far
/// as they fit.
pub(crate) fn no_such_agent<'a>(
    agent: &AgentId,
    known: impl Iterator<Item = &'a AgentId>,
) -> NetworkError {
    let names: Vec<&str> = known.map(AgentId::as_str).take(32).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    NetworkError::refused(
        ErrorKind::InvalidArguments,
        format!("no agent {agent} is registered; agents registered now: {known}"),
    )
}

pub(crate) fn undetermined(kind: &Kind, select: &Selector) -> NetworkError {
    NetworkError::refused(
        ErrorKind::UnknownContainer,
        format!(
            "no container of the kind \"{kind}\" matches \"{select}\", and a new one would not \
             either; give it labels that match"
        ),
    )
}

pub(crate) fn not_live(uuid: &Uuid, failure: Option<StartFailure>) -> NetworkError {
    let failed = failure.map_or_else(String::new, |failure| {
        format!(
            "; its last start, {} ms ago on the agent {}, failed: {}",
            failure.ago_ms, failure.agent, failure.error.message
        )
    });
    NetworkError::refused(
        ErrorKind::UnknownContainer,
        format!(
            "no container with the uuid \"{uuid}\" is live or wanted; 'hulynet list' shows those \
             that have a place{failed}"
        ),
    )
}

/// A uuid belongs to one kind in the whole network.
pub(crate) fn other_kind(asked: &ContainerId, found: &Kind) -> NetworkError {
    invalid(format!(
        "the uuid \"{}\" belongs to a container of the kind \"{found}\", it was asked for as \
         \"{}\"; a uuid is unique in the network, choose another one",
        asked.uuid, asked.kind
    ))
}

/// Does not tell whose it is.
pub(crate) fn other_tenant(id: &ContainerId, retry: Retry) -> NetworkError {
    NetworkError::new(
        ErrorKind::PermissionDenied,
        retry,
        format!(
            "the container {id} works for another tenant than the labels account and workspace of \
             this request name; ask for another uuid, or have its operator terminate it"
        ),
    )
}

/// A request may be sent again when somebody got its container.
pub(crate) fn unknown_container(id: &ContainerId) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::UnknownContainer,
        format!("no container {id} is live; get it first"),
    )
}

/// To end what is not there is final.
pub(crate) fn nothing_to_end(id: &ContainerId) -> NetworkError {
    NetworkError::refused(
        ErrorKind::UnknownContainer,
        format!("no container {id} is live; 'hulynet list' shows those that are"),
    )
}

pub(crate) fn not_running(id: &ContainerId) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::Unavailable,
        format!("the container {id} is being started; repeat this when it runs"),
    )
}

pub(crate) fn stale_epoch(id: &ContainerId, asked: Epoch, live: Epoch) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::StaleEpoch,
        format!("the activation {asked} of the container {id} is over, the live one is {live}"),
    )
}

pub(crate) fn ended_while_wanted(id: &ContainerId) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::ContainerEnded,
        format!("the container {id} was terminated before it ran"),
    )
}

/// A get may always be repeated, so a start whose outcome is unknown counts as
/// not processed: a later activation has a higher epoch.
pub(crate) fn start_failed(
    id: &ContainerId,
    agent: &AgentId,
    cause: &NetworkError,
) -> NetworkError {
    let retry = match cause.retry {
        Retry::Final => Retry::Final,
        Retry::NotProcessed | Retry::MaybeProcessed => Retry::NotProcessed,
    };
    NetworkError::new(
        ErrorKind::StartFailed,
        retry,
        format!("the container {id} could not be started on the agent {agent}: {}", cause.message),
    )
}

pub(crate) fn start_timed_out(timeout: std::time::Duration) -> NetworkError {
    NetworkError::maybe_processed(
        ErrorKind::DeadlineExceeded,
        format!(
            "it did not answer within {timeout:?}; if it takes longer to start, raise the coordinator's \
             start-timeout"
        ),
    )
}

pub(crate) fn ended_while_starting() -> NetworkError {
    NetworkError::not_processed(ErrorKind::ContainerEnded, "it ended while it was started")
}

pub(crate) fn foreign_agent(agent: &AgentId) -> NetworkError {
    NetworkError::refused(
        ErrorKind::PermissionDenied,
        format!("the agent {agent} is registered by another peer; only that one may speak for it"),
    )
}

pub(crate) fn too_many(what: &str, count: usize) -> NetworkError {
    NetworkError::refused(
        ErrorKind::TooLarge,
        format!("there are {count} {what}, more than the {} of one answer", limits::LISTED),
    )
}
