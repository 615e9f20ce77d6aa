//! The frame that WebAssembly files share: a header, then sections, each with its
//! identity and its length.

/// What every file begins with.
pub(super) const MAGIC: &[u8] = b"\0asm";
/// Version and layer after it, of a component and of a core module.
pub(super) const COMPONENT: &[u8] = &[0x0d, 0x00, 0x01, 0x00];
pub(super) const MODULE: &[u8] = &[0x01, 0x00, 0x00, 0x00];
/// Bytes of both together.
pub(super) const HEADER: usize = MAGIC.len() + COMPONENT.len();

/// A file is truncated: a section goes on after its end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a section goes on after the end of what it is in")]
pub(super) struct Truncated;

/// The sections of a file, in their order: what each is and what it contains.
pub(super) struct Sections<'a>(&'a [u8]);

impl<'a> Sections<'a> {
    /// Those after the header of these bytes.
    pub(super) fn of(file: &'a [u8]) -> Self {
        Self(file.get(HEADER..).unwrap_or_default())
    }

    fn read(&mut self, id: u8, after: &'a [u8]) -> Option<(u8, &'a [u8])> {
        let (length, after) = leb128(after)?;
        let (content, rest) = after.split_at_checked(length)?;
        self.0 = rest;
        Some((id, content))
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<(u8, &'a [u8]), Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        let (id, after) = std::mem::take(&mut self.0).split_first()?;
        Some(self.read(*id, after).ok_or(Truncated))
    }
}

/// An unsigned number of at most five bytes, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}
