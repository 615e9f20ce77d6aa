use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::FilterError;
use crate::like::Like;
use crate::value::{compare_scalars, same_value};

/// One demand on the value behind a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Equals(Value),
    NotEquals(Value),
    In(Members),
    NotIn(Members),
    Exists(bool),
    Compare(Comparison, Value),
    Like(Like),
    Size(Vec<(Comparison, u64)>),
    All(Vec<Value>),
}

/// A list of accepted values; texts, the usual case, are found by search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Members {
    pub(crate) texts: BTreeSet<String>,
    pub(crate) others: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
}

impl Comparison {
    fn named(operator: &str) -> Option<Self> {
        match operator {
            "$gt" => Some(Self::Greater),
            "$gte" => Some(Self::GreaterOrEqual),
            "$lt" => Some(Self::Less),
            "$lte" => Some(Self::LessOrEqual),
            _ => None,
        }
    }

    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
        }
    }
}

impl Members {
    fn parse(place: &str, value: &Value) -> Result<Self, FilterError> {
        let (mut texts, mut others) = (BTreeSet::new(), Vec::new());
        for item in array(place, value)? {
            match item {
                Value::String(text) => {
                    texts.insert(text.clone());
                }
                other => others.push(other.clone()),
            }
        }
        Ok(Self { texts, others })
    }

    fn accepts(&self, value: Option<&Value>) -> bool {
        let text = match value {
            Some(Value::String(text)) => self.texts.contains(text),
            Some(Value::Array(items)) => {
                items.iter().filter_map(Value::as_str).any(|text| self.texts.contains(text))
            }
            _ => false,
        };
        text || self.others.iter().any(|wanted| equals(value, wanted))
    }
}

impl Test {
    /// Reads the demands of one key: operators, or a plain value.
    pub(crate) fn parse(key: &str, value: &Value) -> Result<Vec<Self>, FilterError> {
        let Some(operators) = operators(key, value)? else {
            return Ok(vec![Self::Equals(value.clone())]);
        };
        operators.iter().map(|(name, operand)| Self::operator(key, name, operand)).collect()
    }

    fn operator(key: &str, name: &str, operand: &Value) -> Result<Self, FilterError> {
        let place = format!("{key}.{name}");
        if let Some(comparison) = Comparison::named(name) {
            return match operand {
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    Ok(Self::Compare(comparison, operand.clone()))
                }
                _ => Err(FilterError::WrongType { place, expected: "a number, text or boolean" }),
            };
        }
        match name {
            "$ne" => Ok(Self::NotEquals(operand.clone())),
            "$in" => Ok(Self::In(Members::parse(&place, operand)?)),
            "$nin" => Ok(Self::NotIn(Members::parse(&place, operand)?)),
            "$all" => Ok(Self::All(array(&place, operand)?.clone())),
            "$exists" => match operand {
                Value::Bool(wanted) => Ok(Self::Exists(*wanted)),
                _ => Err(FilterError::WrongType { place, expected: "true or false" }),
            },
            "$like" => match operand {
                Value::String(pattern) => Ok(Self::Like(Like::new(pattern))),
                _ => Err(FilterError::WrongType { place, expected: "a text; % is its wildcard" }),
            },
            "$size" => Self::size(place, operand),
            _ => {
                Err(FilterError::UnknownOperator { key: key.to_owned(), operator: name.to_owned() })
            }
        }
    }

    fn size(place: String, operand: &Value) -> Result<Self, FilterError> {
        let expected = "a whole number, or an object of $gt, $gte, $lt, $lte with whole numbers";
        let wrong = || FilterError::WrongType { place: place.clone(), expected };
        if let Some(size) = operand.as_u64() {
            return Ok(Self::Size(vec![(Comparison::Equal, size)]));
        }
        let bounds = operand.as_object().filter(|bounds| !bounds.is_empty()).ok_or_else(wrong)?;
        let bounds = bounds.iter().map(|(name, bound)| {
            let comparison = Comparison::named(name).ok_or_else(wrong)?;
            Ok((comparison, bound.as_u64().ok_or_else(wrong)?))
        });
        Ok(Self::Size(bounds.collect::<Result<_, _>>()?))
    }

    /// Whether the demand is a negation: it then holds when *no* value that
    /// the key reaches satisfies [`Test::accepts`].
    pub(crate) fn negative(&self) -> bool {
        matches!(self, Self::NotEquals(_) | Self::NotIn(_) | Self::Exists(false))
    }

    /// The least and the greatest number that the demand accepts, if it
    /// compares with one.
    pub(crate) fn bounds(&self) -> Option<(f64, f64)> {
        match self {
            Self::Equals(wanted) => wanted.as_f64().map(|number| (number, number)),
            Self::Compare(Comparison::Greater | Comparison::GreaterOrEqual, bound) => {
                bound.as_f64().map(|number| (number, f64::INFINITY))
            }
            Self::Compare(Comparison::Less | Comparison::LessOrEqual, bound) => {
                bound.as_f64().map(|number| (f64::NEG_INFINITY, number))
            }
            _ => None,
        }
    }

    /// The demand without its negation, on one value.
    pub(crate) fn accepts(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Equals(wanted) | Self::NotEquals(wanted) => equals(value, wanted),
            Self::In(members) | Self::NotIn(members) => members.accepts(value),
            Self::Exists(_) => value.is_some_and(|value| !value.is_null()),
            Self::Compare(comparison, bound) => any_element(value, |value| {
                compare_scalars(value, bound).is_some_and(|order| comparison.accepts(order))
            }),
            Self::Like(like) => {
                any_element(value, |value| value.as_str().is_some_and(|text| like.matches(text)))
            }
            Self::Size(bounds) => value.and_then(Value::as_array).is_some_and(|items| {
                let size = items.len() as u64;
                bounds.iter().all(|(comparison, bound)| comparison.accepts(size.cmp(bound)))
            }),
            Self::All(wanted) => wanted.iter().all(|wanted| equals(value, wanted)),
        }
    }
}

/// The operators in a value, or `None` when it is a plain value.
fn operators<'a>(
    key: &str,
    value: &'a Value,
) -> Result<Option<&'a Map<String, Value>>, FilterError> {
    let Value::Object(fields) = value else {
        return Ok(None);
    };
    let operators = fields.keys().filter(|name| name.starts_with('$')).count();
    match operators {
        0 => Ok(None),
        count if count == fields.len() => Ok(Some(fields)),
        _ => Err(FilterError::MixedOperators { key: key.to_owned() }),
    }
}

fn array<'a>(place: &str, value: &'a Value) -> Result<&'a Vec<Value>, FilterError> {
    value
        .as_array()
        .ok_or_else(|| FilterError::WrongType { place: place.to_owned(), expected: "an array" })
}

fn equals(value: Option<&Value>, wanted: &Value) -> bool {
    match value {
        None | Some(Value::Null) => wanted.is_null(),
        Some(value @ Value::Array(items)) => {
            same_value(value, wanted)
                || !wanted.is_array() && items.iter().any(|item| same_value(item, wanted))
        }
        Some(value) => same_value(value, wanted),
    }
}

fn any_element(value: Option<&Value>, test: impl Fn(&Value) -> bool) -> bool {
    match value {
        Some(Value::Array(items)) => items.iter().any(test),
        Some(value) => test(value),
        None => false,
    }
}
