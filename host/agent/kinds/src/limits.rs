//! How much one container may use. One table says what each limit is, what it
//! is called in files, its unit and its default.

use std::{fmt::Debug, time::Duration};

use hulynet_protocol::{LimitRecord, LimitUnit, limits::PAYLOAD_BYTES};
use hulynet_settings::{Mistake, Section, Wrong, section, units};
use toml::de::DeValue;

/// How a limit is written and compared.
pub trait Unit {
    /// A limit's value.
    type Value: Copy + Ord + Debug;
    /// What a text must be, for messages.
    const TAKES: &'static str;
    /// What [`Unit::number`] counts.
    const COUNTS: LimitUnit;
    /// Reads it.
    ///
    /// # Errors
    /// Another type, nothing at all, or too much.
    fn read(value: DeValue<'_>) -> Result<Self::Value, Wrong>;
    /// Shows it as it could be written.
    fn show(value: Self::Value) -> String;
    /// The value as a number, for programs.
    fn number(value: Self::Value) -> u64;
}

/// A number of bytes: `"64 MiB"`.
#[derive(Debug)]
pub struct Bytes;
/// A number of bytes that the network carries in one piece: `"64 KiB"`.
#[derive(Debug)]
pub struct Payload;
/// A number of things: `100`.
#[derive(Debug)]
pub struct Count;
/// Things a second: `100`.
#[derive(Debug)]
pub struct PerSecond;
/// Bytes a second: `"64 KiB"`.
#[derive(Debug)]
pub struct BytesPerSecond;
/// A time: `"10 s"`.
#[derive(Debug)]
pub struct Time;

impl Unit for Bytes {
    type Value = usize;
    const TAKES: &'static str = units::BYTES;
    const COUNTS: LimitUnit = LimitUnit::Bytes;

    fn read(value: DeValue<'_>) -> Result<usize, Wrong> {
        let text = section::text(value)?;
        let bytes = units::bytes(&text).and_then(|bytes| usize::try_from(bytes).map_err(|_| None));
        bytes.map_err(|why| Wrong::Value(text, why))
    }

    fn show(value: usize) -> String {
        units::show_bytes(value as u64)
    }

    fn number(value: usize) -> u64 {
        value as u64
    }
}

impl Unit for Payload {
    type Value = usize;
    const TAKES: &'static str = "a size of at most 16MiB, such as 64KiB";
    const COUNTS: LimitUnit = LimitUnit::Bytes;

    fn read(value: DeValue<'_>) -> Result<usize, Wrong> {
        match Bytes::read(value)? {
            bytes @ ..=PAYLOAD_BYTES => Ok(bytes),
            bytes => Err(Wrong::Value(
                Self::show(bytes),
                Some("the network carries no more in one piece".to_owned()),
            )),
        }
    }

    fn show(value: usize) -> String {
        Bytes::show(value)
    }

    fn number(value: usize) -> u64 {
        Bytes::number(value)
    }
}

impl Unit for Count {
    type Value = usize;
    const TAKES: &'static str = "a whole number from 1 to 1000000";
    const COUNTS: LimitUnit = LimitUnit::Count;

    fn read(value: DeValue<'_>) -> Result<usize, Wrong> {
        let DeValue::Integer(integer) = value else {
            return Err(Wrong::Type(section::type_name(&value)));
        };
        let count = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
        let wrong = || Wrong::Value(integer.as_str().to_owned(), None);
        count.filter(|count| (1..=1_000_000).contains(count)).ok_or_else(wrong)
    }

    fn show(value: usize) -> String {
        value.to_string()
    }

    fn number(value: usize) -> u64 {
        value as u64
    }
}

/// A unit that is written like another one and counts as much a second.
macro_rules! rate {
    ($rate:ident of $of:ident) => {
        impl Unit for $rate {
            type Value = usize;
            const TAKES: &'static str = $of::TAKES;
            const COUNTS: LimitUnit = LimitUnit::$rate;

            fn read(value: DeValue<'_>) -> Result<usize, Wrong> {
                $of::read(value)
            }

            fn show(value: usize) -> String {
                $of::show(value)
            }

            fn number(value: usize) -> u64 {
                $of::number(value)
            }
        }
    };
}

rate!(PerSecond of Count);
rate!(BytesPerSecond of Bytes);

impl Unit for Time {
    type Value = Duration;
    const TAKES: &'static str = units::DURATION;
    const COUNTS: LimitUnit = LimitUnit::Milliseconds;

