//! How a container ended, for those who wait for it and for the operator.

use hulynet_protocol::{Activation, ErrorKind, NetworkError};

/// How a container ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It was asked to, and agreed.
    Terminated,
    /// It was ended because it was asked to with force and did not answer.
    Forced,
    /// It did not start.
    StartFailed(NetworkError),
    /// Its code failed or a limit stopped it. The text with the backtrace is
    /// for the operator only.
    Trapped {
        /// In one line.
        cause: String,
        /// With the container's own backtrace.
        details: String,
    },
    /// It did not answer in time, or said that it is not well.
    Unhealthy(String),
}

impl Ending {
    /// What a failure inside of the store means.
    pub(crate) fn trapped(error: &wasmtime::Error) -> Self {
        Self::Trapped { cause: error.root_cause().to_string(), details: format!("{error:?}") }
    }

    /// The same, told by a container that was refused memory: its code seldom
    /// says why it gave up.
    pub(crate) fn starved(self, limit: usize) -> Self {
        match self {
            Self::Trapped { cause, details } => Self::Trapped {
                cause: format!(
                    "{cause}; it wanted more memory than its limit of {} KiB, which the agent's \
                     setting container-memory raises",
                    limit / 1024
                ),
                details,
            },
            other => other,
        }
    }

    /// In a few words.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Terminated => "it was terminated".to_owned(),
            Self::Forced => "it was terminated with force".to_owned(),
            Self::StartFailed(error) => format!("it could not start: {}", error.message),
            Self::Trapped { cause, .. } => format!("it failed: {cause}"),
            Self::Unhealthy(cause) => cause.clone(),
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
            Self::Terminated | Self::Forced => {
                tracing::info!(%container, %epoch, "the container ended: {}", self.cause());
            }
            Self::Trapped { details, .. } => {
                tracing::error!(%container, %epoch, "the container ended: it failed: {details}");
            }
            Self::StartFailed(_) | Self::Unhealthy(_) => {
                tracing::error!(%container, %epoch, "the container ended: {}", self.cause());
            }
        }
    }
}
