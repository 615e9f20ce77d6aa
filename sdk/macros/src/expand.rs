//! What `#[kind]` adds beside the block: the `Kind` that runs the type, and
//! the component's exports.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::hook::{Hook, Occasion};
use crate::kind::Kind;
use crate::method::{Method, Parameter};
use crate::output::Form;

pub(crate) fn kind(kind: &Kind) -> TokenStream {
    let ty = &kind.ty;
    let operations = kind.methods.iter().map(Method::operation);
    let start = start(kind);
    let arms = kind.methods.iter().map(|method| arm(kind, method));
    let hooks = kind.hooks.iter().map(|hook| occasion(kind, hook));
    quote! {
        #[automatically_derived]
        impl ::hulynet_sdk::Kind for #ty {
            const OPERATIONS: &'static [&'static str] = &[#(#operations),*];

            #start

            #[allow(unused_variables, clippy::let_unit_value, reason = "not every form of a method needs all")]
            async fn request(
                state: &::hulynet_sdk::__private::State<Self>,
                request: ::hulynet_sdk::__private::Request,
            ) -> ::hulynet_sdk::Result<::hulynet_sdk::Answer> {
                let ::hulynet_sdk::__private::Request { operation, payload, context } = request;
                match operation.as_str() {
                    #(#arms)*
                    other => ::core::result::Result::Err(
                        ::hulynet_sdk::Error::unknown_operation(other, Self::OPERATIONS),
                    ),
                }
            }

            #(#hooks)*
        }

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "the exports of a component are C functions")]
        const _: () = {
            ::hulynet_sdk::__private::export_kind!(#ty);
        };

        // Without exports nothing else would use the kind.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = ::hulynet_sdk::__private::used::<#ty>;
    }
}

