//! The arguments of a call, from what was typed to what containers take.

use std::io::{self, Read};

use bytes::Bytes;
use hulynet_protocol::limits::PAYLOAD_BYTES;
use serde::de::IgnoredAny;

use crate::failure::Failure;

/// The most characters shown before a mistake.
const SHOWN: usize = 60;

/// The payload for an argument; `-` reads it from standard input.
pub(crate) fn payload(argument: Option<&str>) -> Result<Bytes, Failure> {
    match argument {
        None => Ok(Bytes::new()),
        Some("-") => {
            let mut text = String::new();
            // The first byte over the limit tells that there is more.
            io::stdin().lock().take(PAYLOAD_BYTES as u64 + 1).read_to_string(&mut text).map_err(
                |cause| {
                    Failure::usage(format!(
                        "cannot read the arguments from standard input: {cause}"
                    ))
                },
            )?;
            encode(&text)
        }
        Some(text) => encode(text),
    }
}

/// Checks the JSON; a text, number or switch becomes an array of just that.
fn encode(text: &str) -> Result<Bytes, Failure> {
    if text.len() > PAYLOAD_BYTES {
        return Err(Failure::usage(format!(
            "the arguments are longer than {PAYLOAD_BYTES} bytes, the most that one request may carry; send them in parts"
        )));
    }
    let text = text.trim();
    if text.is_empty() {
        return Ok(Bytes::new());
    }
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| Failure::usage(malformed(text, &error)))?;
    let stands_alone = text.starts_with(['[', '{']) || text == "null";
    Ok(if stands_alone { text.to_owned().into() } else { format!("[{text}]").into() })
}

/// Shows where the mistake is.
fn malformed(text: &str, error: &serde_json::Error) -> String {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let end = line.floor_char_boundary(error.column());
    let read = line.get(..end).unwrap_or(line);
    let shown: String = read.chars().skip(read.chars().count().saturating_sub(SHOWN)).collect();
    let rest: String = line.get(end..).unwrap_or_default().chars().take(SHOWN).collect();
    let caret = " ".repeat(shown.chars().count().saturating_sub(1));
    format!(
        "the arguments are not JSON: {error}; a text stands in quotes, for example '[\"hello\"]'\n  {shown}{rest}\n  {caret}^"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> String {
        String::from_utf8(encode(text).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_single_value_stands_for_an_array_of_just_that() {
        for (text, payload) in
            [("5", "[5]"), ("\"a\"", "[\"a\"]"), ("true", "[true]"), ("-1.5", "[-1.5]")]
        {
            assert_eq!(encoded(text), payload);
        }
        for text in ["[1, 2]", "{\"a\": 1}", "null", "[]"] {
            assert_eq!(encoded(text), text);
        }
        assert_eq!(encoded(" 5 "), "[5]");
        assert!(payload(None).unwrap().is_empty() && payload(Some("")).unwrap().is_empty());
    }

    #[test]
    fn malformed_json_is_shown_with_the_place() {
        let message = encode(r#"{"a": }"#).unwrap_err().to_string();
        assert!(message.contains("line 1 column 7"), "{message}");
        assert!(message.ends_with("\n  {\"a\": }\n        ^"), "{message}");
        assert!(encode("hello").unwrap_err().to_string().contains("stands in quotes"));
        assert!(encode("[1] [2]").is_err());
        assert!(encode(&format!("[\"{}", "ä".repeat(500))).unwrap_err().to_string().len() < 1000);
    }

    #[test]
    fn more_than_a_request_carries_is_refused_before_it_is_sent() {
        let text = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES));
        assert!(encode(&text).unwrap_err().to_string().contains("16777216 bytes"));
    }
}
