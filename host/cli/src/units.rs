//! Values that people write with a unit or in a small syntax: durations, byte
//! sizes, switches, lists and labels.
//!
//! Each type says in [`Typed`] what it takes, so that help texts, error
//! messages and the configuration file agree about it.

use std::{fmt, path::PathBuf, time::Duration};

use hulynet_protocol::{AccountId, Labels, limits};
use hulynet_settings::units;

/// A value of a setting: how it is written, read and shown.
pub(crate) trait Typed: Sized {
    /// What a text must be, for help and messages: "a duration such as 30s".
    const TAKES: &'static str;
    /// How the value is written in a TOML file.
    const TOML: Toml = Toml::Text;

    /// Reads the text.
    fn read(text: &str) -> Result<Self, Unreadable>;

    /// Shows the value as it could be written.
    fn show(&self) -> String;

    /// A text that cannot be read, as an error repeats it.
    fn repeat(text: String) -> String {
        text
    }
}

/// A text is not what a setting takes; the cause, when there is more to say
/// than [`Typed::TAKES`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) Option<String>);

/// How a value is written in a TOML file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toml {
    /// `"text"`.
    Text,
    /// `true` or `false`.
    Switch,
    /// `["a", "b"]`, or one text.
    List,
    /// `{ name = "value" }`.
    Labels,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl Typed for Duration {
    const TAKES: &'static str = units::DURATION;

    fn read(text: &str) -> Result<Self, Unreadable> {
        units::duration(text).map_err(Unreadable)
    }

    fn show(&self) -> String {
        units::show_duration(*self)
    }
}

impl Typed for ByteSize {
    const TAKES: &'static str = units::BYTES;

    fn read(text: &str) -> Result<Self, Unreadable> {
        units::bytes(text).map(Self).map_err(Unreadable)
    }

    fn show(&self) -> String {
        units::show_bytes(self.0)
    }
}

impl Typed for bool {
    const TAKES: &'static str = "true or false";
    const TOML: Toml = Toml::Switch;

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse().map_err(|_| Unreadable::default())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Typed for PathBuf {
    const TAKES: &'static str = "a path";

    fn read(text: &str) -> Result<Self, Unreadable> {
        if text.is_empty() { Err(Unreadable::default()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Typed for AccountId {
    const TAKES: &'static str = "an account";

    fn read(text: &str) -> Result<Self, Unreadable> {
        Self::new(text).map_err(|error| Unreadable(Some(error.to_string())))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// `HOST:PORT`; an IPv6 host stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

impl Address {
    /// The address as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without the port.
    fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(host, _)| host)
    }

    /// True if only programs on this machine can reach the address.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Typed for Address {
    const TAKES: &'static str = "HOST:PORT";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let (host, port) = text.rsplit_once(':').ok_or_else(Unreadable::default)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = !host.is_empty()
            && !host.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control());
        if (bracketed || plain) && port.parse::<u16>().is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(Unreadable::default())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// One or more addresses of coordinators, tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<Address>);

impl Addresses {
    /// The addresses in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{address}")?;
        }
        Ok(())
    }
}

impl Typed for Addresses {
    const TAKES: &'static str = "HOST:PORT, several separated by commas";
    const TOML: Toml = Toml::List;

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.split(',').map(|part| Address::read(part.trim())).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(Address::show).collect::<Vec<_>>().join(",")
    }
}

impl Typed for Labels {
    const TAKES: &'static str = "labels such as region=europe, several separated by commas";
    const TOML: Toml = Toml::Labels;

    fn read(text: &str) -> Result<Self, Unreadable> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let labels = parts
            .map(label)
            .collect::<Result<Self, _>>()
            .map_err(|cause| Unreadable(Some(cause)))?;
        if labels.len() > limits::LABELS {
            return Err(Unreadable(Some(format!("there are more than {} labels", limits::LABELS))));
        }
        Ok(labels)
    }

    fn show(&self) -> String {
        self.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }
}

/// Reads one label, `NAME=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.trim().split_once('=').ok_or_else(|| {
        format!("{text:?} is not a label; write NAME=VALUE, for example region=europe")
    })?;
    if key.is_empty() {
        return Err(format!("the label {text:?} has no name; write NAME=VALUE"));
    }
    if key.len().max(value.len()) > limits::LABEL_BYTES {
        return Err(format!(
            "a label's name or value is longer than {} bytes",
            limits::LABEL_BYTES
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A setting that may be absent; an empty text stands for that.
impl<T: Typed> Typed for Option<T> {
    const TAKES: &'static str = T::TAKES;
    const TOML: Toml = T::TOML;

    fn read(text: &str) -> Result<Self, Unreadable> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_number_and_a_unit() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(Duration::read(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "30", "s", "-1s", "1.5s", "30x", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(Duration::read(text), Err(Unreadable(None)), "{text}");
        }
        assert!(Duration::read("0s").unwrap_err().0.unwrap().contains("longer than nothing"));
    }

    #[test]
    fn a_size_of_nothing_is_refused() {
        assert!(ByteSize::read("0MiB").unwrap_err().0.unwrap().contains("more than nothing"));
        assert_eq!(ByteSize::read("1B"), Ok(ByteSize(1)));
    }

    #[test]
    fn what_is_shown_can_be_written_again() {
        for text in ["500ms", "30s", "90s", "5m", "1h"] {
            assert_eq!(Duration::read(text).unwrap().show(), text);
        }
        for text in ["1B", "1023B", "64KiB", "256MiB", "3GiB"] {
            assert_eq!(ByteSize::read(text).unwrap().show(), text);
        }
        assert_eq!(Labels::read("b=2, a=1").unwrap().show(), "a=1,b=2");
        assert_eq!(Option::<AccountId>::read("").unwrap(), None);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:3737", "localhost:0", "[::1]:3737", "host.example:65535"] {
            assert!(Address::read(text).is_ok(), "{text}");
        }
        for text in ["", "localhost", ":3737", "a:99999", "::1:3737", "a b:1", "a:"] {
            assert!(Address::read(text).is_err(), "{text}");
        }
        assert_eq!(Addresses::read("a:1, b:2").unwrap().to_string(), "a:1, b:2");
        assert!(Addresses::read("a:1,,b:2").is_err());
    }

    #[test]
    fn only_loopback_addresses_are_local() {
        for (text, local) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("localhost:1", true),
            ("0.0.0.0:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(Address::read(text).unwrap().is_local(), local, "{text}");
        }
    }

    #[test]
    fn a_label_has_a_name_and_a_value_which_may_be_empty_or_contain_an_equals_sign() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(label("a="), Ok(("a".into(), String::new())));
        assert!(label("a").unwrap_err().contains("NAME=VALUE"));
        assert!(label("=b").unwrap_err().contains("no name"));
    }
}
