//! One operation: a method's signature, checked.

use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, Pat, Result, Signature, Type};

use crate::errors::Errors;
use crate::output::{Output, last_name};

/// A parameter of an operation.
pub(crate) enum Parameter {
    /// `&Context`: the request's circumstances.
    Context,
    /// An argument.
    Argument(Box<Argument>),
}

/// An argument of an operation.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    /// Whether it is the payload as it came.
    pub(crate) raw: bool,
}

/// An operation.
pub(crate) struct Method {
    pub(crate) name: Ident,
    pub(crate) asynchronous: bool,
    pub(crate) exclusive: bool,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output: Output,
}

impl Method {
    pub(crate) fn parse(signature: &Signature) -> Result<Self> {
        let mut errors = Errors::default();
        errors.take(plain(signature));
        let exclusive = errors.take(exclusive(signature));
        let mut parameters = Vec::new();
        for input in &signature.inputs {
            if let FnArg::Typed(input) = input {
                parameters.extend(errors.take(parameter(&input.pat, &input.ty)));
            }
        }
        let arguments: Vec<&Argument> = parameters.iter().filter_map(Parameter::argument).collect();
        if let Some(raw) = arguments.iter().find(|argument| argument.raw && arguments.len() > 1) {
            errors
                .add(raw.ty.span(), "`Raw` is the whole payload, so it must be the only argument");
        }
        let output = errors.take(Output::parse(&signature.output));
        let asynchronous = signature.asyncness.is_some();
        match (errors.finish(), exclusive, output) {
            (Ok(()), Some(exclusive), Some(output)) => Ok(Self {
                name: signature.ident.clone(),
                asynchronous,
                exclusive,
                parameters,
                output,
            }),
            (Err(error), ..) => Err(error),
            (Ok(()), ..) => Err(Error::new_spanned(signature, "not an operation")),
        }
    }

    /// The name on the wire.
    pub(crate) fn operation(&self) -> String {
        self.name.unraw().to_string()
    }

    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters.iter().filter_map(Parameter::argument)
    }
}

impl Parameter {
    fn argument(&self) -> Option<&Argument> {
        match self {
            Self::Argument(argument) => Some(argument),
            Self::Context => None,
        }
    }
}

impl Argument {
    /// Its name on the wire.
    pub(crate) fn wire_name(&self) -> String {
        self.name.unraw().to_string()
    }
}

/// Refuses what cannot be called by a message.
pub(crate) fn plain(signature: &Signature) -> Result<()> {
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        let message = "an operation cannot be generic: a message does not say the types; name them";
        return Err(Error::new_spanned(&signature.generics, message));
    }
    if let Some(constness) = signature.constness {
        return Err(Error::new_spanned(
            constness,
            "an operation cannot be `const`; remove the word",
        ));
    }
    if let Some(unsafety) = signature.unsafety {
        return Err(Error::new_spanned(
            unsafety,
            "an operation cannot be `unsafe`: anybody may call it",
        ));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, "an operation cannot be `extern`; remove the word"));
    }
    Ok(())
}

/// Whether the receiver is `&mut self`.
pub(crate) fn exclusive(signature: &Signature) -> Result<bool> {
    let Some(FnArg::Receiver(receiver)) = signature.inputs.first() else {
        let name = &signature.ident;
        let message = format!(
            "`{name}` has no `self`: an operation takes `&self` or `&mut self`; make it a `#[start]` hook, or move it \
             to an `impl` block without `#[kind]`"
        );
        return Err(Error::new_spanned(name, message));
    };
    if receiver.reference.is_none() || receiver.colon_token.is_some() {
        let message = "the container keeps its state: take `&self` or `&mut self`";
        return Err(Error::new_spanned(receiver, message));
    }
    Ok(receiver.mutability.is_some())
}

fn parameter(pattern: &Pat, ty: &Type) -> Result<Parameter> {
    let bare = match ty {
        Type::Reference(reference) => &*reference.elem,
        other => other,
    };
    if last_name(bare).is_some_and(|name| name == "Context") {
        return match ty {
            Type::Reference(reference) if reference.mutability.is_none() => Ok(Parameter::Context),
            _ => {
                Err(Error::new_spanned(ty, "the request's circumstances are lent: take `&Context`"))
            }
        };
    }
    let name = match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => name.ident.clone(),
        _ => {
            let message =
                "an argument needs a name, by which callers may pass it; take it apart in the body";
            return Err(Error::new_spanned(pattern, message));
        }
    };
    match ty {
        Type::Reference(_) => {
            let message = format!(
                "argument `{name}` is borrowed, but arguments come in a message: take an owned value (`String` for \
                 `&str`, `Vec<T>` for `&[T]`)"
            );
            Err(Error::new_spanned(ty, message))
        }
        Type::ImplTrait(_) => {
            let message = format!(
                "argument `{name}` needs a type of its own: a message does not say it; name the type"
            );
            Err(Error::new_spanned(ty, message))
        }
        _ => {
            let raw = last_name(ty).is_some_and(|name| name == "Raw");
            Ok(Parameter::Argument(Box::new(Argument { name, ty: ty.clone(), raw })))
        }
    }
}
