//! Reading JSON that nobody has checked.
//!
//! What is opaque stays the bytes that it was: it is skipped, not decoded, so
//! numbers and the order of keys pass unchanged and nothing is allocated for
//! it.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The deepest nesting that is taken. Peers read recursively.
pub const DEPTH: usize = 512;

/// Why a request cannot be read: the text of its error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Checks that bytes are UTF-8 and not nested too deeply.
///
/// # Errors
/// [`Refusal`] names what is wrong.
pub fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Refusal(format!("the request is not UTF-8: {error}")))?;
    if depth(bytes) > DEPTH {
        return Err(Refusal(format!("the request is nested more than {DEPTH} levels deep")));
    }
    Ok(text)
}

/// Brackets that are open at the same time, outside of strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads a value of a known shape.
///
/// # Errors
/// [`Refusal`] with the place of the mistake.
pub fn read<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal(format!("{what} cannot be read: {error}")))
}

/// The first elements of an array; absent ones are `None`.
#[derive(Debug)]
pub struct Elements<'a, const N: usize>(pub [Option<&'a RawValue>; N]);

impl<'de: 'a, 'a, const N: usize> Deserialize<'de> for Elements<'a, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Shape<N> {
            type Value = Elements<'de, N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of {N}")
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut sequence: A,
            ) -> Result<Self::Value, A::Error> {
                let mut elements = [None; N];
                for element in &mut elements {
                    *element = sequence.next_element()?;
                }
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Shape::<N>)
    }
}

/// The JSON of a text.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A container's answer as the JSON that peers of this language take: nothing
/// becomes `null`.
///
/// # Errors
/// [`Refusal`] when it is not JSON.
pub fn payload(bytes: &Bytes) -> Result<Bytes, Refusal> {
    if bytes.is_empty() {
        return Ok(Bytes::from_static(b"null"));
    }
    let refuse = |why: String| Refusal(format!("the container did not answer with JSON: {why}"));
    let checked = text(bytes).map_err(|error| refuse(error.0))?;
    serde_json::from_str::<IgnoredAny>(checked).map_err(|error| refuse(error.to_string()))?;
    Ok(bytes.clone())
}

/// The chunks of a streamed answer, one JSON text a line, as one array.
///
/// # Errors
/// [`Refusal`] when one is not JSON.
pub fn lines(bytes: &Bytes) -> Result<Bytes, Refusal> {
    let mut array = vec![b'['];
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(line);
    }
    array.push(b']');
    payload(&Bytes::from(array))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_no_nesting() {
        assert_eq!(depth(br#"[{"a":"[[[\"[{"},[]]"#), 2);
        assert_eq!(depth(br#""\\[""#), 0);
        assert_eq!(depth(br#"["\\",[]]"#), 2);
    }

    #[test]
    fn a_million_brackets_are_refused_and_the_deepest_allowed_are_not() {
        let error = text(&vec![b'['; 1_000_000]).unwrap_err();
        assert!(error.0.contains("512 levels"), "{error}");
        let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        assert!(text(deep.as_bytes()).is_ok());
        assert!(payload(&Bytes::from(deep)).is_ok());
    }

    #[test]
    fn answers_are_json_or_refused() {
        assert_eq!(payload(&Bytes::new()).unwrap(), "null");
        assert_eq!(payload(&Bytes::from_static(b"{\"a\":1.0}")).unwrap(), "{\"a\":1.0}");
        assert!(payload(&Bytes::from_static(b"\xff")).is_err());
        assert!(payload(&Bytes::from_static(b"1 2")).is_err());
        assert_eq!(lines(&Bytes::from_static(b"1\n\"a\"\n\n{}")).unwrap(), "[1,\"a\",{}]");
        assert_eq!(lines(&Bytes::new()).unwrap(), "[]");
    }

    #[test]
    fn further_elements_are_skipped_and_missing_ones_are_absent() {
        let Elements([one, two]) = read("it", "[1,[2],3]").unwrap();
        assert_eq!((one.map(RawValue::get), two.map(RawValue::get)), (Some("1"), Some("[2]")));
        let Elements([one]) = read::<Elements<'_, 1>>("it", "[]").unwrap();
        assert!(one.is_none());
        assert!(read::<Elements<'_, 1>>("it", "{}").is_err());
    }
}
