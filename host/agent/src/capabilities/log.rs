//! `log`: lines with the container's identity, limited in rate and size.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::Activation;
use tracing::field::display;

use super::{Context, rate::Rate};
use crate::bindings::huly::network::log::{Host, Level};

impl Host for Context {
    fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.log.write(level, message, &fields);
        Ok(())
    }
}

/// What the log lines of one container go through. Cheap to clone: its clones
/// share the rate.
#[derive(Clone)]
pub(crate) struct Gate {
    activation: Arc<Activation>,
    line: usize,
    allowance: Arc<Mutex<Allowance>>,
}

impl Gate {
    /// A full allowance.
    pub(crate) fn new(activation: Arc<Activation>, limits: &ContainerLimits, now: Instant) -> Self {
        let allowance = Arc::new(Mutex::new(Allowance::new(limits, now)));
        Self { activation, line: limits.log_line, allowance }
    }

    /// The most bytes of one line; longer ones are cut.
    pub(super) fn line_bytes(&self) -> usize {
        self.line
    }

    /// Writes one line, or drops and counts it.
    pub(crate) fn write(&self, level: Level, message: String, fields: &[(String, String)]) {
        let (message, fields) = line(message, fields, self.line);
        let bytes = message.len() + fields.as_ref().map_or(0, String::len);
        let admitted = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(Instant::now(), bytes);
        let Some(dropped) = admitted else { return };
        let container = &self.activation.id;
        if dropped > 0 {
            tracing::warn!(target: "container", %container, dropped, "log lines over the rate were dropped");
        }
        let fields = fields.as_ref().map(display);
        match level {
            Level::Trace => tracing::trace!(target: "container", %container, fields, "{message}"),
            Level::Debug => tracing::debug!(target: "container", %container, fields, "{message}"),
            Level::Info => tracing::info!(target: "container", %container, fields, "{message}"),
            Level::Warn => tracing::warn!(target: "container", %container, fields, "{message}"),
            Level::Error => tracing::error!(target: "container", %container, fields, "{message}"),
        }
    }
}

/// The message, and its fields if it has any, which have at most so many bytes
/// together. Control characters cannot forge another line, nor a value another
/// field.
fn line(
    mut message: String,
    fields: &[(String, String)],
    bytes: usize,
) -> (String, Option<String>) {
    cut(&mut message, bytes);
    if message.contains(char::is_control) {
        message = message.replace(|c: char| c.is_control() && c != '\t', "␤");
    }
    let left = bytes.saturating_sub(message.len());
    let mut told = String::new();
    for (key, value) in fields {
        if told.len() > left {
            break;
        }
        if !told.is_empty() {
            told.push(' ');
        }
        push(&mut told, key, left);
        told.push('=');
        push(&mut told, value, left);
    }
    cut(&mut told, left);
    (message, (!fields.is_empty()).then_some(told))
}

/// Adds a key or a value, in quotes where it would not end by itself. What is
/// longer than the rest of the line is not looked at to its end.
fn push(told: &mut String, text: &str, left: usize) {
    let text = text.get(..text.floor_char_boundary(left.saturating_add(1))).unwrap_or(text);
    let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\');
    if text.is_empty() || text.contains(ends) {
        told.push_str(&format!("{text:?}"));
    } else {
        told.push_str(text);
    }
}

fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
}

/// How much may be written: many short lines cost as well as few long ones.
struct Allowance {
    lines: Rate,
    bytes: Rate,
    dropped: u64,
}

impl Allowance {
    fn new(limits: &ContainerLimits, now: Instant) -> Self {
        let (lines, bytes) = (limits.log_lines, limits.log_bytes);
        Self { lines: Rate::new(lines, now), bytes: Rate::new(bytes, now), dropped: 0 }
    }

