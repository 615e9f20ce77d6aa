//! The memory that the agent's process holds itself. What is counted of
//! containers leaves out some of each, and what the host has for them; the
//! process leaves out nothing. While it holds more than the agent may have, no
//! container starts and none grows.

use std::{
    fs,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use hulynet_protocol::{LimitRecord, LimitUnit};
use hulynet_settings::units::show_bytes;

/// How long a look holds good: containers start and grow more often than it is
/// worth to ask the system.
const HOLDS_GOOD: Duration = Duration::from_millis(10);

/// What the process holds, and may hold.
#[derive(Debug)]
pub(crate) struct Resident {
    limit: usize,
    look: fn() -> Option<usize>,
    began: Instant,
    /// Milliseconds from the beginning to the last look.
    looked: AtomicU64,
    /// What it saw; 0 where that is unknown.
    bytes: AtomicUsize,
}

impl Resident {
    /// It may hold `limit` bytes.
    pub(crate) fn new(limit: usize, look: fn() -> Option<usize>, now: Instant) -> Self {
        let bytes = AtomicUsize::new(look().unwrap_or_default());
        Self { limit, look, began: now, looked: AtomicU64::new(0), bytes }
    }

    /// Whether it holds no more than it may.
    ///
    /// # Errors
    /// How much it holds, and what helps.
    pub(crate) fn check(&self, now: Instant) -> Result<(), String> {
        let bytes = self.bytes(now);
        if bytes <= self.limit {
            return Ok(());
        }
        Err(format!(
            "the agent's process holds {} of memory itself and may hold {}; end containers, if it has \
             some, or raise --agent-memory and start the agent again",
            show_bytes(bytes as u64),
            show_bytes(self.limit as u64)
        ))
    }

    /// The limit for operators, where what is in use is known.
    pub(crate) fn record(&self, now: Instant) -> Option<LimitRecord> {
        let bytes = self.bytes(now);
        (bytes > 0).then(|| LimitRecord {
            name: "agent-resident".to_owned(),
            allowed: self.limit as u64,
            used: Some(bytes as u64),
            unit: LimitUnit::Bytes,
        })
    }

    fn bytes(&self, now: Instant) -> usize {
        let now = now.saturating_duration_since(self.began);
        let looked = self.looked.load(Ordering::Relaxed);
        if now >= Duration::from_millis(looked) + HOLDS_GOOD {
            let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            // Of those who come at the same time one looks.
            let mine =
                self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed);
            if mine.is_ok() {
                // A busy process may be out of files: then what it held is still
                // the best that is known.
                if let Some(bytes) = (self.look)() {
                    self.bytes.store(bytes, Ordering::Relaxed);
                }
            }
        }
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Bytes that this process holds itself; `None` where the system does not tell.
pub(crate) fn of_process() -> Option<usize> {
    own(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Bytes that the machine has; `None` where the system does not tell.
pub(crate) fn of_machine() -> Option<usize> {
    told(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// What is resident and neither a file's nor shared.
fn own(status: &str) -> Option<usize> {
    told(status, "RssAnon:")
}

/// The bytes of a line of what the system tells.
fn told(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_what_is_resident_of_its_own() {
        let status = "VmRSS:\t  900 kB\nRssAnon:\t     200 kB\nRssFile:\t     700 kB\n";
        assert_eq!(own(status), Some(200 * 1024));
        for text in ["", "VmRSS:\t 900 kB\n", "RssAnon:\t many kB\n", "RssAnon:\t 200\n"] {
            assert_eq!(own(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_it_held_counts_while_the_system_does_not_tell() {
        static TELLS: AtomicUsize = AtomicUsize::new(101);
        let begun = Instant::now();
        let tells = || Some(TELLS.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0);
        let resident = Resident::new(100, tells, begun);
        TELLS.store(0, Ordering::Relaxed);
        resident.check(begun + HOLDS_GOOD).unwrap_err();
        TELLS.store(100, Ordering::Relaxed);
        resident.check(begun + HOLDS_GOOD * 2).unwrap();
    }

    #[test]
    fn who_holds_too_much_is_told_so_until_memory_was_given_back() {
        static HELD: AtomicUsize = AtomicUsize::new(100);
        let held = || Some(HELD.load(Ordering::Relaxed));
        let begun = Instant::now();
        let resident = Resident::new(100, held, begun);
        HELD.store(101, Ordering::Relaxed);
        resident.check(begun + HOLDS_GOOD / 2).unwrap();
        let told = "the agent's process holds 101B of memory itself and may hold 100B;";
        let why = resident.check(begun + HOLDS_GOOD).unwrap_err();
        assert!(why.starts_with(told), "{why}");
        HELD.store(99, Ordering::Relaxed);
        resident.check(begun + HOLDS_GOOD).unwrap_err();
        resident.check(begun + HOLDS_GOOD * 2).unwrap();
        let record = resident.record(begun + HOLDS_GOOD * 2).unwrap();
        assert_eq!((record.allowed, record.used), (100, Some(99)));
    }

    #[test]
    fn what_is_unknown_bounds_nothing() {
        let now = Instant::now();
        let resident = Resident::new(0, || None, now);
        resident.check(now).unwrap();
        assert_eq!(resident.record(now), None);
    }
}
