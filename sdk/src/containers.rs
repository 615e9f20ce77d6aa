//! Other containers: finding them and talking to them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use serde::Serialize;

use crate::send::BoxStream;
use crate::{Answer, Caller, ContainerId, Error, Labels, MaybeSend, Result, Transport, host};

/// Which container is wanted. Without uuid, labels and conditions any of the
/// kind serves.
///
/// ```
/// use hulynet_sdk::prelude::*;
///
/// // A worker for mail that is not for tests. If there is none, one is started
/// // with the label, in Europe if that is possible.
/// let options = GetOptions::default()
///     .label("queue", "mail")
///     .select("stage", Condition::none_of(["test", "demo"]))
///     .near("region", "europe")
///     .avoid("spot", "yes");
/// assert_eq!(options.near["region"], "europe");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// This one, started if it is not live.
    pub uuid: Option<String>,
    /// One whose labels contain all of these, started with them if there is
    /// none. A container may name the label `account` only with its own, here
    /// and in the conditions.
    pub labels: Labels,
    /// One whose labels meet all of these, at most 32. If there is none, one is
    /// started with the labels that they determine, which are those with
    /// exactly one allowed value; where they leave a choice, `labels` must make
    /// it. They add to `labels`: both hold.
    pub select: Vec<(String, Condition)>,
    /// Handed to the container if it is started; at most 64 KiB.
    pub extra: Vec<u8>,
    /// If it must be started: rather on an agent that carries more of these
    /// labels. A preference, because a container that runs far away is better
    /// than one that does not run.
    pub near: Labels,
    /// If it must be started: rather on an agent that carries none of these
    /// labels. Weighs more than `near`.
    pub avoid: Labels,
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One of these values, at most 32.
    OneOf(Vec<String>),
    /// None of these values, at most 32, or absent.
    NoneOf(Vec<String>),
    /// There, with any value.
    Present,
    /// Not there.
    Absent,
}

impl Condition {
    /// One of these values, at most 32.
    pub fn one_of<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::OneOf(values.into_iter().map(Into::into).collect())
    }

    /// None of these values, at most 32, or absent.
    pub fn none_of<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::NoneOf(values.into_iter().map(Into::into).collect())
    }
}

impl GetOptions {
    /// The container of this name.
    #[must_use]
    pub fn uuid(uuid: impl Into<String>) -> Self {
        Self { uuid: Some(uuid.into()), ..Self::default() }
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With a label that meets this condition.
    #[must_use]
    pub fn select(mut self, key: impl Into<String>, condition: Condition) -> Self {
        self.select.push((key.into(), condition));
        self
    }

    /// Rather on an agent with this label, if it must be started.
    #[must_use]
    pub fn near(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.near.insert(key.into(), value.into());
        self
    }

    /// Rather on an agent without this label, if it must be started.
    #[must_use]
    pub fn avoid(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.avoid.insert(key.into(), value.into());
        self
    }

    /// Handing this over if the container is started.
    #[must_use]
    pub fn extra(mut self, extra: impl Into<Vec<u8>>) -> Self {
        self.extra = extra.into();
        self
    }
}

/// Finds or starts a container and holds it.
///
/// # Errors
/// `unknown-kind`, `start-failed`, `busy`, `permission-denied`, `unavailable`,
/// and `unknown-container` when there is none and the conditions leave a choice
/// for a new one.
pub async fn get(kind: &str, options: GetOptions) -> Result<Reference> {
    host::get(kind, options).await.map(|reference| Reference(Arc::new(reference)))
}

/// A container that is held: it lives as long as somebody holds it. Clones
/// share one hold; dropping the last releases it. Containers that hold
/// themselves or each other keep each other alive.
#[derive(Clone, Debug)]
pub struct Reference(Arc<host::Reference>);

impl Reference {
    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> ContainerId {
        host::id(&self.0)
    }

    /// Requests in the name of a caller that this container serves; without
    /// it they are made in the container's own.
    #[must_use]
    pub fn on_behalf_of<'a>(&'a self, caller: &'a Caller) -> Call<'a> {
        Call { reference: self, caller: Some(caller), timeout: None }
    }

    /// Requests with a deadline of their own; the host's default is 30 s.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Call<'_> {
        Call { reference: self, caller: None, timeout: Some(timeout) }
    }

    /// Sends a request without an answer: success means accepted. The
    /// arguments are a tuple or another sequence in order, or a map by name.
    ///
    /// # Errors
    /// `invalid-arguments` when they have no JSON form, or why the request was
    /// not accepted.
    pub async fn send<A: Serialize + ?Sized>(&self, operation: &str, arguments: &A) -> Result<()> {
        self.post(operation, arguments, None).await
    }

    async fn post<A: Serialize + ?Sized>(
        &self,
        operation: &str,
        arguments: &A,
        caller: Option<&Caller>,
    ) -> Result<()> {
        let payload = serde_json::to_vec(arguments).map_err(Error::invalid_arguments)?;
        let caller = caller.map(|caller| &caller.0);
        host::send_request(&self.0, operation, payload, caller).await
    }

    /// Receives what the container broadcasts.
    ///
    /// # Errors
    /// What the container's `#[connect]` says, or why it is not reached.
    pub async fn connect(&self) -> Result<Events> {
        host::connect(&self.0).await.map(Events)
    }
}

impl Transport for Reference {
    fn request(
        &self,
        operation: &str,
        payload: Vec<u8>,
    ) -> impl Future<Output = Result<Answer>> + MaybeSend {
        host::request(&self.0, operation, payload, None, None)
    }
}

/// Requests to a container under other than the usual terms.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    reference: &'a Reference,
    caller: Option<&'a Caller>,
    timeout: Option<Duration>,
}

impl<'a> Call<'a> {
    /// In the name of this caller.
    #[must_use]
    pub fn on_behalf_of(mut self, caller: &'a Caller) -> Self {
        self.caller = Some(caller);
        self
    }

    /// With this deadline.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// [`Reference::send`] in the caller's name. It does not wait, so the
    /// deadline means nothing to it.
    ///
    /// # Errors
    /// As [`Reference::send`].
    pub async fn send<A: Serialize + ?Sized>(&self, operation: &str, arguments: &A) -> Result<()> {
        self.reference.post(operation, arguments, self.caller).await
    }
}

impl Transport for Call<'_> {
    fn request(
        &self,
        operation: &str,
        payload: Vec<u8>,
    ) -> impl Future<Output = Result<Answer>> + MaybeSend {
        let caller = self.caller.map(|caller| &caller.0);
        host::request(&self.reference.0, operation, payload, caller, self.timeout)
    }
}

/// What a container broadcasts, until this is dropped. It ends when the
/// container ends or moves: connect again, and know that events may have been
/// missed between.
pub struct Events(BoxStream<Vec<u8>>);

impl Events {
    /// The next event; `None` when there are no more.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.next().await
    }
}

impl Stream for Events {
    type Item = Vec<u8>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
