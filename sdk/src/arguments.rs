//! Arguments on the wire.
//!
//! A payload without arguments is empty, `null`, `[]` or `{}`. With arguments
//! it is either an array of them in order, which is what typed clients send,
//! or an object of them by name, which is what people type. An argument that
//! is absent counts as `null`, so an `Option` may be left out. An array or an
//! object is always the list of arguments, never the argument itself.

use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::bounds::Argument;
use crate::{Error, Result};

/// The arguments of one request, split but not yet decoded.
pub struct Arguments<'a> {
    operation: &'static str,
    names: &'static [&'static str],
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Arguments<'a> {
    /// Splits a payload into the arguments named.
    ///
    /// # Errors
    /// `invalid-arguments` when the payload is not JSON, or has an argument
    /// too many, an unknown one, or one twice.
    pub fn parse(
        operation: &'static str,
        names: &'static [&'static str],
        payload: &'a [u8],
    ) -> Result<Self> {
        let payload = if payload.is_empty() { b"null" } else { payload };
        let mut reader = serde_json::Deserializer::from_slice(payload);
        let values = reader
            .deserialize_any(Shape { names })
            .and_then(|values| reader.end().map(|()| values));
        let values = values.map_err(|cause| {
            Error::invalid_arguments(format!("{operation:?} takes {}: {cause}", Expected(names)))
        })?;
        Ok(Self { operation, names, values })
    }

    /// Decodes the argument at a position.
    ///
    /// # Errors
    /// `invalid-arguments` when it is missing or of another shape.
    pub fn take<T: Argument>(&self, position: usize) -> Result<T> {
        let name = self.names.get(position).copied().unwrap_or("?");
        match self.values.get(position).copied().flatten() {
            Some(value) => serde_json::from_str(value.get()).map_err(|cause| {
                Error::invalid_arguments(format!(
                    "argument {name:?} of {:?}: {cause}",
                    self.operation
                ))
            }),
            None => serde_json::from_str("null").map_err(|_| {
                let expected = Expected(self.names);
                Error::invalid_arguments(format!(
                    "argument {name:?} of {:?} is missing; it takes {expected}",
                    self.operation
                ))
            }),
        }
    }
}

/// Decodes what a container is started with; nothing counts as `null`.
///
/// # Errors
/// `invalid-arguments` when it is of another shape.
pub fn extra<T: Argument>(extra: &[u8]) -> Result<T> {
    let extra = if extra.is_empty() { b"null" } else { extra };
    serde_json::from_slice(extra).map_err(|cause| {
        Error::invalid_arguments(format!("the `extra` to start the container with: {cause}"))
    })
}

/// Writes arguments as the array that typed clients send.
#[derive(Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Appends an argument.
    ///
    /// # Errors
    /// `invalid-arguments` when it has no JSON form.
    pub fn push<T: serde::Serialize>(mut self, name: &str, argument: &T) -> Result<Self> {
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        serde_json::to_writer(&mut self.0, argument).map_err(|cause| {
            Error::invalid_arguments(format!("argument {name:?} has no JSON form: {cause}"))
        })?;
        Ok(self)
    }

    /// The payload; empty without arguments.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if !self.0.is_empty() {
            self.0.push(b']');
        }
        self.0
    }
}

/// What an operation takes, for messages.
struct Expected(&'static [&'static str]);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no arguments");
        }
        let names = self.0.join(", ");
        let fields: Vec<String> = self.0.iter().map(|name| format!("{name:?}: …")).collect();
        write!(f, "an array [{names}] or an object {{{}}}", fields.join(", "))
    }
}

/// Reads either form into one slot for each name.
struct Shape {
    names: &'static [&'static str],
}

impl<'de> Visitor<'de> for Shape {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::with_capacity(self.names.len());
        while let Some(value) = sequence.next_element()? {
            if values.len() == self.names.len() {
                return Err(A::Error::custom("there are more"));
            }
            values.push(Some(value));
        }
        Ok(values)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.names.len()];
        while let Some(name) = map.next_key::<String>()? {
            let position = self.names.iter().position(|known| *known == name);
            match position.and_then(|position| values.get_mut(position)) {
                None => return Err(A::Error::custom(format!("there is no {name:?}"))),
                Some(Some(_)) => return Err(A::Error::custom(format!("{name:?} is there twice"))),
                Some(slot) => *slot = Some(map.next_value()?),
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["n", "text"];

    fn both(payload: &str) -> Result<(u64, Option<String>)> {
        let arguments = Arguments::parse("add", NAMES, payload.as_bytes())?;
        Ok((arguments.take(0)?, arguments.take(1)?))
    }

    fn message(payload: &str) -> String {
        let error = both(payload).unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (crate::ErrorKind::InvalidArguments, crate::Retry::Final)
        );
        error.message
    }

    #[test]
    fn arguments_come_in_order_or_by_name() {
        assert_eq!(both(r#"[1, "a"]"#), Ok((1, Some("a".into()))));
        assert_eq!(both(r#"{"text": "a", "n": 1}"#), Ok((1, Some("a".into()))));
    }

    #[test]
    fn an_optional_argument_may_be_left_out() {
        assert_eq!(both("[1]"), Ok((1, None)));
        assert_eq!(both(r#"{"n": 1}"#), Ok((1, None)));
        assert_eq!(both(r#"[1, null]"#), Ok((1, None)));
    }

    #[test]
    fn no_arguments_have_four_forms() {
        for payload in ["", "null", "[]", "{}", " null "] {
            assert!(Arguments::parse("value", &[], payload.as_bytes()).is_ok(), "{payload:?}");
        }
    }

    #[test]
    fn what_typed_clients_send_is_what_operations_take() {
        let payload =
            Encoder::default().push("n", &7).unwrap().push("text", &"ä").unwrap().finish();
        assert_eq!(both(std::str::from_utf8(&payload).unwrap()), Ok((7, Some("ä".into()))));
        assert!(Encoder::default().finish().is_empty());
    }

    #[test]
    fn a_wrong_shape_names_operation_argument_and_cause() {
        let takes = r#""add" takes an array [n, text] or an object {"n": …, "text": …}"#;
        assert_eq!(
            message(r#"["x"]"#),
            r#"argument "n" of "add": invalid type: string "x", expected u64 at line 1 column 3"#
        );
        assert_eq!(
            message(""),
            r#"argument "n" of "add" is missing; it takes an array [n, text] or an object {"n": …, "text": …}"#
        );
        assert_eq!(message("[1, null, 3]"), format!("{takes}: there are more at line 1 column 12"));
        assert_eq!(
            message(r#"{"m": 1}"#),
            format!(r#"{takes}: there is no "m" at line 1 column 4"#)
        );
        assert_eq!(
            message(r#"{"n": 1, "n": 2}"#),
            format!(r#"{takes}: "n" is there twice at line 1 column 12"#)
        );
        assert!(message("7").starts_with(&format!("{takes}: invalid type: integer `7`")));
        assert!(message("[1] 2").contains("trailing characters"));
        assert!(message("\u{0}").contains("expected value"));
        let error = Arguments::parse("value", &[], b"[1]").err().unwrap();
        assert!(
            error.message.starts_with(r#""value" takes no arguments: there are more"#),
            "{error}"
        );
    }
}
