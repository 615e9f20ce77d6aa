//! One operation: an operator, the path it works on, and its operand.

use hulynet_filter::same_value;
use serde_json::{Map, Number, Value};

use super::UpdateError;
use super::path::{Path, Slot};
use crate::value::{add, type_name};

/// One operator applied to one path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    path: Path,
    action: Action,
}

#[derive(Debug, Clone, PartialEq)]
enum Action {
    Set(Value),
    Inc(Number),
    /// The values go in at the position, or at the end if there is none.
    Push {
        values: Vec<Value>,
        position: Option<usize>,
    },
    Pull(Match),
    Unset,
    Rename(Path),
    /// The fields are set in every element that matches.
    Update {
        query: Match,
        fields: Map<String, Value>,
    },
}

/// Which elements of an array are meant.
#[derive(Debug, Clone, PartialEq)]
enum Match {
    /// Any of these values.
    AnyOf(Vec<Value>),
    /// Objects that have all of these fields.
    Fields(Map<String, Value>),
}

impl Match {
    fn matches(&self, element: &Value) -> bool {
        match self {
            Self::AnyOf(values) => values.iter().any(|value| same_value(value, element)),
            Self::Fields(fields) => element.as_object().is_some_and(|element| {
                fields.iter().all(|(key, value)| {
                    element.get(key).is_some_and(|found| same_value(value, found))
                })
            }),
        }
    }
}

/// Parses the operand of one key.
type Parser = fn(&str, &Value) -> Result<Action, UpdateError>;

/// Parses one `$operator: {key: operand, …}` into its operations.
pub(super) fn parse(
    operator: &str,
    operand: &Value,
    into: &mut Vec<Operation>,
) -> Result<(), UpdateError> {
    let (name, action): (&'static str, Parser) = match operator {
        "$inc" => ("$inc", inc),
        "$push" => ("$push", push),
        "$pull" => ("$pull", pull),
        "$unset" => ("$unset", |_, _| Ok(Action::Unset)),
        "$rename" => ("$rename", rename),
        "$update" => ("$update", update),
        _ => {
            return Err(UpdateError::UnknownOperator {
                operator: operator.chars().take(64).collect(),
            });
        }
    };
    let Value::Object(keys) = operand else {
        return Err(wrong(name, "", "an object of keys", operand));
    };
    for (key, operand) in keys {
        into.push(Operation { path: Path::parse(key)?, action: action(key, operand)? });
    }
    Ok(())
}

fn wrong(operator: &'static str, key: &str, expected: &'static str, found: &Value) -> UpdateError {
    UpdateError::Operand {
        operator,
        key: key.to_owned(),
        expected,
        found: type_name(found).to_owned(),
    }
}

/// The only keys that the object may have; an error names another one.
fn only(
    operator: &'static str,
    key: &str,
    object: &Map<String, Value>,
    allowed: &[&str],
    expected: &'static str,
) -> Result<(), UpdateError> {
    match object.keys().find(|name| !allowed.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(UpdateError::Operand {
            operator,
            key: key.to_owned(),
            expected,
            found: format!("`{}`", name.chars().take(64).collect::<String>()),
        }),
    }
}

fn inc(key: &str, operand: &Value) -> Result<Action, UpdateError> {
    match operand {
        Value::Number(step) => Ok(Action::Inc(step.clone())),
        other => Err(wrong("$inc", key, "a number", other)),
    }
}

fn push(key: &str, operand: &Value) -> Result<Action, UpdateError> {
    const SHAPE: &str = "a value, or {$each: [values], $position: index}";
    let Some(modifiers) =
        operand.as_object().filter(|fields| fields.keys().any(|key| key.starts_with('$')))
    else {
        return Ok(Action::Push { values: vec![operand.clone()], position: None });
    };
    only("$push", key, modifiers, &["$each", "$position"], SHAPE)?;
    let values = match modifiers.get("$each") {
        Some(Value::Array(values)) => values.clone(),
        other => return Err(wrong("$push", key, SHAPE, other.unwrap_or(&Value::Null))),
    };
    // Without a position the values go in front: Huly's own code does so.
    let position = match modifiers.get("$position") {
        None => 0,
        Some(position) => position
            .as_u64()
            .map(|position| usize::try_from(position).unwrap_or(usize::MAX))
            .ok_or_else(|| {
                wrong("$push", key, "a $position that is an integer from 0", position)
            })?,
    };
    Ok(Action::Push { values, position: Some(position) })
}

