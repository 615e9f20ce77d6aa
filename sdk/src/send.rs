//! One difference between the worlds: natively a future may move between
//! threads and must be [`Send`]; a component has one thread.

use std::pin::Pin;

use futures::Stream;

/// [`Send`] natively, anything inside a component.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_family = "wasm"))]
impl<T: Send + ?Sized> MaybeSend for T {}

/// [`Send`] natively, anything inside a component.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}
#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSend for T {}

/// A stream behind a pointer.
#[cfg(not(target_family = "wasm"))]
pub(crate) type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;
/// A stream behind a pointer.
#[cfg(target_family = "wasm")]
pub(crate) type BoxStream<T> = Pin<Box<dyn Stream<Item = T>>>;
