//! Real input that may lie beside the checkout.

use std::path::PathBuf;

use crate::root;

/// The path of a file of real input, or `None` with a loud message when the
/// data is not there.
#[must_use]
pub fn sample(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: real input {name} is not beside the checkout (../shared/data)");
    None
}