fn pull(key: &str, operand: &Value) -> Result<Action, UpdateError> {
    const SHAPE: &str = "a value, {$in: [values]}, or the fields of the elements to remove";
    let Value::Object(fields) = operand else {
        return Ok(Action::Pull(Match::AnyOf(vec![operand.clone()])));
    };
    if fields.keys().any(|key| key.starts_with('$')) {
        only("$pull", key, fields, &["$in"], SHAPE)?;
        return match fields.get("$in") {
            Some(Value::Array(values)) => Ok(Action::Pull(Match::AnyOf(values.clone()))),
            other => Err(wrong("$pull", key, SHAPE, other.unwrap_or(&Value::Null))),
        };
    }
    Ok(Action::Pull(Match::Fields(fields.clone())))
}

fn rename(key: &str, operand: &Value) -> Result<Action, UpdateError> {
    match operand {
        Value::String(name) => Ok(Action::Rename(Path::parse(name)?)),
        other => Err(wrong("$rename", key, "the new name", other)),
    }
}

fn update(key: &str, operand: &Value) -> Result<Action, UpdateError> {
    const SHAPE: &str = "{$query: {fields to match}, $update: {fields to set}}";
    let Value::Object(parts) = operand else {
        return Err(wrong("$update", key, SHAPE, operand));
    };
    only("$update", key, parts, &["$query", "$update"], SHAPE)?;
    let part = |name| match parts.get(name) {
        Some(Value::Object(fields)) if !fields.keys().any(|key| key.starts_with('$')) => {
            Ok(fields.clone())
        }
        other => Err(wrong("$update", key, SHAPE, other.unwrap_or(&Value::Null))),
    };
    Ok(Action::Update { query: Match::Fields(part("$query")?), fields: part("$update")? })
}

impl Operation {
    /// A plain key.
    pub(super) fn set(key: &str, value: &Value) -> Result<Self, UpdateError> {
        Ok(Self { path: Path::parse(key)?, action: Action::Set(value.clone()) })
    }

    /// Changes the document. After an error the document may be half changed:
    /// the caller owns it and drops it.
    pub(super) fn apply(&self, document: &mut Map<String, Value>) -> Result<(), UpdateError> {
        match &self.action {
            Action::Set(value) => self.path.put(document, value.clone()),
            Action::Inc(step) => self.inc(document, step),
            Action::Push { values, position } => {
                let items = self.array(document, "$push")?;
                let at = position.map_or(items.len(), |position| position.min(items.len()));
                items.splice(at..at, values.iter().cloned());
                Ok(())
            }
            Action::Pull(elements) => {
                self.array(document, "$pull")?.retain(|element| !elements.matches(element));
                Ok(())
            }
            Action::Update { query, fields } => {
                let matching = self
                    .array(document, "$update")?
                    .iter_mut()
                    .filter(|element| query.matches(element));
                for element in matching.filter_map(Value::as_object_mut) {
                    element.extend(fields.clone());
                }
                Ok(())
            }
            Action::Unset => self.take(document, "$unset").map(|_| ()),
            Action::Rename(name) => match self.take(document, "$rename")? {
                Some(value) => name.put(document, value),
                None => Ok(()),
            },
        }
    }

    /// Removes the value of the path and returns it, if there is one.
    fn take(
        &self,
        document: &mut Map<String, Value>,
        operator: &'static str,
    ) -> Result<Option<Value>, UpdateError> {
        match self.path.find(document)? {
            None => Ok(None),
            Some(Slot::Field(fields, key)) => Ok(fields.shift_remove(key)),
            Some(Slot::Element(_)) => Err(self.target(operator, "a key", "an element of an array")),
        }
    }

    fn inc(&self, document: &mut Map<String, Value>, step: &Number) -> Result<(), UpdateError> {
        let slot = self.path.slot(document)?;
        let sum = match slot {
            Value::Null => step.clone(),
            Value::Number(number) => add(number, step)
                .ok_or_else(|| UpdateError::Overflow { path: self.path.as_str().to_owned() })?,
            other => return Err(self.target("$inc", "a number", type_name(other))),
        };
        *slot = Value::Number(sum);
        Ok(())
    }

    /// The array of the path; a missing or null one becomes empty.
    fn array<'a>(
        &'a self,
        document: &'a mut Map<String, Value>,
        operator: &'static str,
    ) -> Result<&'a mut Vec<Value>, UpdateError> {
        let slot = self.path.slot(document)?;
        if slot.is_null() {
            *slot = Value::Array(Vec::new());
        }
        match slot {
            Value::Array(items) => Ok(items),
            other => Err(self.target(operator, "an array", type_name(other))),
        }
    }

    fn target(
        &self,
        operator: &'static str,
        expected: &'static str,
        found: &'static str,
    ) -> UpdateError {
        UpdateError::Target { operator, path: self.path.as_str().to_owned(), expected, found }
    }
}
