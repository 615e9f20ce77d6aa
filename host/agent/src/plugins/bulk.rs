//! Cuts long bulk instructions of a kind into pieces, before it is compiled.
//!
//! The engine asks whether it is somebody else's turn where a function begins and
//! where a loop goes on, but not inside an instruction: one `memory.fill` over a
//! large memory would keep its thread for tenths of a second. So each
//! `memory.fill`, `memory.copy` and `memory.init` that may be long becomes a call
//! of a function with the same operands that does it [`PIECE`] after piece in a
//! loop. Those functions come after all others, so that no index changes, and what
//! is known to be short stays as it is. Instructions on tables need none of this:
//! a container's tables are small.
//!
//! Only what must be understood for that is read: sections are copied as they
//! are, and the compiler judges the result.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use wasm_encoder::{BlockType, Encode, Function, Instruction};
use wasmparser::{
    BinaryReader, BinaryReaderError, CodeSectionReader, FunctionBody, ImportSectionReader,
    Operator, TypeRef, TypeSectionReader,
};

use super::sections::{COMPONENT, HEADER, MAGIC, MODULE, Sections, Truncated};

/// Bytes that are filled or copied at a time: less than a millisecond, also when
/// the memory was never used before.
const PIECE: u32 = 256 * 1024;

/// Compiled code of a file depends on how it was cut: this changes with it.
pub(super) const VERSION: u32 = 1;

/// How deeply components may be nested: those that tools make are a few levels deep.
const DEEPEST: usize = 32;

/// In a component: the sections that contain others.
const CORE_MODULE: u8 = 1;
const NESTED_COMPONENT: u8 = 4;

/// In a module.
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;

/// The type of all functions that are added: three `i32`, and no result.
const OPERANDS: [u8; 6] = [0x60, 3, 0x7f, 0x7f, 0x7f, 0];

/// Why a file cannot be cut; it is not valid then.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uncut {
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error(transparent)]
    Malformed(#[from] BinaryReaderError),
    #[error("components are nested in it more than {DEEPEST} deep")]
    TooDeep,
    #[error("it has more types or functions than can be counted")]
    TooMany,
}

/// The same component or module without long instructions. It is not copied when
/// there are none.
///
/// # Errors
/// [`Uncut`] when what must be understood for it is not valid. What is not valid
/// elsewhere stays so.
pub(super) fn cut(file: &[u8]) -> Result<Cow<'_, [u8]>, Uncut> {
    cut_nested(file, 0)
}

fn cut_nested(file: &[u8], depth: usize) -> Result<Cow<'_, [u8]>, Uncut> {
    if depth > DEEPEST {
        return Err(Uncut::TooDeep);
    }
    let is = |layer| file.strip_prefix(MAGIC).is_some_and(|rest| rest.starts_with(layer));
    if is(COMPONENT) {
        cut_component(file, depth)
    } else if is(MODULE) {
        cut_module(file)
    } else {
        // The compiler tells what that is.
        Ok(Cow::Borrowed(file))
    }
}

fn cut_component(file: &[u8], depth: usize) -> Result<Cow<'_, [u8]>, Uncut> {
    rewrite(file, |id, content| {
        Ok(match id {
            CORE_MODULE | NESTED_COMPONENT => cut_nested(content, depth + 1)?,
            _ => Cow::Borrowed(content),
        })
    })
}

fn cut_module(file: &[u8]) -> Result<Cow<'_, [u8]>, Uncut> {
    let mut module = Module::default();
    for section in Sections::of(file) {
        let (id, content) = section?;
        module.read(id, content)?;
    }
    let added = module.name_added()?;
    if added == 0 {
        return Ok(Cow::Borrowed(file));
    }
    rewrite(file, |id, content| {
        Ok(match id {
            TYPES => Cow::Owned(append(content, 1, &OPERANDS)?),
            FUNCTIONS => {
                let mut theirs = Vec::new();
                (0..added).for_each(|_| module.types.encode(&mut theirs));
                Cow::Owned(append(content, added, &theirs)?)
            }
            CODE => Cow::Owned(module.code(content, added)?),
            _ => Cow::Borrowed(content),
        })
    })
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

