//! What a kind's methods are told beside their arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host;

/// Names and values by which containers are found and placed.
pub type Labels = BTreeMap<String, String>;

/// The identity of a container: at most one activation of it is live in the
/// whole network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// Which code it runs: the stem of the plugin's file name.
    pub kind: String,
    /// Its name, unique in the network.
    pub uuid: String,
}

/// Tells activations of one container apart; strictly increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// The coordinator's term.
    pub term: u64,
    /// Counts activations within the term.
    pub counter: u64,
}

/// In whose name a request is made. The host makes it; a container can pass it
/// on but cannot forge one.
#[derive(Debug)]
pub struct Caller(pub(crate) host::Caller);

impl Caller {
    /// The account, when the request is made for one.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        self.0.account()
    }

    /// The container that calls; `None` when a client outside of the network
    /// does.
    #[must_use]
    pub fn container(&self) -> Option<ContainerId> {
        self.0.container()
    }

    /// The containers that wait for the answer, the one that calls last.
    #[must_use]
    pub fn path(&self) -> Vec<ContainerId> {
        self.0.path()
    }
}

/// The circumstances of a request. A method that has a parameter of type
/// `&Context` is given it; it is not one of the operation's arguments.
#[derive(Debug)]
pub struct Context {
    /// In whose name.
    pub caller: Caller,
    /// How long the caller waits, from when the request came.
    pub timeout: Duration,
    /// The caller's name for this piece of work: the same when the caller
    /// repeats a request whose answer was lost.
    pub idempotency: Option<String>,
    /// Names the piece of work that this is a part of, the same in all
    /// containers that have a part in it, for their log lines: usually written
    /// as `{trace:032x}`.
    pub trace: u128,
}

/// A client that receives what the container broadcasts.
#[derive(Debug)]
pub struct Connection {
    /// Its name, for [`connections::send`](crate::connections::send).
    pub id: String,
    /// In whose name.
    pub caller: Caller,
}

/// The answer to a request to terminate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Termination {
    /// The container has finished; it gets no more calls.
    #[default]
    Ended,
    /// It is finishing work: ask again.
    NotYet,
}
