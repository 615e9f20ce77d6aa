use serde_json::Value;

use crate::FilterError;

/// How many keys a filter, a sort or a projection may name.
pub const MAX_KEYS: usize = 64;
/// How many bytes one key may have.
pub const MAX_KEY_BYTES: usize = 512;
/// How many segments a dotted key may have.
pub const MAX_KEY_SEGMENTS: usize = 16;
/// How deep the values in a filter may nest.
pub const MAX_DEPTH: usize = 16;
/// How many values a filter may hold, all lists and objects counted.
pub const MAX_FILTER_VALUES: usize = 10_000;
/// How many bytes of text a filter may hold.
pub const MAX_FILTER_BYTES: usize = 1024 * 1024;

/// What a filter still may hold.
pub(crate) struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { values: MAX_FILTER_VALUES, bytes: MAX_FILTER_BYTES }
    }

    /// Takes `value` off the budget; fails before it descends too deep.
    pub(crate) fn spend(&mut self, value: &Value, depth: usize) -> Result<(), FilterError> {
        if depth > MAX_DEPTH {
            return Err(FilterError::TooLarge { what: "nested levels", limit: MAX_DEPTH });
        }
        self.values = self
            .values
            .checked_sub(1)
            .ok_or(FilterError::TooLarge { what: "values", limit: MAX_FILTER_VALUES })?;
        match value {
            Value::String(text) => self.spend_bytes(text.len()),
            Value::Array(items) => items.iter().try_for_each(|item| self.spend(item, depth + 1)),
            Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
                self.spend_bytes(key.len())?;
                self.spend(item, depth + 1)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn spend_bytes(&mut self, bytes: usize) -> Result<(), FilterError> {
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or(FilterError::TooLarge { what: "bytes of text", limit: MAX_FILTER_BYTES })?;
        Ok(())
    }
}
