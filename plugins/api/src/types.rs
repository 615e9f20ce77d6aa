//! What the operations take and answer, beside the types of the model.

use huly_model::FindRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A durable transaction, as connections learn of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Where.
    pub workspace: String,
    /// Its place in the workspace's log, from 1.
    pub sequence: u64,
    /// The transaction as it was logged.
    pub tx: Value,
}

/// A question to several workspaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Which ones; all of the account's when missing.
    #[serde(default)]
    pub workspaces: Option<Vec<String>>,
    /// What is asked of each.
    #[serde(flatten)]
    pub find: FindRequest,
}

/// What an account may do in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also adds members.
    Owner,
}

/// A workspace of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The workspace.
    pub workspace: String,
    /// What the account may do there.
    pub role: Role,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_is_one_flat_object() {
        let question: Question =
            serde_json::from_value(json!({"class": "c", "query": {"a": 1}})).unwrap();
        assert_eq!(question.workspaces, None);
        assert_eq!(question.find.query, json!({"a": 1}));
        let question: Question = serde_json::from_value(
            json!({"workspaces": ["w"], "class": "c", "options": {"limit": 1}}),
        )
        .unwrap();
        assert_eq!(question.workspaces, Some(vec!["w".to_owned()]));
        assert_eq!(question.find.options, json!({"limit": 1}));
    }
}
