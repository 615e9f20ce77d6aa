//! What a method returns, told by the type's name.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Error, GenericArgument, PathArguments, Result, ReturnType, Type, parse_quote};

/// The form of an answer.
pub(crate) enum Form {
    /// One JSON value.
    Value,
    /// A payload as it is.
    Raw,
    /// A stream of JSON values.
    Items,
    /// A stream of bytes.
    Chunks,
}

/// What a method returns.
pub(crate) struct Output {
    pub(crate) form: Form,
    /// The type of the answer, without the `Result` around it.
    pub(crate) answer: Type,
    /// Whether there is a `Result` around it.
    pub(crate) fallible: bool,
    /// Where the author wrote it.
    pub(crate) span: Span,
}

impl Output {
    pub(crate) fn parse(output: &ReturnType) -> Result<Self> {
        let ReturnType::Type(_, whole) = output else {
            return Ok(Self {
                form: Form::Value,
                answer: parse_quote!(()),
                fallible: false,
                span: output.span(),
            });
        };
        let (answer, fallible) = match result_of(whole) {
            Some(answer) => (answer, true),
            None => ((**whole).clone(), false),
        };
        let form = match &answer {
            Type::Reference(_) => {
                let message = "an operation cannot return a reference: its result travels in a message; return an \
                               owned value";
                return Err(Error::new_spanned(&answer, message));
            }
            Type::ImplTrait(_) => {
                let message = "an operation cannot return `impl Trait`: return `Items<T>` for a stream of values, \
                               `Chunks` for a stream of bytes, or name the type";
                return Err(Error::new_spanned(&answer, message));
            }
            other => match last_name(other).as_deref() {
                Some("Raw") => Form::Raw,
                Some("Items") => Form::Items,
                Some("Chunks") => Form::Chunks,
                _ => Form::Value,
            },
        };
        Ok(Self { form, answer, fallible, span: whole.span() })
    }
}

/// The `T` of `Result<T, …>`.
pub(crate) fn result_of(ty: &Type) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    })
}

/// `Raw` of `hulynet_sdk::Raw`.
pub(crate) fn last_name(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|last| last.ident.to_string())
}
