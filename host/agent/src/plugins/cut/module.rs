//! A module with the functions that are added to it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
};

use wasm_encoder::{Encode, Instruction};
use wasmparser::{
    BinaryReader, CodeSectionReader, FunctionBody, ImportSectionReader, Operator, TypeRef,
    TypeSectionReader,
};

use super::{
    super::sections::{Sections, Truncated},
    Uncut,
    step::{PIECE, Step},
};

/// So many instructions of a function may follow one another: together they take
/// some milliseconds at most, also when each of them asks the host for something or
/// touches memory that was never used before.
pub(super) const ROW: usize = 1_000;

/// The sections that are read or changed.
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;

/// What must be known of a module.
#[derive(Default)]
pub(super) struct Module {
    types: u32,
    /// Imported ones and its own.
    functions: u32,
    /// What is added, and the index that it gets.
    added: BTreeMap<Step, u32>,
}

impl Module {
    /// `None` when nothing must be added. Takes what is added from the room that
    /// is left.
    pub(super) fn read(file: &[u8], room: &mut u32) -> Result<Option<Self>, Uncut> {
        let mut module = Self::default();
        for section in Sections::of(file) {
            let (id, content) = section?;
            module.read_section(id, content, room)?;
        }
        let mut index = module.functions;
        for function in module.added.values_mut() {
            *function = index;
            index = sum(index, 1)?;
        }
        Ok(Some(module).filter(|module| !module.added.is_empty()))
    }

    fn read_section(&mut self, id: u8, content: &[u8], room: &mut u32) -> Result<(), Uncut> {
        let mut reader = BinaryReader::new(content, 0);
        match id {
            TYPES => {
                for group in TypeSectionReader::new(reader)? {
                    let types = u32::try_from(group?.types().len()).map_err(|_| Uncut::TooMany)?;
                    self.types = sum(self.types, types)?;
                }
            }
            IMPORTS => {
                for import in ImportSectionReader::new(reader)?.into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        self.functions = sum(self.functions, 1)?;
                    }
                }
            }
            FUNCTIONS => self.functions = sum(self.functions, reader.read_var_u32()?)?,
            CODE => {
                for body in CodeSectionReader::new(reader)? {
                    steps(&body?, |step, _| {
                        if let Entry::Vacant(new) = self.added.entry(step) {
                            *room = room.checked_sub(1).ok_or(Uncut::TooManyForms)?;
                            new.insert(0);
                        }
                        Ok(())
                    })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What becomes of a section.
    pub(super) fn section<'a>(&self, id: u8, content: &'a [u8]) -> Result<Cow<'a, [u8]>, Uncut> {
        Ok(match id {
            TYPES => {
                let types: Vec<u8> = Step::TYPES.concat();
                Cow::Owned(append(content, Step::TYPES.len(), &types)?)
            }
            FUNCTIONS => {
                let mut types = Vec::new();
                for step in self.added.keys() {
                    sum(self.types, step.type_after_others())?.encode(&mut types);
                }
                Cow::Owned(append(content, self.added.len(), &types)?)
            }
            CODE => Cow::Owned(self.code(content)?),
            _ => Cow::Borrowed(content),
        })
    }

    /// The code, with calls of the functions that are added, and these.
    fn code(&self, content: &[u8]) -> Result<Vec<u8>, Uncut> {
        let bodies = CodeSectionReader::new(BinaryReader::new(content, 0))?;
        let mut code = Vec::new();
        longer(bodies.count(), self.added.len())?.encode(&mut code);
        for body in bodies {
            let body = body?;
            let Range { start: mut copied, end } = body.range();
            let mut cut = Vec::new();
            steps(&body, |step, instead_of| {
                cut.extend_from_slice(part(content, copied..instead_of.start)?);
                if let Some(function) = self.added.get(&step) {
                    Instruction::Call(*function).encode(&mut cut);
                }
                copied = instead_of.end;
                Ok(())
            })?;
            cut.extend_from_slice(part(content, copied..end)?);
            cut.encode(&mut code);
        }
        for step in self.added.keys() {
            step.function().encode(&mut code);
        }
        Ok(code)
    }
}

/// A section with so many more entries at its end.
fn append(content: &[u8], more: usize, entries: &[u8]) -> Result<Vec<u8>, Uncut> {
    let mut reader = BinaryReader::new(content, 0);
    let mut section = Vec::new();
    longer(reader.read_var_u32()?, more)?.encode(&mut section);
    section.extend_from_slice(part(content, reader.original_position()..content.len())?);
    section.extend_from_slice(entries);
    Ok(section)
}

fn longer(count: u32, more: usize) -> Result<u32, Uncut> {
    sum(count, u32::try_from(more).map_err(|_| Uncut::TooMany)?)
}

fn sum(count: u32, more: u32) -> Result<u32, Uncut> {
    count.checked_add(more).ok_or(Uncut::TooMany)
}

fn part(content: &[u8], range: Range<usize>) -> Result<&[u8], Truncated> {
    content.get(range).ok_or(Truncated)
}

/// Tells where in its section a function must call which of the added ones, and
/// instead of what.
fn steps(
    body: &FunctionBody<'_>,
    mut told: impl FnMut(Step, Range<usize>) -> Result<(), Uncut>,
) -> Result<(), Uncut> {
    let mut operators = body.get_operators_reader()?;
    let mut in_a_row = 0;
    // What the instruction before leaves as the last operand, if that is known.
    let mut length = None;
    while !operators.eof() {
        let (operator, start) = operators.read_with_offset()?;
        if in_a_row == ROW {
            told(Step::Nothing, start..start)?;
            in_a_row = 0;
        }
        in_a_row += 1;
        let is_short = length.is_some_and(|length| length <= PIECE);
        if let Some(step) = Step::of(&operator).filter(|_| !is_short) {
            told(step, start..operators.original_position())?;
        }
        length = match operator {
            Operator::I32Const { value } => Some(value.cast_unsigned()),
            _ => None,
        };
    }
    Ok(())
}
