//! Durations and byte sizes as people write them.

use std::time::Duration;

/// What [`duration`] takes.
pub const DURATION: &str = "a duration such as 500ms, 30s, 5m or 1h";
/// What [`bytes`] takes.
pub const BYTES: &str = "a size such as 64KiB, 256MiB or 1GiB";

const BYTE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Reads a duration, in whole milliseconds. Spaces may stand before the unit.
///
/// # Errors
/// The text is none; the cause, when there is more to say than that.
pub fn duration(text: &str) -> Result<Duration, Option<String>> {
    match with_unit(text, &TIME_UNITS).ok_or(None)? {
        0 => Err(Some("it must be longer than nothing".to_owned())),
        milliseconds => Ok(Duration::from_millis(milliseconds)),
    }
}

/// Reads a number of bytes. Spaces may stand before the unit.
///
/// # Errors
/// The text is none; the cause, when there is more to say than that.
pub fn bytes(text: &str) -> Result<u64, Option<String>> {
    match with_unit(text, &BYTE_UNITS).ok_or(None)? {
        0 => Err(Some("it must be more than nothing".to_owned())),
        bytes => Ok(bytes),
    }
}

/// A duration as [`duration`] reads all but none, in the largest unit that shows
/// it as a whole number. What is shorter than a millisecond is not shown.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), TIME_UNITS.into_iter())
}

/// A size as [`bytes`] reads all but none, in the largest unit that shows it as a
/// whole number.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    show(bytes, BYTE_UNITS.into_iter().rev())
}

/// About how large it is, for people: in the largest unit of which it has one,
/// rounded down to a tenth.
#[must_use]
pub fn about_bytes(bytes: u64) -> String {
    let unit = BYTE_UNITS.into_iter().find(|(_, factor)| bytes >= *factor);
    let (name, factor) = unit.unwrap_or(("B", 1));
    match (bytes / factor, bytes % factor * 10 / factor) {
        (whole, 0) => format!("{whole}{name}"),
        (whole, tenth) => format!("{whole}.{tenth}{name}"),
    }
}

/// Splits `512MiB` into its number and unit and multiplies them.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The largest unit that shows the value as a whole number; the units come
/// smallest first.
fn show(value: u64, units: impl Iterator<Item = (&'static str, u64)>) -> String {
    let mut best = String::new();
    for (name, factor) in units {
        if value.is_multiple_of(factor) && (best.is_empty() || value >= factor) {
            best = format!("{}{name}", value / factor);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_whole_number_and_a_unit() {
        assert_eq!(duration("10 s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(bytes("64 MiB"), Ok(64 << 20));
        assert_eq!(bytes("7B"), Ok(7));
        for wrong in ["", "10", "s", "-1s", "1.5s", "1 day", "99999999999999999999s"] {
            assert_eq!(duration(wrong), Err(None), "{wrong}");
            assert_eq!(bytes(wrong), Err(None), "{wrong}");
        }
        assert_eq!(bytes("18446744073709551615KiB"), Err(None));
        for nothing in ["0s", "0 ms"] {
            assert!(duration(nothing).unwrap_err().unwrap().contains("longer than nothing"));
        }
        assert!(bytes("0MiB").unwrap_err().unwrap().contains("more than nothing"));
    }

    #[test]
    fn about_how_large_something_is_is_told_to_a_tenth() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 20, "1MiB"),
            ((2 << 20) - 1, "1.9MiB"),
            (u64::MAX, "17179869183.9GiB"),
        ] {
            assert_eq!(about_bytes(bytes), shown);
        }
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for (value, shown) in [(1500, "1500ms"), (90_000, "90s"), (3_600_000, "1h")] {
            assert_eq!(show_duration(Duration::from_millis(value)), shown);
            assert_eq!(duration(shown), Ok(Duration::from_millis(value)));
        }
        assert_eq!(show_duration(Duration::ZERO), "0ms");
        for (value, shown) in [(1000, "1000B"), (1 << 20, "1MiB"), (3 << 29, "1536MiB")] {
            assert_eq!(show_bytes(value), shown);
            assert_eq!(bytes(shown), Ok(value));
        }
    }
}
