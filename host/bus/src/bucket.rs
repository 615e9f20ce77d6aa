//! How much of something is still allowed. Pure: time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// Holds so many tokens, and gets one back every so often.
#[derive(Debug)]
pub(crate) struct Bucket {
    size: u32,
    every: Duration,
    level: u32,
    /// When the level was right.
    at: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(size: u32, every: Duration) -> Self {
        Self { size, every, level: size, at: None }
    }

    /// Takes a token; `false` when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let at = *self.at.get_or_insert(now);
        let back = now.saturating_duration_since(at).as_nanos() / self.every.as_nanos().max(1);
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back > 0 {
            self.level = self.level.saturating_add(back).min(self.size);
            self.at = Some(at + self.every.saturating_mul(back));
        }
        let some = self.level > 0;
        self.level = self.level.saturating_sub(1);
        some
    }
}

/// Keeps a log short however often something happens.
#[derive(Debug)]
pub(crate) struct Quiet {
    bucket: Bucket,
    unsaid: u64,
}

impl Default for Quiet {
    /// Ten lines at once, and one every ten seconds.
    fn default() -> Self {
        Self { bucket: Bucket::new(10, Duration::from_secs(10)), unsaid: 0 }
    }
}

impl Quiet {
    /// Whether to write a line now; and how many were not written since the
    /// last one.
    pub(crate) fn line(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.take(now) {
            return Some(std::mem::take(&mut self.unsaid));
        }
        self.unsaid += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn tokens_come_back_with_time_up_to_the_size() {
        let (mut bucket, now) = (Bucket::new(2, SECOND), Instant::now());
        assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
        assert!(bucket.take(now + SECOND) && !bucket.take(now + SECOND));
        let later = now + 100 * SECOND;
        assert!(bucket.take(later) && bucket.take(later) && !bucket.take(later));
    }

    #[test]
    fn a_flood_writes_few_lines_and_tells_how_many_it_left_out() {
        let (mut quiet, now) = (Quiet::default(), Instant::now());
        let lines = (0..1000).filter_map(|_| quiet.line(now)).count();
        assert_eq!(lines, 10);
        assert_eq!(quiet.line(now + 10 * SECOND), Some(990));
        assert_eq!(quiet.line(now + 10 * SECOND), None);
    }
}
