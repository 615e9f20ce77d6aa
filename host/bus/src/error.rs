//! Why the bus cannot do what was asked.

/// An error of the bus itself. Failed requests carry
/// [`hulynet_protocol::NetworkError`] instead.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The address is in use, not local, or malformed; the message names it
    /// and the remedy.
    #[error("{0}")]
    Bind(String),
    /// The bus thread cannot be started; the message names it and the cause.
    #[error("{0}")]
    Start(String),
}