    /// Whether a line may be written now, and how many were dropped before it.
    fn admit(&mut self, now: Instant, bytes: usize) -> Option<u64> {
        if !self.lines.has(now, 1) || !self.bytes.has(now, bytes) {
            self.dropped += 1;
            return None;
        }
        self.lines.used(1);
        self.bytes.used(bytes);
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use hulynet_protocol::{ContainerId, Epoch, Kind, Labels, Uuid};
    use tracing::{Subscriber, level_filters::LevelFilter};

    use super::*;

    fn allowance(log_lines: usize, log_bytes: usize, now: Instant) -> Allowance {
        let limits = ContainerLimits { log_lines, log_bytes, ..ContainerLimits::default() };
        Allowance::new(&limits, now)
    }

    #[test]
    fn a_flood_of_lines_is_dropped_and_counted() {
        let now = Instant::now();
        let mut allowance = allowance(10, 1_000_000, now);
        let written = (0..1_000).filter(|_| allowance.admit(now, 1).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(allowance.admit(now + Duration::from_secs(1), 1), Some(900));
        assert_eq!(allowance.admit(now + Duration::from_secs(1), 1), Some(0));
    }

    #[test]
    fn a_flood_of_bytes_is_dropped_and_counted() {
        let now = Instant::now();
        let mut allowance = allowance(1_000, 100, now);
        let written = (0..1_000).filter(|_| allowance.admit(now, 50).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(allowance.admit(now + Duration::from_secs(1), 50), Some(980));
    }

    /// What is written at each level, with these fields.
    fn written(json: bool, fields: &[(String, String)]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::TRACE)
            .with_writer(Arc::new(file.reopen().unwrap()));
        let log: Box<dyn Subscriber + Send + Sync> =
            if json { Box::new(lines.json().finish()) } else { Box::new(lines.finish()) };
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        let activation = Activation { id, epoch: Epoch::default(), labels: Labels::new() };
        let gate = Gate::new(Arc::new(activation), &ContainerLimits::default(), Instant::now());
        tracing::subscriber::with_default(log, || {
            for (level, _) in LEVELS {
                gate.write(level, "imported".to_owned(), fields);
            }
        });
        fs::read_to_string(file.path()).unwrap()
    }

    const LEVELS: [(Level, &str); 5] = [
        (Level::Trace, "TRACE"),
        (Level::Debug, "DEBUG"),
        (Level::Info, "INFO"),
        (Level::Warn, "WARN"),
        (Level::Error, "ERROR"),
    ];

    fn fields<const N: usize>(fields: [(&str, &str); N]) -> [(String, String); N] {
        fields.map(|(key, value)| (key.to_owned(), value.to_owned()))
    }

    #[test]
    fn a_line_is_told_at_its_level_with_its_container_and_its_fields() {
        for (fields, told) in [(&fields([("count", "3")])[..], " fields=count=3"), (&[], "")] {
            let written = written(false, fields);
            assert_eq!(written.lines().count(), LEVELS.len());
            for (line, (_, level)) in written.lines().zip(LEVELS) {
                let told = format!("{level} container: imported container=echo/a{told}");
                assert!(line.ends_with(&told), "{told:?} in {line:?}");
            }
        }
    }

    #[test]
    fn programs_read_the_fields_apart_from_the_message() {
        let written = written(true, &fields([("count", "3")]));
        let told = r#""fields":{"message":"imported","container":"echo/a","fields":"count=3"}"#;
        for line in written.lines() {
            assert!(line.contains(told), "{told} in {line}");
        }
    }

    #[test]
    fn a_value_does_not_forge_another_field() {
        let fields = fields([
            ("plain", "ws-1/ä"),
            ("words", "two words"),
            ("forged", "a=b"),
            ("quotes", "\""),
            ("lines", "one\ntwo\u{85}"),
            ("back", "\\"),
            ("none", ""),
            ("a key", "x"),
        ]);
        let (_, told) = line(String::new(), &fields, 1000);
        let expected = r#"plain=ws-1/ä words="two words" forged="a=b" quotes="\"" lines="one\ntwo\u{85}" back="\\" none="" "a key"=x"#;
        assert_eq!(told.unwrap(), expected);
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        let told = |message: &str, value: &str, bytes| {
            let (message, told) = line(message.to_owned(), &fields([("key", value)]), bytes);
            (message, told.unwrap())
        };
        let pair = |message: &str, told: &str| (message.to_owned(), told.to_owned());
        assert_eq!(told("one\ntwo", "value", 100), pair("one␤two", "key=value"));
        assert_eq!(told("äöü", "value", 3), pair("ä…", "…"));
        assert_eq!(told("ten", "value", 12), pair("ten", "key=value"));
        assert_eq!(told("ten", "value", 11), pair("ten", "key=valu…"));
        assert_eq!(told("ten", &"\n".repeat(1000), 11), pair("ten", "key=\"\\n\\…"));
        assert_eq!(line("ten".to_owned(), &[], 3), ("ten".to_owned(), None));
    }
}
