//! `log`: lines with the container's identity, limited in rate and size.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::Activation;

use super::Context;
use crate::bindings::huly::network::log::{Host, Level};

/// Seconds of the allowed rate that may be written at once.
const BURST: u32 = 10;

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
    bytes: usize,
    rate: Arc<Mutex<Rate>>,
}

impl Gate {
    /// A full allowance.
    pub(crate) fn new(activation: Arc<Activation>, limits: &ContainerLimits, now: Instant) -> Self {
        let rate = Arc::new(Mutex::new(Rate::new(limits.log_lines, now)));
        Self { activation, bytes: limits.log_line, rate }
    }

    /// Writes one line, or drops and counts it.
    pub(crate) fn write(&self, level: Level, message: String, fields: &[(String, String)]) {
        let admitted =
            self.rate.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        let Some(dropped) = admitted else { return };
        let container = &self.activation.id;
        if dropped > 0 {
            tracing::warn!(target: "container", %container, dropped, "log lines over the rate were dropped");
        }
        let line = line(message, fields, self.bytes);
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

/// A bucket that fills at a fixed rate.
struct Rate {
    per_second: f64,
    tokens: f64,
    filled: Instant,
    dropped: u64,
}

impl Rate {
    fn new(lines: usize, now: Instant) -> Self {
        let per_second = lines as f64;
        Self { per_second, tokens: per_second * f64::from(BURST), filled: now, dropped: 0 }
    }

    /// Whether a line may be written now, and how many were dropped before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        let full = self.per_second * f64::from(BURST);
        self.tokens = (self.tokens + passed * self.per_second).min(full);
        self.filled = now;
        if self.tokens < 1.0 {
            self.dropped += 1;
            return None;
        }
        self.tokens -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let now = Instant::now();
        let mut rate = Rate::new(10, now);
        let written = (0..1_000).filter(|_| rate.admit(now).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(rate.admit(now + Duration::from_secs(1)), Some(900));
        assert_eq!(rate.admit(now + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        let fields = [("key".to_owned(), "value".to_owned())];
        assert_eq!(line("one\ntwo".to_owned(), &fields, 100), "one␤two key=value");
        assert_eq!(line("äöü".to_owned(), &fields, 3), "ä…");
    }
}
