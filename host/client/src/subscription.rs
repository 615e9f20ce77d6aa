//! On which terms a program listens to a container.

use hulynet_protocol::{Caller, Policy};

/// How to connect to a container; see [`crate::Reference::subscribe`].
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    pub(crate) caller: Option<Caller>,
    pub(crate) policy: Policy,
}

impl Subscription {
    /// With the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of events when the program does not take them: with
    /// [`Policy::DropOldest`] it is told of each gap, with
    /// [`Policy::Disconnect`] the connection ends with an error, so that there
    /// is none. Default: [`Policy::DropOldest`].
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// In whose name. Default: the client's account.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = Some(caller);
        self
    }
}
