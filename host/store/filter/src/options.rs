use serde_json::Value;

use crate::{Collector, FilterError, Found, Projection, Sort};

/// What an answer looks like: how many documents, in which order, with which
/// fields. The default asks for everything, in no order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// At most so many documents; `0` gives none, which with `total` counts.
    pub limit: Option<usize>,
    /// Their order; without one it is the engine's.
    pub sort: Sort,
    /// Their fields; all when absent.
    pub projection: Option<Projection>,
    /// Whether all matches are counted even where a limit ends the search.
    pub total: bool,
}

impl Options {
    /// Reads `{"limit": 10, "sort": {"n": 1}, "projection": {"n": 1},
    /// "total": true}`; every option may be missing or `null`, and so may the
    /// whole.
    ///
    /// # Errors
    /// [`FilterError`] names the option that cannot be used.
    pub fn parse(options: &Value) -> Result<Self, FilterError> {
        let wrong =
            |place: &str, expected| FilterError::WrongType { place: place.to_owned(), expected };
        let fields = match options {
            Value::Null => return Ok(Self::default()),
            Value::Object(fields) => fields,
            _ => return Err(wrong("options", "an object")),
        };
        let mut parsed = Self::default();
        for (option, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match option.as_str() {
                "limit" => {
                    let limit = value.as_u64().and_then(|limit| usize::try_from(limit).ok());
                    parsed.limit =
                        Some(limit.ok_or_else(|| wrong("limit", "a whole number, 0 or more"))?);
                }
                "sort" => parsed.sort = Sort::parse(value)?,
                "projection" => parsed.projection = Some(Projection::parse(value)?),
                "total" => {
                    parsed.total = value.as_bool().ok_or_else(|| wrong("total", "true or false"))?
                }
                _ => {
                    return Err(FilterError::UnknownOption { option: option.clone() });
                }
            }
        }
        Ok(parsed)
    }

    /// Sorts, limits, counts and projects documents that match.
    #[must_use]
    pub fn apply(self, documents: Vec<Value>) -> Found {
        let mut collector = Collector::new(self);
        for document in documents {
            if collector.is_satisfied() {
                break;
            }
            collector.push(document);
        }
        collector.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_may_be_missing_or_null() {
        assert_eq!(Options::parse(&Value::Null), Ok(Options::default()));
        assert_eq!(Options::parse(&json!({"limit": null, "sort": null})), Ok(Options::default()));
    }

    #[test]
    fn an_option_that_cannot_be_used_is_named() {
        for (options, named) in [
            (json!({"lookup": {}}), "lookup"),
            (json!({"limit": -1}), "limit"),
            (json!({"total": 1}), "total"),
            (json!({"sort": 1}), "sort"),
            (json!(7), "options"),
        ] {
            let message = Options::parse(&options).unwrap_err().to_string();
            assert!(message.contains(named), "{message:?} must name {named:?}");
        }
    }
}
