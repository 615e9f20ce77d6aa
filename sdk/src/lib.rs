//! What an author of a container kind uses.
//!
//! A kind is a type and its methods:
//!
//! ```
//! use hulynet_sdk::prelude::*;
//!
//! #[derive(Default)]
//! struct Counter {
//!     value: u64,
//! }
//!
//! #[kind]
//! impl Counter {
//!     fn add(&mut self, n: u64) -> u64 {
//!         self.value += n;
//!         self.value
//!     }
//! }
//! ```
//!
//! In a crate of type `cdylib`, built for `wasm32-wasip2`, that is a component
//! which an agent serves. [`kind`] tells what methods may look like,
//! [`interface`] makes a typed client of the same methods, and the modules here
//! are what a container may do beside answering. Natively the crate is what a
//! host program needs for typed clients, and [`testing`] for unit tests.

extern crate self as hulynet_sdk;

mod answer;
mod arguments;
mod bounds;
pub mod connections;
pub mod containers;
mod context;
pub mod documents;
mod error;
mod host;
pub mod identity;
mod items;
mod kind;
pub mod log;
mod send;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;
mod transport;

use std::future::Future;

pub use answer::{Answer, Chunks, Raw};
pub use context::{Caller, Connection, ContainerId, Context, Epoch, Labels, Termination};
pub use error::{Error, ErrorKind, Result, Retry};
pub use hulynet_sdk_macros::{interface, kind};
pub use items::{Items, Sender};
pub use kind::Kind;
pub use send::MaybeSend;
pub use transport::Transport;

/// Goes on with something beside the request that is being answered, and after
/// its answer. It ends with the container, and when the request is cancelled.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    host::spawn(future);
}

/// What most kinds need.
pub mod prelude {
    pub use crate::containers::{Condition, GetOptions, Reference};
    pub use crate::identity::identity;
    pub use crate::{
        Caller, Chunks, Connection, Context, Error, Items, Raw, Result, Termination, Transport,
        connections, containers, documents, interface, kind, log, spawn,
    };
}

/// What the macros' code uses.
#[doc(hidden)]
pub mod __private {
    pub use crate::arguments::{Arguments, Encoder, extra};
    pub use crate::bounds::{Initial, IntoOutcome, IntoTermination, checked};
    pub use crate::kind::{Container, Request, State, alone, shared, used};

    #[cfg(target_family = "wasm")]
    pub use {
        crate::__export_kind as export_kind,
        crate::host::{bindings, exports::Exported},
        wit_bindgen,
    };
}
