//! Conditions on labels, as native clients write them.
//!
//! `region=europe, tier in (1,2), env!=test, gpu, !spot`: all of them hold.

use core::{fmt, str::FromStr};
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Labels, limits};

/// Conditions that all hold; none holds for every container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector(pub Vec<Requirement>);

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The label that it is about.
    pub key: String,
    /// What the label must be.
    pub condition: Condition,
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// `k=v`, `k in (a,b)`: one of these.
    In(BTreeSet<String>),
    /// `k!=v`, `k notin (a,b)`: none of these, or absent.
    NotIn(BTreeSet<String>),
    /// `k`: present, with any value.
    Present,
    /// `!k`: absent.
    Absent,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem} in the selector {text:?}; write conditions such as k=v, k!=v, k in (a,b), k notin (a,b), k, !k, separated by commas"
)]
pub struct SelectorError {
    text: String,
    problem: String,
}

impl Requirement {
    /// Whether a set of labels meets it.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Condition::Present => value.is_some(),
            Condition::Absent => value.is_none(),
        }
    }
}

impl Selector {
    /// Whether a set of labels meets all conditions.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether there are no conditions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels that the conditions leave no choice about: those with
    /// exactly one allowed value.
    #[must_use]
    pub fn determined(&self) -> Labels {
        let single = |requirement: &Requirement| match &requirement.condition {
            Condition::In(values) if values.len() == 1 => {
                Some((requirement.key.clone(), values.first()?.clone()))
            }
            _ => None,
        };
        self.0.iter().filter_map(single).collect()
    }

    /// Checks its size: at most [`limits::LABELS`] conditions with as many
    /// values each, keys and values at most [`limits::LABEL_BYTES`] long.
    ///
    /// # Errors
    /// What is too large, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > limits::LABELS {
            return Err(format!(
                "the selector has {} conditions; at most {} are allowed",
                self.0.len(),
                limits::LABELS
            ));
        }
        for Requirement { key, condition } in &self.0 {
            if key.is_empty() {
                return Err("a condition of the selector has no key; name a label".to_owned());
            }
            let values = match condition {
                Condition::In(values) | Condition::NotIn(values) => values,
                Condition::Present | Condition::Absent => &BTreeSet::new(),
            };
            if values.len() > limits::LABELS {
                return Err(format!(
                    "a condition of the selector lists {} values; at most {} are allowed",
                    values.len(),
                    limits::LABELS
                ));
            }
            let longest = values.iter().map(String::len).chain([key.len()]).max().unwrap_or(0);
            if longest > limits::LABEL_BYTES {
                return Err(format!(
                    "a condition of the selector is {longest} bytes long; at most {} are allowed \
                     for its key and for each value",
                    limits::LABEL_BYTES
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let fail = |problem: String| SelectorError { text: text.to_owned(), problem };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parts = split(text).map_err(fail)?;
        let all = parts.into_iter().map(requirement).collect::<Result<_, _>>().map_err(fail)?;
        let selector = Self(all);
        selector.check().map_err(fail)?;
        Ok(selector)
    }
}

/// Splits at the commas that stand outside of parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut inside, mut rest, mut position) = (false, text, 0);
    while let Some(offset) = rest.get(position..).and_then(|tail| tail.find(['(', ')', ','])) {
        let at = position + offset;
        position = at + 1;
        match (rest.as_bytes().get(at), inside) {
            (Some(b'('), false) => inside = true,
            (Some(b')'), true) => inside = false,
            (Some(b','), true) => {}
            (Some(b','), false) => {
                let (part, tail) = rest.split_at(at);
                parts.push(part);
                rest = tail.strip_prefix(',').unwrap_or(tail);
                position = 0;
            }
            _ => return Err("the parentheses do not match".to_owned()),
        }
    }
    if inside {
        return Err("a parenthesis is not closed".to_owned());
    }
    parts.push(rest);
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let part = part.trim();
    if let Some(list) = part.strip_suffix(')') {
        let (head, list) =
            list.split_once('(').ok_or_else(|| format!("{part:?} has no list of values"))?;
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = head
            .trim_end()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(|| format!("{part:?} has no key"))?;
        let condition = match word {
            "in" => Condition::In(values),
            "notin" => Condition::NotIn(values),
            _ => return Err(format!("{word:?} is neither \"in\" nor \"notin\"")),
        };
        return named(key, condition);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return named(key, Condition::NotIn(one(value)));
    }
    if let Some((key, value)) = part.split_once('=') {
        return named(key, Condition::In(one(value)));
    }
    match part.strip_prefix('!') {
        Some(key) => named(key, Condition::Absent),
        None => named(part, Condition::Present),
    }
}

fn one(value: &str) -> BTreeSet<String> {
    BTreeSet::from([value.trim().to_owned()])
}

fn named(key: &str, condition: Condition) -> Result<Requirement, String> {
    let key = key.trim();
    if key.is_empty() {
        return Err("a condition has no key".to_owned());
    }
    if key.contains(|c: char| c.is_whitespace() || "()!=,".contains(c)) {
        return Err(format!("{key:?} is not a key"));
    }
    Ok(Requirement { key: key.to_owned(), condition })
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, condition } = self;
        let list = |values: &BTreeSet<String>| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        };
        match condition {
            Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Condition::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Condition::In(values) => write!(f, "{key} in ({})", list(values)),
            Condition::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Condition::Present => f.write_str(key),
            Condition::Absent => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in
            ["", "k=v", "k!=v", "k in (a,b)", "k notin (a,b)", "k", "!k", "a=,b!=1,c in (x,y),!d"]
        {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        let spaced: Selector = " region = europe , tier in ( 1 , 2 ), ! spot".parse().unwrap();
        assert_eq!(spaced.to_string(), "region=europe,tier in (1,2),!spot");
    }

    #[test]
    fn all_conditions_must_hold() {
        let europe = labels(&[("region", "europe"), ("tier", "1")]);
        for (text, holds) in [
            ("", true),
            ("region=europe", true),
            ("region=asia", false),
            ("region!=asia", true),
            ("region!=europe", false),
            ("zone!=1", true),
            ("tier in (1,2)", true),
            ("tier in (2,3)", false),
            ("zone in (1)", false),
            ("tier notin (2,3)", true),
            ("tier", true),
            ("zone", false),
            ("!zone", true),
            ("!tier", false),
            ("region=europe,!tier", false),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().matches(&europe), holds, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_selector_is_refused_with_the_reason() {
        for (text, reason) in [
            ("k in (a", "not closed"),
            ("k in a)", "do not match"),
            ("k on (a)", "neither"),
            ("(a)", "no key"),
            ("=v", "no key"),
            ("a,,b", "no key"),
            ("a b", "not a key"),
            ("!", "no key"),
        ] {
            let error = text.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = format!("k={}", "x".repeat(limits::LABEL_BYTES + 1));
        assert!(long.parse::<Selector>().unwrap_err().to_string().contains("bytes long"));
        let many = vec!["k"; limits::LABELS + 1].join(",");
        assert!(many.parse::<Selector>().unwrap_err().to_string().contains("33 conditions"));
    }

    #[test]
    fn only_equalities_determine_labels() {
        let selector: Selector = "a=1,b in (2),c in (3,4),d!=5,e,!f".parse().unwrap();
        assert_eq!(selector.determined(), labels(&[("a", "1"), ("b", "2")]));
    }
}
