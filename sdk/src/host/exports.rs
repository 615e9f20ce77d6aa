//! The component's exports, for any kind.

use std::rc::Rc;

use super::bindings::exports::huly::network::guest;
use super::bindings::huly::network::{common, types};
use crate::kind::{Container, Kind};

/// Where the component keeps its one container.
pub trait Exported {
    /// The kind.
    type Kind: Kind;

    /// The container.
    fn container() -> Rc<Container<Self::Kind>>;
}

impl<E: Exported> guest::Guest for E {
    async fn start(extra: Vec<u8>) -> Result<(), common::Error> {
        Ok(E::container().start(extra).await?)
    }

    async fn request(request: guest::Incoming) -> Result<types::Body, common::Error> {
        Ok(E::container().request(request.into()).await?.into())
    }

    async fn connect(connection: guest::Connection) -> Result<(), common::Error> {
        Ok(E::container().connect(connection.into()).await?)
    }

    async fn disconnect(connection: String) {
        E::container().disconnect(connection).await;
    }

    async fn ping() -> Result<(), common::Error> {
        Ok(E::container().ping().await?)
    }

    async fn terminate(force: bool) -> guest::Termination {
        E::container().terminate(force).await.into()
    }
}

/// Makes a kind the component's export.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_kind {
    ($kind:ty) => {
        ::std::thread_local! {
            static CONTAINER: ::std::rc::Rc<$crate::__private::Container<$kind>> = ::std::rc::Rc::default();
        }

        struct Exports;

        impl $crate::__private::Exported for Exports {
            type Kind = $kind;

            fn container() -> ::std::rc::Rc<$crate::__private::Container<$kind>> {
                CONTAINER.with(::std::rc::Rc::clone)
            }
        }

        $crate::__private::bindings::export!(Exports with_types_in $crate::__private::bindings);
    };
}
