//! `environment` and `secrets`: variables, by name.
//!
//! Which ones a kind has is decided when it is loaded. Any other name has no
//! value, whether or not the operator gave it one.

use hulynet_agent_kinds::Terms;
use wasmtime_wasi::WasiCtxBuilder;

/// Gives a container its variables. The values of its secrets are among them
/// since its kind was loaded.
pub(super) fn give(wasi: &mut WasiCtxBuilder, terms: &Terms) {
    for (name, value) in &terms.environment {
        wasi.env(name, value);
    }
}
