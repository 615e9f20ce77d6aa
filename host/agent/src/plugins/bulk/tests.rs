use proptest::prelude::*;
use wasmparser::Payload;
use wasmtime::{Config, Engine, Extern, Instance, Module as Compiled, Store, UpdateDeadline};

use super::*;

/// Bytes of the memory of the module below.
const MEMORY: usize = 5 << 18;

/// A module with every long instruction, each behind an export.
const ALL: &str = r#"(module
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

fn module(text: &str) -> Vec<u8> {
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
        let unused = wasmtime::Func::wrap(&mut store, || {});
        let imports = if compiled.imports().len() == 0 { vec![] } else { vec![unused.into()] };
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
    let (engine, file) = (engine(), module(text));
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

#[test]
fn others_get_their_turn_between_two_pieces() {
    let asked = |running: &mut Running, length| {
        let before = *running.store.data();
        assert!(running.call("fill", (0, 1, length)).0);
        *running.store.data() - before
    };
    let [mut whole, mut cut] = both(ALL);
    let four_pieces = (PIECE * 4).cast_signed();
    assert_eq!(asked(&mut whole, four_pieces), asked(&mut whole, 0));
    assert!(asked(&mut cut, four_pieces) >= asked(&mut cut, 0) + 3);
}

#[test]
fn what_is_known_to_be_short_stays_as_it_is() {
    let fill = |length| {
        module(&format!(
            "(module (memory 1) (func (memory.fill (i32.const 1) (i32.const 2) (i32.const {length}))))"
        ))
    };
    assert!(matches!(cut(&fill(PIECE)).unwrap(), Cow::Borrowed(_)));
    assert!(matches!(cut(&fill(PIECE + 1)).unwrap(), Cow::Owned(_)));
    // All of 32 bits, not a negative number.
    assert!(matches!(cut(&fill(u32::MAX)).unwrap(), Cow::Owned(_)));
}

#[test]
fn modules_are_found_however_deeply_they_are_nested() {
    let fill = "(core module (memory 1) (func (param i32)
        (memory.fill (local.get 0) (local.get 0) (local.get 0))))";
    let nested = |depth| {
        let (open, close) = ("(component ".repeat(depth), ")".repeat(depth));
        module(&format!("{open}{fill}{close}"))
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

proptest! {
    #[test]
    fn any_bytes_are_cut_or_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        length in any::<prop::sample::Index>(),
    ) {
        let mut file = module(ALL);
        let at = at.index(file.len());
        file[at] = byte;
        file.truncate(length.index(file.len()));
        let valid = wasmparser::validate(&file).is_ok();
        if let Ok(cut) = cut(&file) {
            prop_assert_eq!(wasmparser::validate(&cut).is_ok(), valid);
        } else {
            prop_assert!(!valid);
        }
    }
}
