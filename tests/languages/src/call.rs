//! Requests through the command line, as programs see them.

use end_to_end::Network;
use serde_json::Value;

/// How a request failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// For programs.
    pub kind: String,
    /// Whether a repetition is safe.
    pub retry: String,
    /// For people.
    pub message: String,
}

/// Asks a container, for the account `anna`.
///
/// # Panics
/// When the request fails.
#[must_use]
pub fn call(network: &Network, container: &str, operation: &str, arguments: &Value) -> Value {
    network.json(&["call", container, operation, &arguments.to_string(), "--account", "anna"])
}

/// Asks a container for something that fails.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn fails(network: &Network, container: &str, operation: &str, arguments: &Value) -> Failed {
    let arguments = arguments.to_string();
    let output = network.run(&["call", container, operation, &arguments, "--json"]);
    assert_ne!(output.code, Some(0), "{output:?}");
    let told: Value = serde_json::from_str(&output.err).unwrap_or_else(|_| panic!("{output:?}"));
    let field = |name: &str| {
        told.get("error").and_then(|error| error.get(name)?.as_str()).unwrap_or_default().to_owned()
    };
    Failed { kind: field("kind"), retry: field("retry"), message: field("message") }
}
