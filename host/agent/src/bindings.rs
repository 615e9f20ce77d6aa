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
