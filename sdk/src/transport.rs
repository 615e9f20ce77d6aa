//! How typed clients reach a container.

use std::future::Future;

use crate::{Answer, MaybeSend, Result};

/// Sends requests to one container.
///
/// A host program's reference implements it, and so do
/// [`containers::Reference`](crate::containers::Reference) and
/// [`containers::Call`](crate::containers::Call) inside a container: the
/// client that `#[interface]` makes works with all of them.
pub trait Transport {
    /// Sends a request and waits for its answer.
    fn request(
        &self,
        operation: &str,
        payload: Vec<u8>,
    ) -> impl Future<Output = Result<Answer>> + MaybeSend;
}

impl<T: Transport> Transport for &T {
    fn request(
        &self,
        operation: &str,
        payload: Vec<u8>,
    ) -> impl Future<Output = Result<Answer>> + MaybeSend {
        T::request(self, operation, payload)
    }
}