/// A section with so many more entries at its end.
fn append(content: &[u8], more: u32, entries: &[u8]) -> Result<Vec<u8>, Uncut> {
    let mut reader = BinaryReader::new(content, 0);
    let mut section = Vec::new();
    sum(reader.read_var_u32()?, more)?.encode(&mut section);
    section.extend_from_slice(part(content, reader.original_position()..content.len())?);
    section.extend_from_slice(entries);
    Ok(section)
}

fn sum(count: u32, more: u32) -> Result<u32, Uncut> {
    count.checked_add(more).ok_or(Uncut::TooMany)
}

fn part(content: &[u8], range: Range<usize>) -> Result<&[u8], Truncated> {
    content.get(range).ok_or(Truncated)
}

/// What must be known of a module.
#[derive(Default)]
struct Module {
    types: u32,
    /// Imported ones and its own.
    functions: u32,
    /// Its long instructions, each once, and the functions that do the same in
    /// pieces.
    long: BTreeMap<Bulk, u32>,
}

impl Module {
    fn read(&mut self, id: u8, content: &[u8]) -> Result<(), Uncut> {
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
                    self.long.extend(long(&body?)?.into_iter().map(|(bulk, _)| (bulk, 0)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives the functions that are added their indices, after all others. Answers
    /// how many they are.
    fn name_added(&mut self) -> Result<u32, Uncut> {
        let mut added = 0;
        for function in self.long.values_mut() {
            *function = sum(self.functions, added)?;
            added = sum(added, 1)?;
        }
        Ok(added)
    }

    /// The code, with calls for the long instructions, and the functions that are
    /// added.
    fn code(&self, content: &[u8], added: u32) -> Result<Vec<u8>, Uncut> {
        let bodies = CodeSectionReader::new(BinaryReader::new(content, 0))?;
        let mut code = Vec::new();
        sum(bodies.count(), added)?.encode(&mut code);
        for body in bodies {
            let body = body?;
            let Range { start: mut copied, end } = body.range();
            let mut cut = Vec::new();
            for (bulk, at) in long(&body)? {
                cut.extend_from_slice(part(content, copied..at.start)?);
                if let Some(function) = self.long.get(&bulk) {
                    Instruction::Call(*function).encode(&mut cut);
                }
                copied = at.end;
            }
            cut.extend_from_slice(part(content, copied..end)?);
            cut.encode(&mut code);
        }
        for bulk in self.long.keys() {
            bulk.in_pieces().encode(&mut code);
        }
        Ok(code)
    }
}

/// The instructions in a function that may be long, and where they are in its
/// section.
fn long(body: &FunctionBody<'_>) -> Result<Vec<(Bulk, Range<usize>)>, BinaryReaderError> {
    let mut operators = body.get_operators_reader()?;
    let mut found = Vec::new();
    // What the instruction before leaves as the last operand, if that is known.
    let mut length = None;
    while !operators.eof() {
        let (operator, start) = operators.read_with_offset()?;
        let is_short = length.is_some_and(|length| length <= PIECE);
        if let Some(bulk) = Bulk::of(&operator).filter(|_| !is_short) {
            found.push((bulk, start..operators.original_position()));
        }
        length = match operator {
            Operator::I32Const { value } => Some(value.cast_unsigned()),
            _ => None,
        };
    }
    Ok(found)
}

/// An instruction that does something to as many bytes as its last operand says.
/// The first one says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bulk {
    /// Its second operand is what to fill them with.
    Fill { memory: u32 },
    /// Its second operand is where they are copied from.
    Copy { memory: u32, from: u32 },
    /// The same, of the file's data.
    Init { memory: u32, data: u32 },
}

/// The operands, as the parameters of a function.
const TO: Instruction<'static> = Instruction::LocalGet(0);
const WHAT: Instruction<'static> = Instruction::LocalGet(1);
const LENGTH: Instruction<'static> = Instruction::LocalGet(2);
const SET_TO: Instruction<'static> = Instruction::LocalSet(0);
const SET_WHAT: Instruction<'static> = Instruction::LocalSet(1);
const SET_LENGTH: Instruction<'static> = Instruction::LocalSet(2);
const ONE_PIECE: Instruction<'static> = Instruction::I32Const(PIECE.cast_signed());

impl Bulk {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        match *operator {
            Operator::MemoryFill { mem } => Some(Self::Fill { memory: mem }),
            Operator::MemoryCopy { dst_mem, src_mem } => {
                Some(Self::Copy { memory: dst_mem, from: src_mem })
            }
            Operator::MemoryInit { data_index, mem } => {
                Some(Self::Init { memory: mem, data: data_index })
            }
            _ => None,
        }
    }

    fn instruction(self) -> Instruction<'static> {
        match self {
            Self::Fill { memory } => Instruction::MemoryFill(memory),
            Self::Copy { memory, from } => {
                Instruction::MemoryCopy { src_mem: from, dst_mem: memory }
            }
            Self::Init { memory, data } => {
                Instruction::MemoryInit { mem: memory, data_index: data }
            }
        }
    }

