use proptest::prelude::*;
use wasmparser::Payload;
use wasmtime::{
    Config, Engine, Extern, ExternType, Func, Instance, Memory, Module as Compiled, Store,
    UpdateDeadline,
};

use super::{module::ROW, step::PIECE, *};

/// Bytes of the memory of the module below.
const MEMORY: usize = 5 << 18;

/// A module with every long instruction, each behind an export.
const ALL: &str = r#"(module
    (rec (type (func)) (type (func (param i64))))
    (import "host" "unused" (func $unused))
    (memory (export "memory") 20)
    (memory $other 20)
    (data $data "0123456789")
    (func (export "fill") (param i32 i32 i32)
        (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i32 i32 i32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "away") (param i32 i32 i32)
        (memory.copy $other 0 (local.get 0) (local.get 1) (local.get 2))
        (memory.copy 0 $other (local.get 1) (local.get 0) (local.get 2)))
    (func (export "init") (param i32 i32 i32)
        (memory.init $data (local.get 0) (local.get 1) (local.get 2)))
    (func (export "short") (memory.fill (i32.const 1) (i32.const 2) (i32.const 3)))
    (start $unused))"#;

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn engine() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true).wasm_memory64(false);
    Engine::new(&config).unwrap()
}

/// A module that runs, and how often it was asked whether to give way.
struct Running {
    store: Store<u32>,
    instance: Instance,
}

impl Running {
    fn of(engine: &Engine, file: &[u8]) -> Self {
        let mut store = Store::new(engine, 0);
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            Ok(UpdateDeadline::Continue(0))
        });
        let compiled = Compiled::new(engine, file).unwrap();
        let mut memory = None;
        let mut imports = Vec::new();
        for import in compiled.imports() {
            imports.push(match import.ty() {
                ExternType::Func(_) => Extern::from(Func::wrap(&mut store, || {})),
                // All that are imported are the same one.
                ExternType::Memory(ty) => {
                    let new = || Memory::new(&mut store, ty).unwrap();
                    Extern::from(*memory.get_or_insert_with(new))
                }
                other => panic!("nobody imports {other:?}"),
            });
        }
        let instance = Instance::new(&mut store, &compiled, &imports).unwrap();
        Self { store, instance }
    }

    /// What a call leaves in memory, and whether it came to its end.
    fn call(&mut self, name: &str, operands: (i32, i32, i32)) -> (bool, Vec<u8>) {
        let function =
            self.instance.get_typed_func::<(i32, i32, i32), ()>(&mut self.store, name).unwrap();
        let ended = function.call(&mut self.store, operands).is_ok();
        let Some(Extern::Memory(memory)) = self.instance.get_export(&mut self.store, "memory")
        else {
            panic!("it exports its memory")
        };
        (ended, memory.data(&self.store).to_vec())
    }
}

/// Both forms of a module, with the same in their memories.
fn both(text: &str) -> [Running; 2] {
    let (engine, file) = (engine(), binary(text));
    let cut = cut(&file).unwrap();
    assert!(matches!(cut, Cow::Owned(_)));
    let mut both = [Running::of(&engine, &file), Running::of(&engine, &cut)];
    for running in &mut both {
        let memory = running.instance.get_memory(&mut running.store, "memory").unwrap();
        for (at, byte) in memory.data_mut(&mut running.store).iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
    }
    both
}

fn place() -> impl Strategy<Value = i32> {
    let memory = i32::try_from(MEMORY).unwrap();
    prop_oneof![0..3, 0..memory, memory - 3..memory + 3, any::<i32>()]
}

fn length() -> impl Strategy<Value = i32> {
    let piece = PIECE.cast_signed();
    let near = (0..6_i32, -2..3_i32).prop_map(move |(pieces, more)| (pieces * piece + more).max(0));
    prop_oneof![near, 0..6 * piece, any::<i32>()]
}

/// A module that has one memory by two names.
const TWICE: &str = r#"(module
    (import "host" "memory" (memory $one 20))
    (import "host" "memory" (memory $other 20))
    (export "memory" (memory $one))
    (func (export "copy") (param i32 i32 i32)
        (memory.copy $one $other (local.get 0) (local.get 1) (local.get 2))))"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn in_pieces_an_instruction_does_the_same(
        name in prop::sample::select(vec!["fill", "copy", "away"]),
        operands in (place(), place(), length()),
    ) {
        let [mut whole, mut cut] = both(ALL);
        prop_assert!(whole.call(name, operands) == cut.call(name, operands));
    }

    #[test]
    fn in_pieces_one_memory_by_two_names_is_copied_the_same(
        operands in (place(), place(), length()),
    ) {
        let [mut whole, mut cut] = both(TWICE);
        prop_assert!(whole.call("copy", operands) == cut.call("copy", operands));
    }
}

