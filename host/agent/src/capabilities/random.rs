//! `random`: numbers that nobody can guess, for every kind. Each container has
//! a seed of its own. All that is limited is how many bytes it draws at a time,
//! because the host holds them.

use wasmtime_wasi::WasiCtxBuilder;

/// Bytes that are drawn at a time. Asking for more ends the container.
pub(crate) const DRAW: u64 = 1024 * 1024;

/// Gives a container its random numbers.
pub(super) fn give(wasi: &mut WasiCtxBuilder) {
    wasi.max_random_size(DRAW);
}
