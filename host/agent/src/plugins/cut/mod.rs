//! Cuts what a kind would do for long without giving way, before it is compiled.
//!
//! The engine asks whether it is somebody else's turn where a function begins,
//! where a loop goes on, and before an instruction that fills or copies; but not
//! in such an instruction, and not in a long row of others, of which each may take
//! a microsecond or touch new memory. So functions are added to each module, and
//! called where that may last: one that does nothing, after [`module::ROW`]
//! instructions, and those that fill or copy memory piece after piece in a loop.
//! They come after all others, so that no index changes. Instructions on tables
//! stay as they are: a container's tables are small.
//!
//! Only what must be understood for that is read; other sections are copied as they
//! are. A file that was cut is taken only if it was valid as it came, and the
//! compiler judges the result.

mod module;
mod step;

use std::borrow::Cow;

use wasm_encoder::Encode;
use wasmparser::{BinaryReaderError, Validator, WasmFeatures};

use self::module::Module;
use super::sections::{COMPONENT, HEADER, MAGIC, MODULE, Sections, Truncated};

/// Compiled code depends on how its file was cut, and on which files are refused
/// before: this changes with either.
pub(super) const VERSION: u32 = 2;

/// How deeply components may be nested: those that tools make are a few levels deep.
const DEEPEST: usize = 32;

/// Functions that are added to all modules of a file: those that tools make need a
/// few each.
const MOST_ADDED: u32 = 1_000;

/// The largest file, so that no section can outgrow what its length is written in.
const LARGEST: usize = 1 << 30;

/// In a component: the sections that contain others.
const CORE_MODULE: u8 = 1;
const NESTED_COMPONENT: u8 = 4;

/// Why a file is not cut: it is not valid, or more than is taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uncut {
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error(transparent)]
    Malformed(#[from] BinaryReaderError),
    #[error("it has more than {LARGEST} bytes, which is the most that is taken")]
    TooLarge,
    #[error(
        "components are nested in it more than {DEEPEST} deep, which is the most that is taken"
    )]
    TooDeep,
    #[error(
        "it fills and copies memory in more than {MOST_ADDED} forms, which is the most that is taken"
    )]
    TooManyForms,
    #[error("it has more types or functions than can be counted")]
    TooMany,
}

/// The same component or module, which gives way everywhere. It is not copied when
/// it does already.
///
/// # Errors
/// [`Uncut`] when it is not valid, or too much. A file that needs no cut is not
/// validated here.
pub(super) fn cut(file: &[u8]) -> Result<Cow<'_, [u8]>, Uncut> {
    if file.len() > LARGEST {
        return Err(Uncut::TooLarge);
    }
    let mut room = MOST_ADDED;
    let cut = cut_nested(file, 0, &mut room)?;
    if let Cow::Owned(_) = cut {
        // An index past the file's own functions and types would name one that was
        // added. Which features there are is for the compiler to say.
        Validator::new_with_features(WasmFeatures::all()).validate_all(file)?;
    }
    Ok(cut)
}

/// The same for what is so deep inside of a file, to which so many functions may
/// still be added.
fn cut_nested<'a>(file: &'a [u8], depth: usize, room: &mut u32) -> Result<Cow<'a, [u8]>, Uncut> {
    if depth > DEEPEST {
        return Err(Uncut::TooDeep);
    }
    let is = |layer| file.strip_prefix(MAGIC).is_some_and(|rest| rest.starts_with(layer));
    if is(COMPONENT) {
        rewrite(file, |id, content| match id {
            CORE_MODULE | NESTED_COMPONENT => cut_nested(content, depth + 1, room),
            _ => Ok(Cow::Borrowed(content)),
        })
    } else if is(MODULE) {
        match Module::read(file, room)? {
            Some(module) => rewrite(file, |id, content| module.section(id, content)),
            None => Ok(Cow::Borrowed(file)),
        }
    } else {
        // The compiler tells what that is.
        Ok(Cow::Borrowed(file))
    }
}

/// The file with what becomes of its sections; itself when they all stay.
fn rewrite<'a>(
    file: &'a [u8],
    mut become_of: impl FnMut(u8, &'a [u8]) -> Result<Cow<'a, [u8]>, Uncut>,
) -> Result<Cow<'a, [u8]>, Uncut> {
    let mut sections = Vec::new();
    for section in Sections::of(file) {
        let (id, content) = section?;
        sections.push((id, become_of(id, content)?));
    }
    if sections.iter().all(|(_, content)| matches!(content, Cow::Borrowed(_))) {
        return Ok(Cow::Borrowed(file));
    }
    let mut rewritten = file.get(..HEADER).unwrap_or_default().to_vec();
    for (id, content) in sections {
        rewritten.push(id);
        content.encode(&mut rewritten);
    }
    Ok(Cow::Owned(rewritten))
}

#[cfg(test)]
mod tests;
