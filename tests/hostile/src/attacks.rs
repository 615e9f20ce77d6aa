//! The attacks.
//!
//! All exports are lifted synchronously. What they answer is read at
//! [`ANSWER`], where memory is zero unless an attack writes there: that is
//! `ok`, with an empty payload. So the same few lines are an attack in both
//! worlds of the contract, but for where an answer has its payload.

/// Where results are read from memory.
const ANSWER: &str = "i32.const 1024";
/// Computes without end.
const SPIN: &str = "(loop $again (br $again))";
const TRAP: &str = "unreachable";
/// How many handles those take that leak them, before they answer.
const LEAKED: u32 = 1000;

/// The world of the contract that a kind is of. Each has an engine of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Its functions wait side by side.
    Container,
    /// It does one thing at a time.
    ContainerSync,
}

impl World {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::Container, Self::ContainerSync];

    /// As the contract calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::ContainerSync => "container-sync",
        }
    }

    /// What the names of its interfaces end with where the worlds differ, and
    /// those of its attacks.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Container => "",
            Self::ContainerSync => "-sync",
        }
    }

    /// The parameters of `request` and `connect`. More than 16 are one pointer.
    fn parameters(self) -> [&'static str; 2] {
        match self {
            Self::Container => {
                ["(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64)", "(param i32 i32 i32)"]
            }
            Self::ContainerSync => {
                ["(param i32)", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)"]
            }
        }
    }

    /// Where an answer has the place of its payload, and the length after it:
    /// in one of the worlds an answer may also be a stream.
    fn payload(self) -> u32 {
        match self {
            Self::Container => 1032,
            Self::ContainerSync => 1028,
        }
    }
}

/// A kind that attacks its host in one way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attack {
    /// Does nothing bad: what the others are compared with.
    None,
    /// Computes without end when it is asked something.
    Loop,
    /// Computes without end when it is started.
    StuckStart,
    /// Computes without end when it is asked to terminate.
    StuckTerminate,
    /// Computes without end when it is pinged.
    StuckPing,
    /// Fails when it is started.
    TrapInStart,
    /// Fails when it is asked something.
    TrapInRequest,
    /// Fails when a client connects.
    TrapInConnect,
    /// Fails when a client left.
    TrapInDisconnect,
    /// Fails when it is pinged.
    TrapInPing,
    /// Fails when it is asked to terminate.
    TrapInTerminate,
    /// Fails when the host wants memory of it.
    TrapInRealloc,
    /// Takes memory until none is given, and answers how many pages it has.
    Memory,
    /// Takes table elements until none are given, and answers how many it has.
    Table,
    /// Calls itself without end.
    Recursion,
    /// Answers with 2 MiB.
    GiantReply,
    /// Answers with more than the host takes in one call.
    MonstrousReply,
    /// Answers with a payload that lies outside of its memory.
    PayloadOutside,
    /// Answers with a length that wraps around the address space.
    LengthWraps,
    /// Answers with an error whose text is no UTF-8.
    TextNotUtf8,
    /// Answers with a case that the contract does not have.
    UnknownCase,
    /// Gives the host memory that it does not have.
    ReallocOutside,
    /// Logs without end.
    LogFlood,
    /// Logs one line that claims 4 GiB of fields.
    LogLies,
    /// Broadcasts without end.
    EventFlood,
    /// Makes handles that no resource of the host is behind, and keeps them.
    Handles,
    /// Takes references to containers, and keeps them.
    References,
    /// Takes requests in, never answers them and hears nothing of their
    /// callers.
    Stubborn,
}

impl Attack {
    /// All of them.
    pub(crate) const ALL: [Self; 28] = [
        Self::None,
        Self::Loop,
        Self::StuckStart,
        Self::StuckTerminate,
        Self::StuckPing,
        Self::TrapInStart,
        Self::TrapInRequest,
        Self::TrapInConnect,
        Self::TrapInDisconnect,
        Self::TrapInPing,
        Self::TrapInTerminate,
        Self::TrapInRealloc,
        Self::Memory,
        Self::Table,
        Self::Recursion,
        Self::GiantReply,
        Self::MonstrousReply,
        Self::PayloadOutside,
        Self::LengthWraps,
        Self::TextNotUtf8,
        Self::UnknownCase,
        Self::ReallocOutside,
        Self::LogFlood,
        Self::LogLies,
        Self::EventFlood,
        Self::Handles,
        Self::References,
        Self::Stubborn,
    ];