    fn read(value: DeValue<'_>) -> Result<Duration, Wrong> {
        let text = section::text(value)?;
        units::duration(&text).map_err(|why| Wrong::Value(text, why))
    }

    fn show(value: Duration) -> String {
        units::show_duration(value)
    }

    fn number(value: Duration) -> u64 {
        u64::try_from(value.as_millis()).unwrap_or(u64::MAX)
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident: $unit:ident = $default:expr, $key:literal;)+) => {
        /// What one container may use.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct ContainerLimits {
            $($(#[doc = $doc])+ pub $field: <$unit as Unit>::Value,)+
        }

        impl Default for ContainerLimits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// The limits that a file sets; `None` leaves one as it is.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct WrittenLimits {
            $($(#[doc = $doc])+ pub $field: Option<<$unit as Unit>::Value>,)+
        }

        impl WrittenLimits {
            /// The keys that [`WrittenLimits::read`] takes.
            pub const KEYS: &'static [&'static str] = &[$($key,)+];

            /// Reads a whole table.
            ///
            /// # Errors
            /// A value that a limit does not take, an unknown key.
            pub fn read(mut section: Section<'_>) -> Result<Self, Mistake> {
                let read = Self {
                    $($field: section.take($key, $unit::TAKES, $unit::read)?,)+
                };
                section.finish(Self::KEYS.iter().copied())?;
                Ok(read)
            }

            /// The first of these keys that is set.
            #[must_use]
            pub fn first_of(&self, keys: &[&'static str]) -> Option<&'static str> {
                let set = [$(self.$field.is_some().then_some($key),)+];
                set.into_iter().flatten().find(|key| keys.contains(key))
            }

            /// The limits that are set higher than allowed, as they stand in
            /// a file, each with what is allowed.
            #[must_use]
            pub fn exceeding(&self, allowed: &ContainerLimits) -> Vec<(String, String)> {
                let mut exceeding = Vec::new();
                $(if let Some(asked) = self.$field && asked > allowed.$field {
                    exceeding.push((
                        format!("{} = {}", $key, written::<$unit>(asked)),
                        $unit::show(allowed.$field),
                    ));
                })+
                exceeding
            }
        }

        impl ContainerLimits {
            /// These, with what a file sets in their place.
            #[must_use]
            pub fn with(mut self, written: &WrittenLimits) -> Self {
                $(if let Some(value) = written.$field { self.$field = value; })+
                self
            }

            /// These, where a file does not set less.
            #[must_use]
            pub fn at_most(mut self, written: &WrittenLimits) -> Self {
                $(if let Some(value) = written.$field { self.$field = self.$field.min(value); })+
                self
            }

            /// Every limit's key and its value as it could be written.
            #[must_use]
            pub fn shown(&self) -> Vec<(&'static str, String)> {
                vec![$(($key, $unit::show(self.$field)),)+]
            }

            /// Every limit for operators; `used` tells how much is in use,
            /// by key, where that is a state of a container.
            pub fn records(&self, used: impl Fn(&str) -> Option<u64>) -> Vec<LimitRecord> {
                vec![$(LimitRecord {
                    name: $key.to_owned(),
                    allowed: $unit::number(self.$field),
                    used: used($key),
                    unit: $unit::COUNTS,
                },)+]
            }
        }
    };
}

limits! {
    /// Bytes over all its memories and tables.
    memory: Bytes = 256 << 20, "memory";
    /// How long it may compute without a pause before it is ended; less after
    /// the last deadline of those who wait for it.
    compute: Time = Duration::from_secs(10), "compute";
    /// Requests that wait in its mailbox; more are refused as busy.
    mailbox: Count = 1024, "mailbox";
    /// Bytes of the requests that wait in its mailbox or are worked on.
    mailbox_bytes: Bytes = 64 << 20, "mailbox-bytes";
    /// Requests that it works on at a time; more wait in the mailbox.
    concurrent: Count = 256, "concurrent";
    /// Connections to it.
    connections: Count = 4096, "connections";
    /// Bytes of one request to it.
    request_bytes: Payload = PAYLOAD_BYTES, "request-bytes";
    /// Bytes of one answer of it, or of one chunk of it.
    reply_bytes: Payload = PAYLOAD_BYTES, "reply-bytes";
    /// Bytes of one event of it.
    event_bytes: Payload = PAYLOAD_BYTES, "event-bytes";
    /// Bytes of its events and streams that wait for whoever reads them. A
    /// stream then goes on when some were read; of the clients for whom events
    /// wait, the one with the most gives way.
    unread_bytes: Bytes = 64 << 20, "unread-bytes";
    /// Events that it may send or broadcast a second, with a burst of ten
    /// times as many.
    events: PerSecond = 10_000, "events";
    /// Log lines a second, with a burst of ten times as many.
    log_lines: PerSecond = 100, "log-lines";
    /// Bytes of log lines a second, with a burst of ten times as many.
    log_bytes: BytesPerSecond = 64 << 10, "log-bytes";
    /// Bytes of one log line with its fields; longer ones are cut.
    log_line: Bytes = 8 << 10, "log-line";
    /// Streams that it may have open.
    streams: Count = 1024, "streams";
    /// Resources (callers, references, workspaces, WASI handles) that it may
    /// hold.
    resources: Count = 65_536, "resources";
    /// Timers that it may wait for at a time.
    timers: Count = 4096, "timers";
    /// Containers that it may hold.
    references: Count = 1024, "references";
    /// How often a second it may ask for a container, which may start one, with
    /// a burst of ten times as many.
    gets: PerSecond = 200, "gets";
    /// How often a second it may call others: other containers, its documents
    /// and hosts, with a burst of ten times as many.
    calls: PerSecond = 10_000, "calls";
    /// Requests to others, to its documents and to hosts that it may wait for
    /// at a time.
    outgoing: Count = 1024, "outgoing";
    /// Bytes of those requests.
    outgoing_bytes: Bytes = 64 << 20, "outgoing-bytes";
    /// Bytes of the body of one HTTP request of it, and of that of the answer.
    http_bytes: Bytes = 16 << 20, "http-bytes";
    /// How long one HTTP request may take, to the end of its answer.
    http_time: Time = Duration::from_secs(30), "http-time";
    /// How many containers may wait for one another's answers in a row, this
    /// one included.
    depth: Count = 16, "depth";
    /// How long it may take to start.
    start: Time = Duration::from_secs(30), "start";
    /// How long it may take to answer when it is asked to terminate.
    terminate: Time = Duration::from_secs(5), "terminate";
    /// It is pinged after this long without a sign of life.
    silent: Time = Duration::from_secs(10), "silent";
    /// How long it may take to answer a ping.
    ping: Time = Duration::from_secs(5), "ping";
    /// The deadline of its own requests when it names none, and of what it is
    /// asked without anybody who waits for it.
    request: Time = Duration::from_secs(30), "request";
    /// The first starts of a new version that may fail, without one that
    /// succeeded, before the version before it serves again.
    failed_starts: Count = 3, "failed-starts";
    /// Containers that crash within the window before their kind is in
    /// quarantine for their tenant; where more of them live, so many.
    crashes: Count = 5, "crashes";
    /// Crashes that are looked at together.
    crash_window: Time = Duration::from_secs(60), "crash-window";
    /// The first quarantine; each further one is twice as long.
    quarantine: Time = Duration::from_secs(10), "quarantine";
    /// No quarantine is longer. A kind that went on for as long without another
    /// one begins anew.
    longest_quarantine: Time = Duration::from_secs(600), "longest-quarantine";
}

impl WrittenLimits {
    /// Those that protect others from the kind itself: only operators set them.
    pub const OF_OPERATORS: [&'static str; 5] =
        ["failed-starts", "crashes", "crash-window", "quarantine", "longest-quarantine"];
}

/// As it stands in a file: what is not a number is in quotes.
fn written<U: Unit>(value: U::Value) -> String {
    let shown = U::show(value);
    if shown.bytes().all(|byte| byte.is_ascii_digit()) { shown } else { format!("{shown:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WrittenLimits, String> {
        let section = Section::parse("k.toml", text).unwrap();
        WrittenLimits::read(section).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_numbers_with_units() {
        let read = read("memory = \"64 MiB\"\nmailbox = 10\nstart = \"10 s\"").unwrap();
        let limits = ContainerLimits::default().with(&read);
        assert_eq!((limits.memory, limits.mailbox), (64 << 20, 10));
        assert_eq!((limits.start, limits.ping), (Duration::from_secs(10), Duration::from_secs(5)));
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        let limits = ContainerLimits::default();
        let quoted = |(key, value): (&str, String)| match value.parse::<u64>() {
            Ok(count) => format!("{key} = {count}\n"),
            Err(_) => format!("{key} = {value:?}\n"),
        };
        let text: String = limits.shown().into_iter().map(quoted).collect();
        let least = ContainerLimits { memory: 1, ..ContainerLimits::default() };
        assert_eq!(least.with(&read(&text).unwrap()), limits);
    }

    #[test]
    fn operators_are_told_every_limit_with_its_unit_and_what_is_in_use() {
        let used = |key: &str| (key == "memory").then_some(7);
        let records = ContainerLimits::default().records(used);
        let record = |key: &str| records.iter().find(|record| record.name == key).unwrap();
        assert_eq!((record("memory").allowed, record("memory").used), (256 << 20, Some(7)));
        assert_eq!((record("start").allowed, record("start").used), (30_000, None));
        assert_eq!(record("log-bytes").unit, LimitUnit::BytesPerSecond);
        assert_eq!(records.len(), WrittenLimits::KEYS.len());
    }

    #[test]
    fn the_readme_names_every_limit_with_its_default() {
        let readme = include_str!("../../../../README.md");
        let rows = readme.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let keys: Vec<_> = cells.next()?.split(", ").map(|key| key.trim_matches('`')).collect();
            let mut defaults = cells.next()?.split(", ").collect::<Vec<_>>();
            // One default for all of them stands once.
            defaults.resize(keys.len(), *defaults.first()?);
            Some(keys.into_iter().zip(defaults))
        });
        let told: Vec<_> = rows.flatten().collect();
        for (key, default) in ContainerLimits::default().shown() {
            assert!(told.contains(&(key, default.as_str())), "{key} = {default} in {told:?}");
        }
    }

    #[test]
    fn no_limit_is_nothing_or_boundless() {
        for (text, told) in [
            ("mailbox = 0", "mailbox takes a whole number from 1 to 1000000, not \"0\""),
            ("mailbox = -1", "mailbox takes a whole number from 1 to 1000000, not \"-1\""),
            ("mailbox = 0xFFFFFFFF", "mailbox takes a whole number from 1 to 1000000"),
            ("mailbox = \"1\"", "mailbox takes a whole number from 1 to 1000000, not a text"),
            ("memory = 1", "memory takes a size such as 64KiB, 256MiB or 1GiB, not an integer"),
            ("memory = \"0 B\"", "not \"0 B\": it must be more than nothing"),
            ("start = \"0s\"", "not \"0s\": it must be longer than nothing"),
            ("reply-bytes = \"0 B\"", "not \"0 B\": it must be more than nothing"),
            ("memry = 1", "did you mean \"memory\"?"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("k.toml:1: ") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn no_limit_is_more_than_what_the_network_carries() {
        let most = Payload::show(PAYLOAD_BYTES);
        assert!(Payload::TAKES.contains(&most), "{} and {most}", Payload::TAKES);
        for key in ["request-bytes", "reply-bytes", "event-bytes"] {
            assert!(read(&format!("{key} = {most:?}")).is_ok());
            assert_eq!(
                read(&format!("\n{key} = \"16777217 B\"")).unwrap_err(),
                format!(
                    "k.toml:2: {key} takes a size of at most 16MiB, such as 64KiB, not \
                     \"16777217B\": the network carries no more in one piece"
                )
            );
        }
    }

    #[test]
    fn the_lower_one_wins_and_the_higher_one_is_told() {
        let asked = read("memory = \"1 GiB\"\nmailbox = 10").unwrap();
        let allowed = ContainerLimits::default();
        let told = [("memory = \"1GiB\"".to_owned(), "256MiB".to_owned())];
        assert_eq!(asked.exceeding(&allowed), told);
        let both = allowed.at_most(&asked);
        assert_eq!((both.memory, both.mailbox), (256 << 20, 10));
    }
}
