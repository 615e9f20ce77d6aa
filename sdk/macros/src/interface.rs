//! `#[interface]`: the trait as it is, and a client with its methods.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, ItemTrait, Result, TraitItem, TraitItemFn};

use crate::errors::{Errors, no_arguments};
use crate::method::Method;
use crate::output::Form;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    no_arguments("interface", arguments)?;
    let interface: ItemTrait = syn::parse2(item).map_err(|error| {
        let message =
            "`#[interface]` belongs on a `trait`: the one with the operations that callers use";
        Error::new(error.span(), message)
    })?;
    // With mistakes, the trait stays: the compiler need not miss it too.
    let client = read(&interface)
        .map_or_else(Error::into_compile_error, |methods| client(&interface, &methods));
    Ok(quote! {
        #[allow(async_fn_in_trait, reason = "a component has one thread; clients do not go through the trait")]
        #interface

        #client
    })
}

fn client(interface: &ItemTrait, methods: &[(Vec<&Attribute>, Method)]) -> TokenStream {
    let visibility = &interface.vis;
    let client = format_ident!("{}Client", interface.ident);
    let methods = methods.iter().map(|(attributes, method)| operation(attributes, method));
    let about = format!(" Typed requests to a container that offers [`{}`].", interface.ident);
    quote! {
        #[doc = #about]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #client<T>(
            /// Where the requests go.
            pub T,
        );

        impl<T: ::hulynet_sdk::Transport> #client<T> {
            #(#methods)*
        }
    }
}

/// The operations, with the attributes that the client's methods share.
fn read(interface: &ItemTrait) -> Result<Vec<(Vec<&Attribute>, Method)>> {
    let mut errors = Errors::default();
    if !interface.generics.params.is_empty() {
        errors.add(
            interface.generics.span(),
            "an interface cannot be generic: a message does not say the types",
        );
    }
    let mut methods: Vec<(Vec<&Attribute>, Method)> = Vec::new();
    for item in &interface.items {
        let TraitItem::Fn(function) = item else {
            errors.add(item.span(), "an interface has operations only; move this to another trait");
            continue;
        };
        if let Some(body) = &function.default {
            errors.add(
                body.span(),
                "an operation of an interface has no body: the kind that implements it has",
            );
        }
        if let Some(method) = errors.take(Method::parse(&function.sig)) {
            let operation = method.operation();
            if methods.iter().any(|(_, other)| other.operation() == operation) {
                errors.add(
                    method.name.span(),
                    format!("there are two operations `{operation}`; rename one"),
                );
            }
            methods.push((shared_attributes(function), method));
        }
    }
    errors.finish()?;
    Ok(methods)
}

fn shared_attributes(function: &TraitItemFn) -> Vec<&Attribute> {
    let shared = ["doc", "deprecated", "cfg"];
    function
        .attrs
        .iter()
        .filter(|attribute| shared.iter().any(|name| attribute.path().is_ident(name)))
        .collect()
}

/// Encodes, sends, decodes.
fn operation(attributes: &[&Attribute], method: &Method) -> TokenStream {
    let name = &method.name;
    let operation = method.operation();
    let parameters = method.arguments().map(|argument| {
        let (name, ty) = (&argument.name, &argument.ty);
        quote! { #name: #ty }
    });
    let payload = match method.arguments().find(|argument| argument.raw) {
        Some(argument) => {
            let name = &argument.name;
            quote! { #name.0 }
        }
        None => {
            let pushes = method.arguments().map(|argument| {
                let (name, wire) = (&argument.name, argument.wire_name());
                quote_spanned! { argument.ty.span() => .push(#wire, &#name)? }
            });
            quote! { ::hulynet_sdk::__private::Encoder::default() #(#pushes)* .finish() }
        }
    };
    let ty = &method.output.answer;
    let decode = match method.output.form {
        Form::Value => quote_spanned! { ty.span() => answer.value::<#ty>().await },
        Form::Raw => quote! { answer.bytes().await.map(::hulynet_sdk::Raw) },
        Form::Chunks => quote! { ::core::result::Result::Ok(answer.chunks()) },
        Form::Items => {
            quote_spanned! { ty.span() => ::core::result::Result::Ok(<#ty>::from(answer.chunks())) }
        }
    };
    quote! {
        #(#attributes)*
        ///
        /// # Errors
        /// What the container answers, or why it could not be asked.
        pub async fn #name(&self, #(#parameters),*) -> ::hulynet_sdk::Result<#ty> {
            let payload = #payload;
            let answer = ::hulynet_sdk::Transport::request(&self.0, #operation, payload).await?;
            #decode
        }
    }
}
