//! `log`: lines with the container's identity, limited in rate and size.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::Activation;

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

    /// Writes one line, or drops and counts it.
    pub(crate) fn write(&self, level: Level, message: String, fields: &[(String, String)]) {
        let line = line(message, fields, self.line);
        let admitted = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(Instant::now(), line.len());
        let Some(dropped) = admitted else { return };
        let container = &self.activation.id;
        if dropped > 0 {
            tracing::warn!(target: "container", %container, dropped, "log lines over the rate were dropped");
        }
        match level {
            Level::Trace => tracing::trace!(target: "container", %container, "{line}"),
            Level::Debug => tracing::debug!(target: "container", %container, "{line}"),
            Level::Info => tracing::info!(target: "container", %container, "{line}"),
            Level::Warn => tracing::warn!(target: "container", %container, "{line}"),
            Level::Error => tracing::error!(target: "container", %container, "{line}"),
        }
    }
}

/// One line of text: the fields follow the message. Control characters cannot
/// forge another line.
fn line(mut message: String, fields: &[(String, String)], bytes: usize) -> String {
    for (key, value) in fields {
        if message.len() > bytes {
            break;
        }
        message.push(' ');
        message.push_str(key);
        message.push('=');
        message.push_str(value);
    }
    if message.len() > bytes {
        message.truncate(message.floor_char_boundary(bytes));
        message.push('…');
    }
    if message.contains(char::is_control) {
        message = message.replace(|c: char| c.is_control() && c != '\t', "␤");
    }
    message
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
    use tracing::level_filters::LevelFilter;

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

    #[test]
    fn a_line_is_told_at_its_level_with_its_fields_and_its_container() {
        let written = tempfile::NamedTempFile::new().unwrap();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::TRACE)
            .with_writer(Arc::new(written.reopen().unwrap()))
            .finish();
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        let activation = Activation { id, epoch: Epoch::default(), labels: Labels::new() };
        let gate = Gate::new(Arc::new(activation), &ContainerLimits::default(), Instant::now());
        let fields = [("count".to_owned(), "3".to_owned())];
        let levels = [
            (Level::Trace, "TRACE"),
            (Level::Debug, "DEBUG"),
            (Level::Info, "INFO"),
            (Level::Warn, "WARN"),
            (Level::Error, "ERROR"),
        ];
        tracing::subscriber::with_default(log, || {
            for (level, _) in levels {
                gate.write(level, "imported".to_owned(), &fields);
            }
        });
        let written = fs::read_to_string(written.path()).unwrap();
        assert_eq!(written.lines().count(), levels.len());
        for (line, (_, level)) in written.lines().zip(levels) {
            let told = format!("{level} container: imported count=3 container=echo/a");
            assert!(line.ends_with(&told), "{told:?} in {line:?}");
        }
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        let fields = [("key".to_owned(), "value".to_owned())];
        assert_eq!(line("one\ntwo".to_owned(), &fields, 100), "one␤two key=value");
        assert_eq!(line("äöü".to_owned(), &fields, 3), "ä…");
    }
}
