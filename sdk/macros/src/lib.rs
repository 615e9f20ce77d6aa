//! The macros of `hulynet-sdk`, which re-exports and shows them.

mod errors;
mod expand;
mod hook;
mod interface;
mod kind;
mod method;
mod output;

use proc_macro::TokenStream;

/// Makes a kind of a type: put it on an `impl` block, of the type itself or of
/// a trait made by [`macro@interface`].
///
/// # Operations
/// Every method in the block is an operation of its name; helpers belong into
/// another `impl` block. Methods may be `async`. `&self` methods run
/// concurrently, `&mut self` methods one at a time, in order of arrival: a
/// `&mut self` method waits for the methods before it and holds up those after
/// it. So keep slow work in `&self` methods, with `Cell` or `RefCell` for what
/// they change, where there are frequent `&mut self` ones; and know that a
/// `&mut self` method that asks a container which asks back waits for itself,
/// until its deadline.
///
/// Arguments are owned values that implement `serde::Deserialize`. A parameter
/// of type `&Context` is given the request's circumstances instead. A single
/// argument of type `Raw` is the payload as it came.
///
/// The result is a value that implements `serde::Serialize`, `Raw`, a stream
/// (`Items<T>`, `Chunks`), or a `Result` of one of them whose error converts
/// `Into<Error>`. These types are known by name, so do not rename them.
///
/// # On the wire
/// Payloads are JSON: an array of the arguments in order or an object of them
/// by name; nothing at all without arguments. An argument that is absent
/// counts as `null`. Streams of items are one JSON value a line.
///
/// # Hooks
/// Methods with these attributes are not operations:
/// - `#[start] fn(extra: T) -> Self` or `-> Result<Self, E>`: makes the state;
///   `extra` comes from the client whose `get` started the container, as JSON
///   or `Raw`, and may be left out. Without it, `Default` makes the state.
/// - `#[connect] fn(&self, &Connection)`, or `-> Result<(), E>` to refuse:
///   a client wants to receive broadcasts.
/// - `#[disconnect] fn(&self, &str)`: it is gone.
/// - `#[ping] fn(&self)`, or `-> Result<(), E>`: asked after a silence; an
///   error ends the container.
/// - `#[terminate] fn(&self, force: bool)`, or `-> Termination`: nobody holds
///   the container any more.
///
/// All may be `async`, and take `&mut self`.
#[proc_macro_attribute]
pub fn kind(arguments: TokenStream, item: TokenStream) -> TokenStream {
    kind::expand(arguments.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// Makes a typed client of a trait: `trait Counter` gets `CounterClient<T>`,
/// whose methods send requests through any `Transport`: a host program's
/// reference, or another container's.
///
/// ```
/// use hulynet_sdk::prelude::*;
///
/// /// Counts.
/// #[interface]
/// pub trait Counter {
///     /// Adds to the value and tells it.
///     async fn add(&mut self, n: u64) -> u64;
/// }
///
/// async fn use_it(reference: impl Transport) -> Result<u64> {
///     CounterClient(reference).add(3).await
/// }
/// ```
///
/// The trait's methods follow the rules of [`macro@kind`]. In the client they
/// take `&self` and no `&Context`, and all return a `Result`.
#[proc_macro_attribute]
pub fn interface(arguments: TokenStream, item: TokenStream) -> TokenStream {
    interface::expand(arguments.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
