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
    /// What a failure inside of the store means. A container that was refused
    /// memory usually fails for that reason, and says another one.
    pub(crate) fn trapped(error: &wasmtime::Error, memory: Option<&str>) -> Self {
        let (mut cause, mut details) = (error.root_cause().to_string(), format!("{error:?}"));
        if let Some(refused) = memory {
            for text in [&mut cause, &mut details] {
                text.push_str(&format!("; it had been refused more memory: {refused}"));
            }
        }
        Self::Trapped { cause, details }
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
