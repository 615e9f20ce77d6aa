//! Collects mistakes, so that an author sees all of them at once.

use proc_macro2::{Span, TokenStream};
use syn::{Error, Result};

#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Keeps the error, if it is one.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                match &mut self.0 {
                    Some(errors) => errors.combine(error),
                    None => self.0 = Some(error),
                }
                None
            }
        }
    }

    /// Keeps an error.
    pub(crate) fn add(&mut self, span: Span, message: impl std::fmt::Display) {
        self.take::<()>(Err(Error::new(span, message)));
    }

    /// Fails if there were any.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// The macros take no arguments.
pub(crate) fn no_arguments(name: &str, arguments: TokenStream) -> Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(arguments, format!("`#[{name}]` takes no arguments")))
}
