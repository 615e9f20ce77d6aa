//! `#[kind]`: reads the block, checks it, and leaves the rest to `expand`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, ImplItem, ImplItemFn, ItemImpl, Path, Result, Type};

use crate::errors::{Errors, no_arguments};
use crate::expand;
use crate::hook::Hook;
use crate::method::Method;

/// A kind, checked.
pub(crate) struct Kind {
    pub(crate) ty: Type,
    /// The trait that the operations belong to, if they do to one.
    pub(crate) interface: Option<Path>,
    pub(crate) methods: Vec<Method>,
    pub(crate) hooks: Vec<Hook>,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    no_arguments("kind", arguments)?;
    let mut block: ItemImpl = syn::parse2(item).map_err(|error| {
        let message = "`#[kind]` belongs on an `impl` block: the one with the kind's operations";
        Error::new(error.span(), message)
    })?;
    let (kind, hooks) = read(&mut block);
    let hooks = hook_block(&block, &hooks);
    // With mistakes, the methods stay: the compiler need not miss them too.
    let kind = kind.map_or_else(Error::into_compile_error, |kind| expand::kind(&kind));
    Ok(quote! { #block #hooks #kind })
}

/// Hooks are methods of the type, also when the operations belong to a trait.
fn hook_block(block: &ItemImpl, hooks: &[ImplItemFn]) -> TokenStream {
    if hooks.is_empty() {
        return TokenStream::new();
    }
    let ty = &block.self_ty;
    quote! { impl #ty { #(#hooks)* } }
}

/// Reads the block and takes the hooks out of it.
fn read(block: &mut ItemImpl) -> (Result<Kind>, Vec<ImplItemFn>) {
    let mut errors = Errors::default();
    if !block.generics.params.is_empty() {
        let message =
            "a kind is one type with one state, so its `impl` cannot be generic; name the types";
        errors.add(block.generics.span(), message);
    }
    let interface = block.trait_.as_ref().map(|(_, path, _)| path.clone());
    let mut kind =
        Kind { ty: (*block.self_ty).clone(), interface, methods: Vec::new(), hooks: Vec::new() };
    let mut moved = Vec::new();
    let mut kept = Vec::new();
    for item in std::mem::take(&mut block.items) {
        let ImplItem::Fn(mut function) = item else {
            kept.push(item);
            continue;
        };
        match errors.take(Hook::occasion(&mut function.attrs)).flatten() {
            Some(occasion) => {
                if let Some(hook) = errors.take(Hook::parse(occasion, &function.sig)) {
                    if kind.hooks.iter().any(|other| other.occasion == occasion) {
                        errors.add(
                            hook.name.span(),
                            format!("there are two `#[{}]` hooks; keep one", occasion.name()),
                        );
                    }
                    kind.hooks.push(hook);
                }
                moved.push(function);
            }
            None => {
                if let Some(method) = errors.take(Method::parse(&function.sig)) {
                    let operation = method.operation();
                    if kind.methods.iter().any(|other| other.operation() == operation) {
                        errors.add(
                            method.name.span(),
                            format!("there are two operations `{operation}`; rename one"),
                        );
                    }
                    kind.methods.push(method);
                }
                kept.push(ImplItem::Fn(function));
            }
        }
    }
    block.items = kept;
    (errors.finish().map(|()| kind), moved)
}
