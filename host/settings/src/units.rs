//! Durations and byte sizes as people write them.

use std::time::Duration;

/// What [`duration`] takes.
pub const DURATION: &str = "a duration such as 500ms, 30s, 5m or 1h";
/// What [`bytes`] takes.
pub const BYTES: &str = "a size such as 64KiB, 256MiB or 1GiB";

const BYTE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Reads a duration, in whole milliseconds; nothing when the text is none.
/// Spaces may stand before the unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    with_unit(text, &TIME_UNITS).map(Duration::from_millis)
}

/// Reads a number of bytes; nothing when the text is none. Spaces may stand
/// before the unit.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    with_unit(text, &BYTE_UNITS)
}

/// A duration as [`duration`] reads it, in the largest unit that shows it as a
/// whole number. What is shorter than a millisecond is not shown.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), TIME_UNITS.into_iter())
}

/// A size as [`bytes`] reads it, in the largest unit that shows it as a whole
/// number.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    show(bytes, BYTE_UNITS.into_iter().rev())
}

/// About how large it is, for people: in the largest unit of which it has one, to
/// a tenth.
#[must_use]
pub fn about_bytes(bytes: u64) -> String {
    let unit = BYTE_UNITS.into_iter().find(|(_, factor)| bytes >= *factor);
    let (name, factor) = unit.unwrap_or(("B", 1));
    let tenths = u128::from(bytes) * 10 / u128::from(factor);
    match (tenths / 10, tenths % 10) {
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
        assert_eq!(duration("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(bytes("64 MiB"), Some(64 << 20));
        assert_eq!(bytes("7B"), Some(7));
        for wrong in ["", "10", "s", "-1s", "1.5s", "1 day", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        assert_eq!(bytes("18446744073709551615KiB"), None);
    }

    #[test]
    fn about_how_large_something_is_is_told_to_a_tenth() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 20, "1MiB"),
            (1_200_000, "1.1MiB"),
            (u64::MAX, "17179869183.9GiB"),
        ] {
            assert_eq!(about_bytes(bytes), shown);
        }
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for (value, shown) in [(1500, "1500ms"), (90_000, "90s"), (3_600_000, "1h"), (0, "0ms")] {
            assert_eq!(show_duration(Duration::from_millis(value)), shown);
            assert_eq!(duration(shown), Some(Duration::from_millis(value)));
        }
        for (value, shown) in [(1000, "1000B"), (1 << 20, "1MiB"), (3 << 29, "1536MiB")] {
            assert_eq!(show_bytes(value), shown);
            assert_eq!(bytes(shown), Some(value));
        }
    }
}