    /// Whether a kind of this world can do that: some things take functions that
    /// wait side by side.
    pub(crate) fn is_of(self, world: World) -> bool {
        world == World::Container || !matches!(self, Self::Handles | Self::Stubborn)
    }

    /// The name of the kind, in kebab-case.
    pub(crate) fn name(self, world: World) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name + world.suffix()
    }

    /// The core module, as text.
    pub(crate) fn text(self, world: World) -> String {
        let mut exports = Exports::default();
        self.arm(world, &mut exports);
        exports.text(world)
    }

    fn arm(self, world: World, exports: &mut Exports) {
        let answer = |at, length| place(world.payload(), at, length);
        let reply_of = |bytes: u32| {
            format!("(drop (memory.grow (i32.const {}))) {}", bytes >> 16, answer(0, bytes))
        };
        match self {
            Self::None => {}
            Self::Stubborn => exports.waits = true,
            Self::Loop => exports.request = format!("{SPIN} {ANSWER}"),
            Self::StuckStart => exports.start = format!("{SPIN} {ANSWER}"),
            Self::StuckTerminate => exports.terminate = format!("{SPIN} i32.const 0"),
            Self::StuckPing => exports.ping = format!("{SPIN} {ANSWER}"),
            Self::TrapInStart => exports.start = TRAP.to_owned(),
            Self::TrapInRequest => exports.request = TRAP.to_owned(),
            Self::TrapInConnect => exports.connect = TRAP.to_owned(),
            Self::TrapInDisconnect => exports.disconnect = TRAP.to_owned(),
            Self::TrapInPing => exports.ping = TRAP.to_owned(),
            Self::TrapInTerminate => exports.terminate = TRAP.to_owned(),
            Self::TrapInRealloc => exports.realloc = TRAP.to_owned(),
            Self::Memory => {
                exports.request = take("(memory.grow (i32.const 16))", "memory.size") + &answer(2048, 4);
            }
            Self::Table => {
                let grow = "(table.grow $t (ref.null func) (i32.const 1000))";
                exports.request = take(grow, "table.size $t") + &answer(2048, 4);
            }
            Self::Recursion => exports.request = format!("call $deeper {ANSWER}"),
            Self::GiantReply => exports.request = reply_of(2 << 20),
            Self::MonstrousReply => exports.request = reply_of(200 << 20),
            Self::PayloadOutside => exports.request = answer(0x7fff_0000, 1024),
            Self::LengthWraps => exports.request = answer(1024, 0xffff_ffff),
            Self::TextNotUtf8 => {
                exports.request = format!(
                    "(i32.store8 (i32.const 2048) (i32.const 0xff)) (i32.store8 (i32.const 1024) \
                     (i32.const 1)) {}",
                    place(1032, 2048, 1)
                );
            }
            Self::UnknownCase => {
                exports.request = format!("(i32.store8 (i32.const 1024) (i32.const 77)) {ANSWER}");
            }
            Self::ReallocOutside => exports.realloc = "i32.const 0x7fffff00".to_owned(),
            Self::LogFlood => {
                let line = "(call $log (i32.const 2) (i32.const 2048) (i32.const 512) (i32.const 0) \
                            (i32.const 0))";
                exports.request = format!("(loop $again {line} (br $again)) {ANSWER}");
            }
            Self::LogLies => {
                let line = "(call $log (i32.const 2) (i32.const 2048) (i32.const 8) (i32.const 0) \
                            (i32.const 0x0fffffff))";
                exports.request = format!("{line} {ANSWER}");
            }
            Self::EventFlood => {
                let event = "(call $broadcast (i32.const 2048) (i32.const 512) (i32.const 3072))";
                exports.request = format!("(loop $again {event} (br $again)) {ANSWER}");
            }
            Self::Handles => {
                exports.import = r#"(import "$root" "[waitable-set-new]" (func $set (result i32)))"#
                    .to_owned();
                exports.request = format!("{} {ANSWER}", leak("(drop (call $set))"));
            }
            Self::References => {
                let parameters = "i32 ".repeat(16);
                exports.import = format!(
                    r#"(import "huly:network/containers{}@0.1.0" "get"
                        (func $get (param {parameters})))"#,
                    world.suffix()
                );
                // Any container of the kind; it fails when it gets none.
                let nothing = "(i32.const 0) ".repeat(13);
                let get = format!(
                    "(call $get (i32.const 3584) (i32.const 4) {nothing} (i32.const 3072)) (if \
                     (i32.load8_u (i32.const 3072)) (then unreachable))"
                );
                exports.request = format!("{} {ANSWER}", leak(&get));
            }
        }
    }
}

