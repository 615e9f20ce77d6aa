//! What is outside of the container. In a component it is the agent, through
//! the contract in `wit/`; natively, where kinds are unit-tested, it is a
//! stand-in that records what a kind tells its connections and has no network.

#[cfg(target_family = "wasm")]
mod bound;
#[cfg(target_family = "wasm")]
mod convert;
#[cfg(target_family = "wasm")]
pub(crate) mod exports;
#[cfg(target_family = "wasm")]
pub(crate) use bound::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) mod unbound;
#[cfg(not(target_family = "wasm"))]
pub(crate) use unbound::*;

/// The contract, bound.
#[cfg(target_family = "wasm")]
#[allow(
    missing_docs,
    unsafe_code,
    unused_qualifications,
    clippy::all,
    reason = "generated from the contract"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "container",
        pub_export_macro: true,
        default_bindings_module: "hulynet_sdk::__private::bindings",
        runtime_path: "::hulynet_sdk::__private::wit_bindgen::rt",
        generate_unused_types: true,
    });
}