/// Decodes, locks, calls, encodes.
fn arm(kind: &Kind, method: &Method) -> TokenStream {
    let operation = method.operation();
    let locals: Vec<Ident> =
        (0..method.arguments().count()).map(|at| format_ident!("argument_{at}")).collect();
    let decode = decode(method, &operation, &locals);
    let mut next = locals.iter();
    let passed = method.parameters.iter().map(|parameter| match parameter {
        Parameter::Context => quote! { &context },
        Parameter::Argument(_) => {
            let local = next.next();
            quote! { #local }
        }
    });
    let ty = &kind.ty;
    let name = &method.name;
    // The author's result is what the compiler points at if it does not fit.
    let span = method.output.span;
    let callee = match &kind.interface {
        Some(interface) => quote_spanned! { span => <#ty as #interface>::#name },
        None => quote_spanned! { span => <#ty>::#name },
    };
    let (lock, this) = if method.exclusive {
        (
            quote! { let mut this = ::hulynet_sdk::__private::alone(state, &context).await?; },
            quote! { &mut this },
        )
    } else {
        (
            quote! { let this = ::hulynet_sdk::__private::shared(state, &context).await?; },
            quote! { &this },
        )
    };
    let wait = waiting(method.asynchronous);
    let encode = encode(method);
    let call = quote_spanned! { span => #callee(#this, #(#passed),*) #wait };
    let result = if method.output.fallible {
        quote_spanned! { span => ::hulynet_sdk::__private::checked(#call)? }
    } else {
        call
    };
    quote! {
        #operation => {
            #decode
            #lock
            let result = #result;
            #encode
        }
    }
}

fn decode(method: &Method, operation: &str, locals: &[Ident]) -> TokenStream {
    let arguments: Vec<_> = method.arguments().collect();
    if let ([argument], [local]) = (arguments.as_slice(), locals)
        && argument.raw
    {
        return quote! { let #local = ::hulynet_sdk::Raw(payload); };
    }
    let names = arguments.iter().map(|argument| argument.wire_name());
    let taken = arguments.iter().enumerate().map(|(at, argument)| {
        let ty = &argument.ty;
        quote_spanned! { ty.span() => arguments.take::<#ty>(#at)? }
    });
    let parse = quote! {
        ::hulynet_sdk::__private::Arguments::parse(#operation, &[#(#names),*], &payload)?
    };
    if locals.is_empty() {
        return quote! { #parse; };
    }
    quote! {
        let (#(#locals,)*) = {
            let arguments = #parse;
            (#(#taken,)*)
        };
        ::core::mem::drop(payload);
    }
}

fn encode(method: &Method) -> TokenStream {
    let answer = &method.output.answer;
    match method.output.form {
        Form::Value => {
            quote_spanned! { answer.span() => ::hulynet_sdk::Answer::of::<#answer>(&result) }
        }
        Form::Raw | Form::Chunks => quote! {
            ::core::result::Result::Ok(::hulynet_sdk::Answer::from(result))
        },
        Form::Items => quote_spanned! { answer.span() =>
            ::core::result::Result::Ok(::hulynet_sdk::Answer::from(::hulynet_sdk::Chunks::from(result)))
        },
    }
}

/// The lock that a hook's receiver needs, and the receiver.
fn lock(exclusive: bool) -> (TokenStream, TokenStream) {
    if exclusive {
        (quote! { let mut this = state.write().await; }, quote! { &mut this })
    } else {
        (quote! { let this = state.read().await; }, quote! { &this })
    }
}

fn waiting(asynchronous: bool) -> Option<TokenStream> {
    asynchronous.then(|| quote! { .await })
}

fn start(kind: &Kind) -> TokenStream {
    let ty = &kind.ty;
    let body = match kind.hooks.iter().find(|hook| hook.occasion == Occasion::Start) {
        None => {
            let span = ty.span();
            quote_spanned! { span =>
                ::core::result::Result::Ok(<#ty as ::hulynet_sdk::__private::Initial>::initial())
            }
        }
        Some(hook) => {
            let name = &hook.name;
            let wait = waiting(hook.asynchronous);
            let (decode, passed) = match &hook.extra {
                None => (quote! {}, quote! {}),
                Some(extra) if extra.raw => (quote! {}, quote! { ::hulynet_sdk::Raw(extra) }),
                Some(extra) => {
                    let ty = &extra.ty;
                    (
                        quote_spanned! { ty.span() =>
                            let extra = ::hulynet_sdk::__private::extra::<#ty>(&extra)?;
                        },
                        quote! { extra },
                    )
                }
            };
            let made = quote! { <#ty>::#name(#passed) #wait };
            if hook.fallible {
                quote! { #decode ::hulynet_sdk::__private::checked(#made) }
            } else {
                quote! { #decode ::core::result::Result::Ok(#made) }
            }
        }
    };
    quote! {
        #[allow(unused_variables, reason = "a kind may ignore what it is started with")]
        async fn start(extra: ::std::vec::Vec<u8>) -> ::hulynet_sdk::Result<Self> {
            #body
        }
    }
}

fn occasion(kind: &Kind, hook: &Hook) -> TokenStream {
    let ty = &kind.ty;
    let name = &hook.name;
    let (lock, this) = lock(hook.exclusive);
    let wait = waiting(hook.asynchronous);
    let occasion = Ident::new(hook.occasion.name(), Span::call_site());
    let state = quote! { state: &::hulynet_sdk::__private::State<Self> };
    let outcome =
        |call: TokenStream| quote! { ::hulynet_sdk::__private::IntoOutcome::into_outcome(#call) };
    let (parameters, result, body) = match hook.occasion {
        Occasion::Start => return TokenStream::new(),
        Occasion::Connect => (
            quote! { , connection: ::hulynet_sdk::Connection },
            quote! { -> ::hulynet_sdk::Result<()> },
            outcome(quote! { <#ty>::#name(#this, &connection) #wait }),
        ),
        Occasion::Disconnect => (
            quote! { , connection: ::std::string::String },
            quote! {},
            quote! { <#ty>::#name(#this, &connection) #wait },
        ),
        Occasion::Ping => (
            quote! {},
            quote! { -> ::hulynet_sdk::Result<()> },
            outcome(quote! { <#ty>::#name(#this) #wait }),
        ),
        Occasion::Terminate => (
            quote! { , force: bool },
            quote! { -> ::hulynet_sdk::Termination },
            quote! {
                ::hulynet_sdk::__private::IntoTermination::into_termination(<#ty>::#name(#this, force) #wait)
            },
        ),
    };
    quote! {
        async fn #occasion(#state #parameters) #result {
            #lock
            #body
        }
    }
}
