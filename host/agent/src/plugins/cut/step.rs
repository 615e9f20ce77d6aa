//! The functions that are added to a module.

use wasm_encoder::{BlockType, Function, Instruction};
use wasmparser::Operator;

/// Bytes that are filled or copied at a time: less than a millisecond, also when
/// the memory was never used before.
pub(super) const PIECE: u32 = 256 * 1024;

/// What an added function does. Before it does anything, the engine asks whether it
/// is somebody else's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Nothing,
    /// What `memory.fill` does. Its operands are where, what with, and how many bytes.
    Fill {
        memory: u32,
    },
    /// What `memory.copy` does: where to, where from, and how many bytes.
    Copy {
        memory: u32,
        from: u32,
    },
    /// What `memory.init` does: where to, where from in the file's data, and how
    /// many bytes.
    Init {
        memory: u32,
        data: u32,
    },
}

/// The operands, as the parameters of a function.
const TO: Instruction<'static> = Instruction::LocalGet(0);
const WHAT: Instruction<'static> = Instruction::LocalGet(1);
const LENGTH: Instruction<'static> = Instruction::LocalGet(2);
const SET_TO: Instruction<'static> = Instruction::LocalSet(0);
const SET_WHAT: Instruction<'static> = Instruction::LocalSet(1);
const SET_LENGTH: Instruction<'static> = Instruction::LocalSet(2);
const ONE_PIECE: Instruction<'static> = Instruction::I32Const(PIECE.cast_signed());

impl Step {
    /// The types of all added functions, encoded: nothing, and three `i32`, with no
    /// result.
    pub(super) const TYPES: [&'static [u8]; 2] = [&[0x60, 0, 0], &[0x60, 3, 0x7f, 0x7f, 0x7f, 0]];

    /// Which of these is its type.
    pub(super) const fn type_after_others(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Fill { .. } | Self::Copy { .. } | Self::Init { .. } => 1,
        }
    }

    /// What does the same as this instruction, if that may be long.
    pub(super) fn of(operator: &Operator<'_>) -> Option<Self> {
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

    pub(super) fn function(self) -> Function {
        match self {
            Self::Nothing => {
                let mut function = Function::new([]);
                function.instruction(&Instruction::End);
                function
            }
            Self::Fill { memory } => in_pieces(self, &Instruction::MemoryFill(memory), &[memory]),
            Self::Copy { memory, from } => {
                let copy = Instruction::MemoryCopy { src_mem: from, dst_mem: memory };
                in_pieces(self, &copy, &[memory, from])
            }
            Self::Init { memory, data } => {
                let init = Instruction::MemoryInit { mem: memory, data_index: data };
                in_pieces(self, &init, &[memory])
            }
        }
    }
}

/// A function that does what the instruction does, in pieces. What goes beyond the
/// end of one of the memories, that of the first operand and that of the second, is
/// done whole: that traps before anything is written. (What goes beyond the end of
/// the file's data traps after the pieces before it: with the trap the container
/// ends.)
fn in_pieces(step: Step, instruction: &Instruction<'static>, memories: &[u32]) -> Function {
    use Instruction::{Block, Br, BrIf, End, I32Add, I32Eqz, I32GtU, I32Sub, If, Loop};

    let none = BlockType::Empty;
    let is_long = [LENGTH, ONE_PIECE, I32GtU];
    let shorter = [LENGTH, ONE_PIECE, I32Sub, SET_LENGTH];
    let mut function = Function::new([]);
    let mut add = |instructions: &[Instruction<'static>]| {
        for instruction in instructions {
            function.instruction(instruction);
        }
    };
    // Around all that is for long ones, so that leaving it does what is left.
    add(&[Block(none)]);
    add(&is_long);
    add(&[I32Eqz, BrIf(0)]);
    for (start, memory) in [TO, WHAT].into_iter().zip(memories) {
        add(&is_beyond(start, *memory));
        add(&[BrIf(0)]);
    }
    // What moves up may overlap, and then it begins at its end. Two indices may be of
    // the same memory.
    if matches!(step, Step::Copy { .. }) {
        add(&[TO, WHAT, I32GtU, If(none), Loop(none)]);
        add(&shorter);
        add(&[TO, LENGTH, I32Add, WHAT, LENGTH, I32Add, ONE_PIECE, instruction.clone()]);
        add(&is_long);
        add(&[BrIf(0), End, Br(1), End]);
    }
    add(&[Loop(none), TO, WHAT, ONE_PIECE, instruction.clone()]);
    add(&[TO, ONE_PIECE, I32Add, SET_TO]);
    if !matches!(step, Step::Fill { .. }) {
        add(&[WHAT, ONE_PIECE, I32Add, SET_WHAT]);
    }
    add(&shorter);
    add(&is_long);
    add(&[BrIf(0), End, End]);
    add(&[TO, WHAT, LENGTH, instruction.clone(), End]);
    function
}

/// Whether as many bytes from there on go beyond the end of the memory.
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