/// Grows until that fails, and writes how much there is as four bytes.
fn take(grow: &str, size: &str) -> String {
    format!(
        "(loop $more (br_if $more (i32.ne {grow} (i32.const -1)))) (i32.store (i32.const 2048) \
         ({size})) "
    )
}

/// Takes something [`LEAKED`] times and gives nothing back.
fn leak(take: &str) -> String {
    format!(
        "(loop $more {take} (global.set $taken (i32.add (global.get $taken) (i32.const 1))) (br_if \
         $more (i32.lt_u (global.get $taken) (i32.const {LEAKED}))))"
    )
}

/// An answer whose list or text, which is noted there, has this place and
/// length.
fn place(note: u32, at: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const {note}) (i32.const {at})) (i32.store (i32.const {}) (i32.const \
         {length})) {ANSWER}",
        note + 4
    )
}

/// The bodies of the exports.
struct Exports {
    start: String,
    request: String,
    connect: String,
    disconnect: String,
    ping: String,
    terminate: String,
    realloc: String,
    /// What it imports beside what all do.
    import: String,
    /// Whether requests are answered asynchronously, and never.
    waits: bool,
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            start: ANSWER.to_owned(),
            request: ANSWER.to_owned(),
            connect: ANSWER.to_owned(),
            disconnect: String::new(),
            ping: ANSWER.to_owned(),
            terminate: "i32.const 0".to_owned(),
            // Never gives anything back.
            realloc:
                "(local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const \
                      -16))) (global.set $next (i32.add (local.get $at) (local.get $size))) (loop \
                      $more (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const \
                      65536))) (then (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const \
                      -1))) unreachable))) (local.get $at)"
                    .to_owned(),
            import: String::new(),
            waits: false,
        }
    }
}

impl Exports {
    fn text(&self, world: World) -> String {
        let Self { start, request, connect, disconnect, ping, terminate, realloc, import, waits } =
            self;
        let guest = format!("huly:network/guest{}@0.1.0#", world.suffix());
        let [parameters, connection] = world.parameters();
        // An asynchronous export answers what it waits for: here nothing.
        let (nothing, request) = if *waits {
            (
                r#"(import "$root" "[waitable-set-new]" (func $nothing (result i32)))"#,
                format!(
                    r#"(func (export "[async-lift]{guest}request") {parameters} (result i32)
                        (i32.or (i32.const 2) (i32.shl (call $nothing) (i32.const 4))))
                    (func (export "[callback][async-lift]{guest}request")
                        (param i32 i32 i32) (result i32) unreachable)"#
                ),
            )
        } else {
            let export = format!(r#"(func (export "{guest}request") {parameters} (result i32)"#);
            ("", format!("{export} {request})"))
        };
        format!(
            r#"(module
                (import "huly:network/log@0.1.0" "write"
                    (func $log (param i32 i32 i32 i32 i32)))
                (import "huly:network/connections@0.1.0" "broadcast"
                    (func $broadcast (param i32 i32 i32)))
                {import} {nothing}
                (memory (export "memory") 1)
                (table $t 1 funcref)
                (global $next (mut i32) (i32.const 4096))
                (global $taken (mut i32) (i32.const 0))
                (data (i32.const 3584) "echo")
                (func $deeper (call $deeper) (call $deeper))
                (func (export "cabi_realloc")
                    (param $old i32) (param $before i32) (param $align i32) (param $size i32)
                    (result i32) (local $at i32) {realloc})
                (func (export "{guest}start") (param i32 i32) (result i32) {start})
                {request}
                (func (export "{guest}connect") {connection} (result i32) {connect})
                (func (export "{guest}disconnect") (param i32 i32) {disconnect})
                (func (export "{guest}ping") (result i32) {ping})
                (func (export "{guest}terminate") (param i32) (result i32) {terminate}))"#
        )
    }
}
