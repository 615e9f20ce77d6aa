//! How a container ended, for those who wait for it and for the operator.

use hulynet_protocol::{Activation, ErrorKind, NetworkError};
use wasmtime::PoolConcurrencyLimitError;

use crate::{
    capabilities::{Refusal, Whose},
    engine,
};

/// How a container ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It was asked to, and agreed.
    Terminated,
    /// It was ended whether it agreed or not, for this reason.
    Forced(&'static str),
    /// It did not start.
    StartFailed(NetworkError),
    /// Its code failed or a limit stopped it. The text with the backtrace is
    /// for the operator only.
    Trapped {
        /// In one line.
        cause: String,
        /// With the container's own backtrace.
        details: String,
        /// The memory that it had been refused, if it had.
        refused: Option<Whose>,
    },
    /// It did not answer in time, or said that it is not well.
    Unhealthy(String),
    /// The agent or its system had no room for it, which is no fault of it.
    NoRoom(String),
}

/// What a system without memory, or without another map of it, answers.
const NO_MEMORY: &str = "(os error 12)";

/// Why there is no room, if that is what a failure of the engine means.
fn no_room(error: &wasmtime::Error) -> Option<String> {
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Some(format!("{full}; allow the agent more --containers"));
    }
    // The engine wraps what the system answers in more than one type.
    let system = error.chain().map(ToString::to_string).find(|text| text.contains(NO_MEMORY))?;
    Some(format!(
        "the system gives it no more memory or no more maps of it ({system}); end some containers, add \
         memory, or allow more maps with: {}",
        more_maps()
    ))
}

/// How an operator allows more memory maps.
fn more_maps() -> String {
    format!("sysctl -w vm.max_map_count={}", engine::memory_maps().saturating_mul(2))
}

impl Ending {
    /// Containers of the other world have the memory maps that it takes, or had
    /// them, which are kept for their like.
    pub(crate) fn no_place() -> Self {
        Self::NoRoom(format!(
            "containers of the other world have or had the memory maps that it takes; allow more with: \
             {}; or start the agent again",
            more_maps()
        ))
    }

    /// What a failure inside of the store means. A container that was refused
    /// memory usually fails for that reason, and says another one.
    pub(crate) fn trapped(error: &wasmtime::Error, memory: Option<&Refusal>) -> Self {
        if let Some(why) = no_room(error) {
            return Self::NoRoom(why);
        }
        let (mut cause, mut details) = (error.root_cause().to_string(), format!("{error:?}"));
        if let Some(refused) = memory {
            for text in [&mut cause, &mut details] {
                text.push_str(&format!("; it had been refused more memory: {}", refused.why));
            }
        }
        Self::Trapped { cause, details, refused: memory.map(|refusal| refusal.whose) }
    }

    /// In a few words.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Terminated => "it was terminated".to_owned(),
            Self::Forced(why) => (*why).to_owned(),
            Self::StartFailed(error) => format!("it could not start: {}", error.message),
            Self::Trapped { cause, .. } => format!("it failed: {cause}"),
            Self::Unhealthy(cause) => cause.clone(),
            Self::NoRoom(why) => format!("the agent has no room for it: {why}"),
        }
    }

    /// The answer to the order to start, when it ended before it had started,
    /// however that came: nothing was done, and the caller may try again.
    pub(crate) fn not_started(&self) -> NetworkError {
        match self {
            Self::StartFailed(error) => error.clone(),
            Self::NoRoom(why) => {
                NetworkError::not_processed(ErrorKind::Busy, format!("the agent is full: {why}"))
            }
            other => NetworkError::not_processed(other.start_error(), other.cause()),
        }
    }

    /// What kind of error a start is that ended so: the want of what others
    /// have, or somebody's order to end, is no failure of the kind.
    fn start_error(&self) -> ErrorKind {
        match self {
            Self::Trapped { refused: Some(Whose::Agent), .. } => ErrorKind::Busy,
            Self::Trapped { refused: Some(Whose::Tenant), .. }
            | Self::Terminated
            | Self::Forced(_) => ErrorKind::Unavailable,
            _ => ErrorKind::StartFailed,
        }
    }

    /// The answer to a request that the container never saw.
    pub(crate) fn unseen(&self, activation: &Activation) -> NetworkError {
        match self {
            Self::StartFailed(error) => NetworkError::new(
                error.kind,
                error.retry,
                format!("the container {} could not start: {}", activation.id, error.message),
            ),
            _ => NetworkError::not_processed(
                ErrorKind::ContainerEnded,
                format!(
                    "the container {} ended before the request: {}",
                    activation.id,
                    self.cause()
                ),
            ),
        }
    }

    /// Tells the operator.
    pub(crate) fn log(&self, activation: &Activation) {
        let (container, epoch) = (&activation.id, activation.epoch);
        match self {
            Self::Terminated | Self::Forced(_) => {
                tracing::info!(%container, %epoch, "the container ended: {}", self.cause());
            }
            Self::Trapped { details, .. } => {
                tracing::error!(%container, %epoch, "the container ended: it failed: {details}");
            }
            Self::StartFailed(_) | Self::Unhealthy(_) | Self::NoRoom(_) => {
                tracing::error!(%container, %epoch, "the container ended: {}", self.cause());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use hulynet_protocol::Retry;

    use super::*;

    /// What the engine says when the system has no more of something.
    fn refused(code: i32) -> wasmtime::Error {
        wasmtime::Error::from(io::Error::from_raw_os_error(code))
            .context("failed to map memory image")
    }

    #[test]
    fn maps_that_the_other_world_has_mean_a_full_agent_and_the_remedy_is_named() {
        let error = Ending::no_place().not_started();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        for part in ["the agent is full", "the other world", "sysctl -w vm.max_map_count="] {
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn a_system_without_memory_maps_means_a_full_agent_and_names_the_remedy() {
        let ending = Ending::trapped(&refused(12), None);
        let Ending::NoRoom(_) = ending else { panic!("{ending:?}") };
        let error = ending.not_started();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        for part in ["the agent is full", "Cannot allocate memory", "sysctl -w vm.max_map_count="] {
            assert!(error.message.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn who_does_not_start_for_want_of_what_others_have_is_no_failure_of_its_kind() {
        for (whose, kind) in [
            (Whose::Container, ErrorKind::StartFailed),
            (Whose::Tenant, ErrorKind::Unavailable),
            (Whose::Agent, ErrorKind::Busy),
        ] {
            let refusal = Refusal { whose, why: "enough".to_owned() };
            let ending = Ending::trapped(&wasmtime::Error::msg("unreachable"), Some(&refusal));
            let error = ending.not_started();
            assert_eq!((error.kind, error.retry), (kind, Retry::NotProcessed), "{error}");
        }
    }

    #[test]
    fn who_is_to_end_before_it_has_started_is_no_failure_of_its_kind() {
        let why = "it lives on another agent";
        let error = Ending::Forced(why).not_started();
        assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
        assert_eq!(error.message, why);
        assert_eq!(Ending::Terminated.not_started().kind, ErrorKind::Unavailable);
    }

    #[test]
    fn any_other_failure_is_the_containers_own() {
        for error in [refused(1), wasmtime::Error::msg("out of memory")] {
            let ending = Ending::trapped(&error, None);
            assert!(matches!(ending, Ending::Trapped { .. }), "{ending:?}");
            assert_eq!(ending.not_started().kind, ErrorKind::StartFailed);
        }
    }
}