    /// A function that does it in pieces. What goes beyond the end of a memory is
    /// done whole: that traps before anything is written.
    fn in_pieces(self) -> Function {
        use Instruction::{Br, BrIf, End, I32Add, I32GtU, I32Sub, If, Loop};

        let none = BlockType::Empty;
        let is_long = [LENGTH, ONE_PIECE, I32GtU];
        let whole = [TO, WHAT, LENGTH, self.instruction()];
        let shorter = [LENGTH, ONE_PIECE, I32Sub, SET_LENGTH];
        let mut function = Function::new([]);
        let mut add = |instructions: &[Instruction<'static>]| {
            for instruction in instructions {
                function.instruction(instruction);
            }
        };
        // Around all that is for long ones, so that leaving it does what is left.
        add(&[Instruction::Block(none)]);
        add(&is_long);
        add(&[Instruction::I32Eqz, BrIf(0)]);
        match self {
            Self::Fill { memory } | Self::Init { memory, .. } => {
                add(&is_beyond(TO, memory));
                add(&[BrIf(0)]);
            }
            Self::Copy { memory, from } => {
                add(&is_beyond(TO, memory));
                add(&[BrIf(0)]);
                add(&is_beyond(WHAT, from));
                add(&[BrIf(0)]);
            }
        }
        // What overlaps and moves up begins at its end.
        if let Self::Copy { memory, from } = self
            && memory == from
        {
            add(&[TO, WHAT, I32GtU, If(none), Loop(none)]);
            add(&shorter);
            add(&[TO, LENGTH, I32Add, WHAT, LENGTH, I32Add, ONE_PIECE, self.instruction()]);
            add(&is_long);
            add(&[BrIf(0), End, Br(1), End]);
        }
        add(&[Loop(none), TO, WHAT, ONE_PIECE, self.instruction()]);
        add(&[TO, ONE_PIECE, I32Add, SET_TO]);
        if !matches!(self, Self::Fill { .. }) {
            add(&[WHAT, ONE_PIECE, I32Add, SET_WHAT]);
        }
        add(&shorter);
        add(&is_long);
        add(&[BrIf(0), End, End]);
        add(&whole);
        add(&[End]);
        function
    }
}

/// Whether so many bytes from there on go beyond the end of the memory.
fn is_beyond(start: Instruction<'static>, memory: u32) -> [Instruction<'static>; 10] {
    use Instruction::{I64Add, I64Const, I64ExtendI32U, I64GtU, I64Shl, MemorySize};
    [
        start,
        I64ExtendI32U,
        LENGTH,
        I64ExtendI32U,
        I64Add,
        MemorySize(memory),
        I64ExtendI32U,
        I64Const(16),
        I64Shl,
        I64GtU,
    ]
}

#[cfg(test)]
mod tests;
