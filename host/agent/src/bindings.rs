//! The host's side of the contract in `wit/`, generated.
#![allow(missing_docs, unreachable_pub, reason = "generated; the contract is documented in wit/")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "container",
    imports: { default: trappable },
    with: {
        "huly:network/types.caller": crate::capabilities::CallerHandle,
        "huly:network/containers.reference": crate::capabilities::ReferenceHandle,
        "huly:network/documents.workspace": crate::capabilities::WorkspaceHandle,
    },
});

/// The world `container-sync`. What both worlds say alike is the same in Rust.
pub(crate) mod sync {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "container-sync",
        imports: {
            "huly:network/containers-sync.[method]reference.id": trappable,
            "huly:network/containers-sync.[drop]reference": trappable,
            "huly:network/documents-sync.[drop]workspace": trappable,
            // The container waits, and nothing else does.
            default: async | trappable,
        },
        with: {
            "huly:network/common": crate::bindings::huly::network::common,
            "huly:network/document-values": crate::bindings::huly::network::document_values,
            "huly:network/log": crate::bindings::huly::network::log,
            "huly:network/identity": crate::bindings::huly::network::identity,
            "huly:network/connections": crate::bindings::huly::network::connections,
            "huly:network/containers-sync.reference": crate::capabilities::ReferenceHandle,
            "huly:network/documents-sync.workspace": crate::capabilities::WorkspaceHandle,
        },
    });
}