#[test]
fn data_of_the_file_is_copied_in_pieces_too() {
    let long = "x".repeat(PIECE as usize) + "0123456789";
    let text = ALL.replace("0123456789", &long);
    let all = i32::try_from(long.len()).unwrap();
    for operands in [(0, 0, all), (7, 3, all - 3), (7, all - 5, 5), (0, 0, 0)] {
        let [mut whole, mut cut] = both(&text);
        let (ended, memory) = whole.call("init", operands);
        assert!(ended && cut.call("init", operands) == (ended, memory), "{operands:?}");
    }
    for operands in [(0, 0, all + 1), (0, all, 1), (MEMORY as i32 - 1, 0, all)] {
        let [mut whole, mut cut] = both(&text);
        assert!(!whole.call("init", operands).0 && !cut.call("init", operands).0, "{operands:?}");
    }
}

/// How often it is asked whether to give way in a call.
fn asked(running: &mut Running, name: &str, length: i32) -> u32 {
    let before = *running.store.data();
    assert!(running.call(name, (0, 1, length)).0);
    *running.store.data() - before
}

#[test]
fn others_get_their_turn_between_two_pieces() {
    let [mut whole, mut cut] = both(ALL);
    let four_pieces = (PIECE * 4).cast_signed();
    assert_eq!(asked(&mut whole, "fill", four_pieces), asked(&mut whole, "fill", 0));
    assert!(asked(&mut cut, "fill", four_pieces) >= asked(&mut cut, "fill", 0) + 3);
}

#[test]
fn others_get_their_turn_in_a_long_row_of_instructions() {
    let row = |instructions| {
        let row = "(drop (memory.grow (i32.const 0)))".repeat(instructions / 3);
        format!(
            r#"(module (memory (export "memory") 20) (func (export "row") (param i32 i32 i32) {row}))"#
        )
    };
    let [mut whole, mut cut] = both(&row(3 * ROW));
    assert_eq!(asked(&mut cut, "row", 0), asked(&mut whole, "row", 0) + 3);
    let short = binary(&row(ROW - 2));
    assert!(matches!(self::cut(&short).unwrap(), Cow::Borrowed(_)));
}

#[test]
fn a_file_has_room_for_so_many_forms_and_no_more() {
    let forms = |modules, forms: u32| {
        let data = "(data \"0\")".repeat(forms as usize);
        let init = |form| format!("(memory.init {form} (i32.const 0) (i32.const 0) (local.get 0))");
        let inits: String = (0..forms).map(init).collect();
        let module = format!("(core module (memory 1) {data} (func (param i32) {inits}))");
        cut(&binary(&format!("(component {})", module.repeat(modules)))).is_ok()
    };
    // Of each module one is for its long row of instructions.
    assert!(forms(1, MOST_ADDED - 1) && !forms(1, MOST_ADDED));
    assert!(forms(2, MOST_ADDED / 2 - 1) && !forms(2, MOST_ADDED / 2));
}

#[test]
fn what_is_known_to_be_short_stays_as_it_is() {
    let fill = |length| {
        binary(&format!(
            "(module (memory 1) (func (memory.fill (i32.const 1) (i32.const 2) (i32.const {length}))))"
        ))
    };
    assert!(matches!(cut(&fill(PIECE)).unwrap(), Cow::Borrowed(_)));
    assert!(matches!(cut(&fill(PIECE + 1)).unwrap(), Cow::Owned(_)));
    // All of 32 bits, not a negative number.
    assert!(matches!(cut(&fill(u32::MAX)).unwrap(), Cow::Owned(_)));
}

#[test]
fn modules_are_found_as_deep_as_they_may_be_nested() {
    let fill = "(core module (memory 1) (func (param i32)
        (memory.fill (local.get 0) (local.get 0) (local.get 0))))";
    let nested = |depth| {
        let (open, close) = ("(component ".repeat(depth), ")".repeat(depth));
        binary(&format!("{open}{fill}{close}"))
    };
    let functions = |file: &[u8]| {
        let payloads = wasmparser::Parser::new(0).parse_all(file).map(Result::unwrap);
        payloads.filter(|payload| matches!(payload, Payload::CodeSectionEntry(_))).count()
    };
    for depth in [1, 2, DEEPEST] {
        let file = nested(depth);
        let cut = cut(&file).unwrap();
        wasmparser::validate(&cut).unwrap();
        assert_eq!(functions(&cut), functions(&file) + 1);
    }
    assert!(matches!(cut(&nested(DEEPEST + 1)), Err(Uncut::TooDeep)));
}

#[test]
fn what_a_file_names_and_has_not_is_not_what_was_added_to_it() {
    let filling = |rest: &str| {
        binary(&format!(
            "(module (memory 1) (func (param i32)
                (memory.fill (local.get 0) (local.get 0) (local.get 0))) {rest})"
        ))
    };
    assert!(cut(&filling("(export \"own\" (func 0))")).is_ok());
    for rest in ["(export \"added\" (func 1))", "(func (type 1))", "(func (call 2))"] {
        assert!(matches!(cut(&filling(rest)), Err(Uncut::Malformed(_))), "{rest}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_cut_or_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        length in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = binary(ALL);
        let at = at.index(file.len());
        file[at] = byte;
        if let Some(length) = length {
            file.truncate(length.index(file.len()));
        }
        let valid = wasmparser::validate(&file).is_ok();
        if let Ok(cut) = cut(&file) {
            prop_assert_eq!(wasmparser::validate(&cut).is_ok(), valid);
        } else {
            prop_assert!(!valid);
        }
    }
}
