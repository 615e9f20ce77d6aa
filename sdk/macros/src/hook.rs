//! Methods that the host calls on occasions of its own.

use syn::{Attribute, Error, FnArg, Ident, Meta, Result, ReturnType, Signature, Type};

use crate::method::{exclusive, plain};
use crate::output::{last_name, result_of};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Start,
    Connect,
    Disconnect,
    Ping,
    Terminate,
}

impl Occasion {
    const ALL: [Self; 5] =
        [Self::Start, Self::Connect, Self::Disconnect, Self::Ping, Self::Terminate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Ping => "ping",
            Self::Terminate => "terminate",
        }
    }

    /// What a hook of the occasion looks like.
    fn form(self) -> &'static str {
        match self {
            Self::Start => "fn(extra: T) -> Self`, or `fn() -> Result<Self, E>",
            Self::Connect => "fn(&self, connection: &Connection)",
            Self::Disconnect => "fn(&self, connection: &str)",
            Self::Ping => "fn(&self)",
            Self::Terminate => "fn(&self, force: bool)",
        }
    }

    /// How many parameters there are beside the receiver, at least and at most.
    fn parameters(self) -> (usize, usize) {
        match self {
            Self::Start => (0, 1),
            Self::Connect | Self::Disconnect | Self::Terminate => (1, 1),
            Self::Ping => (0, 0),
        }
    }
}

/// A hook, checked.
pub(crate) struct Hook {
    pub(crate) occasion: Occasion,
    pub(crate) name: Ident,
    pub(crate) asynchronous: bool,
    /// Whether it takes `&mut self`; never of `#[start]`.
    pub(crate) exclusive: bool,
    /// The type of `extra`, of `#[start]`.
    pub(crate) extra: Option<Extra>,
    /// Whether `#[start]` returns a `Result`.
    pub(crate) fallible: bool,
}

/// The parameter of `#[start]`.
pub(crate) struct Extra {
    pub(crate) ty: Type,
    pub(crate) raw: bool,
}

impl Hook {
    /// Takes the hook's attribute away; `None` if there is none.
    pub(crate) fn occasion(attributes: &mut Vec<Attribute>) -> Result<Option<Occasion>> {
        let mut found = None;
        let mut twice = None;
        attributes.retain(|attribute| {
            let known = Occasion::ALL.into_iter().find(|occasion| {
                matches!(&attribute.meta, Meta::Path(path) if path.is_ident(occasion.name()))
            });
            if known.is_some() && found.is_some() {
                twice = Some(Error::new_spanned(
                    attribute,
                    "a method is a hook of one occasion; write two methods",
                ));
            }
            found = found.or(known);
            known.is_none()
        });
        twice.map_or(Ok(found), Err)
    }

    pub(crate) fn parse(occasion: Occasion, signature: &Signature) -> Result<Self> {
        plain(signature)?;
        let name = signature.ident.clone();
        let wrong = || {
            let message = format!("a `#[{}]` hook is `{}`", occasion.name(), occasion.form());
            Error::new_spanned(signature, message)
        };
        let typed: Vec<&Type> = signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(input) => Some(&*input.ty),
                FnArg::Receiver(_) => None,
            })
            .collect();
        let (least, most) = occasion.parameters();
        let exclusive = match occasion {
            Occasion::Start if typed.len() == signature.inputs.len() => false,
            Occasion::Start => return Err(wrong()),
            _ => exclusive(signature).map_err(|_| wrong())?,
        };
        if !(least..=most).contains(&typed.len()) {
            return Err(wrong());
        }
        let mut fallible = false;
        let mut extra = None;
        if occasion == Occasion::Start {
            let ReturnType::Type(_, output) = &signature.output else { return Err(wrong()) };
            fallible = result_of(output).is_some();
            extra = typed.first().map(|ty| Extra {
                ty: (*ty).clone(),
                raw: last_name(ty).is_some_and(|name| name == "Raw"),
            });
        }
        Ok(Self {
            occasion,
            name,
            asynchronous: signature.asyncness.is_some(),
            exclusive,
            extra,
            fallible,
        })
    }
}
