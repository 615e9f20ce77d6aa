//! Whether bytes are a kind: each refusal says what the file is instead and
//! what to do.

use wasmparser::{BinaryReaderError, Parser, Payload};

use super::sections::{COMPONENT, MAGIC, MODULE, Sections};
use crate::world::World;

/// Why bytes are not a kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("is empty; is it still being written?")]
    Empty,
    #[error("is not a WebAssembly file; build one with: cargo build --target wasm32-wasip2")]
    NotWasm,
    #[error("is truncated: it ends after {0} bytes; copy it again")]
    Truncated(usize),
    #[error(
        "is a core module and not a component; build it with --target wasm32-wasip2, or componentise \
         it with: wasm-tools component new"
    )]
    CoreModule,
    #[error("is not valid WebAssembly: {0}")]
    Malformed(String),
    #[error("has an encoding that this version does not know; build it with a current toolchain")]
    Encoding,
    #[error(
        "is a component of another world: it exports {exports}, expected {}; build it with the SDK or \
         against wit/",
        World::ALL.map(World::guest).join(" or ")
    )]
    OtherWorld { exports: String },
}

/// Checks the first bytes, before anything is compiled.
pub(crate) fn header(bytes: &[u8]) -> Result<(), Invalid> {
    let (magic, rest) = bytes.split_at(bytes.len().min(MAGIC.len()));
    let kind = rest.split_at(rest.len().min(COMPONENT.len())).0;
    match (magic, kind) {
        ([], _) => Err(Invalid::Empty),
        _ if !MAGIC.starts_with(magic) => Err(Invalid::NotWasm),
        (_, kind) if kind.len() < COMPONENT.len() => Err(Invalid::Truncated(bytes.len())),
        // A truncated file has a section that is longer than what is left.
        (_, COMPONENT) if Sections::of(bytes).any(|section| section.is_err()) => {
            Err(Invalid::Truncated(bytes.len()))
        }
        (_, COMPONENT) => Ok(()),
        (_, MODULE) => Err(Invalid::CoreModule),
        _ => Err(Invalid::Encoding),
    }
}

/// The world that a component is of, before it is compiled: which engine does
/// that depends on it.
pub(crate) fn world(bytes: &[u8]) -> Result<World, Invalid> {
    let names = exports(bytes)?;
    World::of(&names).ok_or_else(|| {
        let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        Invalid::OtherWorld { exports }
    })
}

/// What a component exports, by name.
fn exports(bytes: &[u8]) -> Result<Vec<&str>, Invalid> {
    let malformed = |error: BinaryReaderError| Invalid::Malformed(error.to_string());
    let mut names = Vec::new();
    // What is nested in it exports for its own use.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    names.push(export.map_err(malformed)?.name.name);
                }
            }
            Payload::UnknownSection { id, .. } => {
                return Err(Invalid::Malformed(format!("it has an unknown section {id}")));
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_wrong_file_has_its_own_message() {
        assert_eq!(header(b""), Err(Invalid::Empty));
        assert_eq!(header(b"#!/bin/sh"), Err(Invalid::NotWasm));
        assert_eq!(header(b"\0as"), Err(Invalid::Truncated(3)));
        assert_eq!(header(b"\0asm\x0d\0\x01"), Err(Invalid::Truncated(7)));
        assert_eq!(header(b"\0asm\x01\0\0\0"), Err(Invalid::CoreModule));
        assert_eq!(header(b"\0asm\x02\0\0\0"), Err(Invalid::Encoding));
        assert_eq!(header(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn a_section_that_goes_on_after_the_end_means_a_truncated_file() {
        assert_eq!(header(b"\0asm\x0d\0\x01\0\x00\x02ab"), Ok(()));
        assert_eq!(header(b"\0asm\x0d\0\x01\0\x00\x03ab"), Err(Invalid::Truncated(12)));
        assert_eq!(header(b"\0asm\x0d\0\x01\0\x00"), Err(Invalid::Truncated(9)));
    }
}
