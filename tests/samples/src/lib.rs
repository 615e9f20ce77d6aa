//! Real input that may lie beside the checkout.
//!
//! It is too large and not ours to be kept in it. A test that needs it passes
//! without it, so it must be seen that nothing was compared: the message goes
//! straight to standard error, because what `eprintln!` writes is shown only
//! for tests that fail.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The path of a file of real input, or `None` with a message that nobody
/// misses when it is not there.
#[must_use]
pub fn sample(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.is_file() {
        return Some(path);
    }
    let skipped = format!(
        "\nSKIPPED: real input {name} is not beside the checkout (../shared/data/{name}); \
         nothing was compared with it\n"
    );
    // Without a stderr there is nobody to tell, which is no reason to fail.
    let _ = io::stderr().write_all(skipped.as_bytes());
    None
}
