//! What the examples share: how a program ends.

use std::{error::Error, process::ExitCode};

/// The snippets of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Tells a person why a program failed. Errors of the network name the thing,
/// the cause and the remedy, so their text is all that there is to say.
#[must_use]
pub fn told(outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
