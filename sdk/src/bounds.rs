//! What the types in a kind's methods must be able to do. Each bound is a
//! trait of its own, so that the compiler can tell an author the remedy.

use serde::de::DeserializeOwned;

use crate::{Error, Result, Termination};

/// A type that arguments can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument: it has no form in JSON",
    label = "not made from JSON",
    note = "derive `serde::Deserialize` for it, or take the whole payload as `Raw`"
)]
pub trait Argument: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Argument for T {}

/// A state that needs nothing to start with.
#[diagnostic::on_unimplemented(
    message = "nothing says how a container of kind `{Self}` starts",
    label = "has neither a `#[start]` hook nor a `Default`",
    note = "derive `Default` for it, or add a method `#[start] fn open() -> Self`"
)]
pub trait Initial {
    /// The state.
    fn initial() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> Initial for T {
    fn initial() -> Self {
        Self::default()
    }
}

/// An error that can cross the network.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an operation: callers could not read it",
    label = "does not become a `hulynet_sdk::Error`",
    note = "write `impl From<{Self}> for hulynet_sdk::Error`, usually with `Error::application`"
)]
pub trait IntoError {
    /// As an error of the SDK.
    fn into_error(self) -> Error;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Error>> IntoError for E {
    fn into_error(self) -> Error {
        self.into()
    }
}

/// The result of an operation or hook, with an error that can cross the
/// network.
///
/// # Errors
/// The method's own.
pub fn checked<T, E: IntoError>(result: Result<T, E>) -> Result<T> {
    result.map_err(IntoError::into_error)
}

/// The result of `#[connect]` and `#[ping]`: nothing, or a `Result` of nothing.
pub trait IntoOutcome {
    /// As a result of the SDK.
    ///
    /// # Errors
    /// The hook's own.
    fn into_outcome(self) -> Result<()>;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<()> {
        Ok(())
    }
}

impl<E: IntoError> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<()> {
        checked(self)
    }
}

/// The result of `#[terminate]`: nothing, or a [`Termination`].
pub trait IntoTermination {
    /// As a termination.
    fn into_termination(self) -> Termination;
}

impl IntoTermination for () {
    fn into_termination(self) -> Termination {
        Termination::Ended
    }
}

impl IntoTermination for Termination {
    fn into_termination(self) -> Termination {
        self
    }
}
