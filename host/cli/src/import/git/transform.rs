//! What a commit means for a tracker workspace: a pure function of the commit.
//!
//! | of the repository | document |
//! |---|---|
//! | itself | one `tracker:class:Project` |
//! | an author, by e-mail address | one `contact:class:Person`; the address itself is only kept as a hash |
//! | a commit | `tracker:class:Issue`, created by its author, done when it was committed |
//! | the body of its message | `chunter:class:ChatMessage` in the issue's `comments` |
//! | each path that it changed, up to a limit | `tags:class:TagReference` in the issue's `labels` |
//!
//! All ids come from hashes of what they name, so that importing a repository
//! again, also one that has grown, meets the same transactions again. An
//! issue's identifier comes from the commit's hash for the same reason: a
//! merge may bring old commits in between, which shifts numbers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::log::Commit;

const PROJECT: &str = "tracker:class:Project";
const ISSUE: &str = "tracker:class:Issue";
const PERSON: &str = "contact:class:Person";
const MESSAGE: &str = "chunter:class:ChatMessage";
const TAG: &str = "tags:class:TagReference";
const NO_PARENT: &str = "tracker:ids:NoParent";

/// The most characters of a project's identifier.
const IDENTIFIER: usize = 16;

/// How many digits of a commit's hash its issue's identifier carries.
const HASH_DIGITS: usize = 10;

/// Turns commits into transactions, oldest first.
pub(super) struct Transform {
    name: String,
    identifier: String,
    project: String,
    account: String,
    /// When the import began, in milliseconds since 1970.
    begun: i64,
    number: u64,
    people: BTreeSet<String>,
}

impl Transform {
    /// For a repository of this name, imported by the account, now.
    pub(super) fn new(name: &str, account: &str, begun: i64) -> Self {
        let identifier: String =
            name.chars().filter(char::is_ascii_alphanumeric).take(IDENTIFIER).collect();
        let identifier =
            if identifier.is_empty() { "REPO".to_owned() } else { identifier.to_ascii_uppercase() };
        let project = format!("prj-{identifier}");
        Self {
            name: name.to_owned(),
            identifier,
            project,
            account: account.to_owned(),
            begun,
            number: 0,
            people: BTreeSet::new(),
        }
    }

    /// The project that holds the issues.
    pub(super) fn project(&self) -> Value {
        let attributes = json!({
            "name": self.name,
            "description": "Imported from a git repository",
            "private": false,
            "members": [],
            "archived": false,
            "identifier": self.identifier,
            "sequence": 0,
        });
        let made = Made { space: "core:space:Space", by: &self.account, on: self.begun };
        made.create(PROJECT, &self.project, attributes)
    }

    /// The transactions of the next commit.
    pub(super) fn commit(&mut self, commit: &Commit) -> Vec<Value> {
        self.number += 1;
        let hash = commit.hash.as_str();
        let person = person(commit);
        let authored = millis(commit.authored).or_else(|| millis(commit.committed)).unwrap_or(0);
        let committed = millis(commit.committed).unwrap_or(authored);
        let issue = format!("iss-{}", digest(&["issue", hash]));
        let made = Made { space: &self.project, by: &person, on: authored };

        let mut transactions = Vec::with_capacity(commit.paths.len() + 4);
        if self.people.insert(person.clone()) {
            let contacts = Made { space: "contact:space:Contacts", ..made };
            transactions.push(contacts.create(PERSON, &person, json!({ "name": commit.author })));
        }
        let title = if commit.subject.is_empty() { "(no message)" } else { &commit.subject };
        let short = hash.get(..HASH_DIGITS).unwrap_or(hash);
        let attributes = json!({
            "title": title,
            "identifier": format!("{}-{short}", self.identifier),
            "number": self.number,
            "status": "tracker:status:Backlog",
            "priority": 0,
            "assignee": null,
            "commit": hash,
        });
        transactions.push(attach(
            made.create(ISSUE, &issue, attributes),
            NO_PARENT,
            ISSUE,
            "subIssues",
        ));
        if !commit.body.trim().is_empty() {
            let message = made.create(
                MESSAGE,
                &format!("msg-{}", digest(&["message", hash])),
                json!({ "message": commit.body.trim_end() }),
            );
            transactions.push(attach(message, &issue, ISSUE, "comments"));
        }
        for path in &commit.paths {
            let tag = format!("tag-{}", digest(&["tag", &self.project, path]));
            let reference = format!("ref-{}", digest(&["reference", hash, path]));
            let tag =
                made.create(TAG, &reference, json!({ "title": path, "color": 0, "tag": tag }));
            transactions.push(attach(tag, &issue, ISSUE, "labels"));
        }
        let done = Made { on: committed, ..made };
        transactions.push(done.update(
            ISSUE,
            &issue,
            json!({ "assignee": person, "status": "tracker:status:Done" }),
        ));
        transactions
    }
}

/// Where, by whom and when a change was made.
#[derive(Clone, Copy)]
struct Made<'a> {
    space: &'a str,
    by: &'a str,
    /// Milliseconds since 1970.
    on: i64,
}

impl Made<'_> {
    fn create(&self, class: &str, id: &str, attributes: Value) -> Value {
        self.transaction("core:class:TxCreateDoc", class, id, ("attributes", attributes))
    }

    fn update(&self, class: &str, id: &str, operations: Value) -> Value {
        self.transaction("core:class:TxUpdateDoc", class, id, ("operations", operations))
    }

    fn transaction(
        &self,
        transaction: &str,
        class: &str,
        id: &str,
        (field, content): (&str, Value),
    ) -> Value {
        json!({
            "_id": digest(&[transaction, id]),
            "_class": transaction,
            "space": "core:space:Tx",
            "objectId": id,
            "objectClass": class,
            "objectSpace": self.space,
            "modifiedBy": self.by,
            "modifiedOn": self.on,
            "createdBy": self.by,
            "createdOn": self.on,
            field: content,
        })
    }
}

/// Hangs a new document on another one.
fn attach(mut transaction: Value, to: &str, class: &str, collection: &str) -> Value {
    if let Some(fields) = transaction.as_object_mut() {
        fields.insert("attachedTo".into(), to.into());
        fields.insert("attachedToClass".into(), class.into());
        fields.insert("collection".into(), collection.into());
    }
    transaction
}

fn person(commit: &Commit) -> String {
    format!("person-{}", digest(&["person", &commit.email.trim().to_lowercase()]))
}

fn millis(seconds: Option<i64>) -> Option<i64> {
    seconds?.checked_mul(1000)
}

/// An id of 24 hexadecimal digits, the length of the application's own.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(hash: char) -> Commit {
        Commit {
            hash: hash.to_string().repeat(40),
            author: "Ann".into(),
            email: "Ann@X".into(),
            authored: Some(1),
            committed: Some(2),
            subject: "Subject".into(),
            body: "Body\n".into(),
            paths: vec!["a".into(), "b".into()],
        }
    }

    fn classes(transactions: &[Value]) -> Vec<&str> {
        transactions
            .iter()
            .map(|transaction| transaction["objectClass"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn a_commit_becomes_an_issue_with_its_message_and_files_that_ends_as_done() {
        let mut transform = Transform::new("my-repo", "me", 7);
        let transactions = transform.commit(&commit('a'));
        assert_eq!(classes(&transactions), [PERSON, ISSUE, MESSAGE, TAG, TAG, ISSUE]);
        let (issue, message, done) = (&transactions[1], &transactions[2], &transactions[5]);
        assert_eq!(issue["attributes"]["title"], "Subject");
        assert_eq!(issue["attributes"]["identifier"], "MYREPO-aaaaaaaaaa");
        assert_eq!(issue["attributes"]["number"], 1);
        assert_eq!(issue["objectSpace"], "prj-MYREPO");
        assert_eq!((&issue["createdOn"], &done["modifiedOn"]), (&json!(1000), &json!(2000)));
        assert_eq!(message["attachedTo"], issue["objectId"]);
        assert_eq!(message["attributes"]["message"], "Body");
        assert_eq!(done["operations"]["assignee"], transactions[0]["objectId"]);
        assert_eq!(done["operations"]["status"], "tracker:status:Done");
    }

    #[test]
    fn an_author_is_one_person_however_the_address_is_written() {
        let mut transform = Transform::new("r", "me", 7);
        transform.commit(&commit('a'));
        let mut second = commit('b');
        second.email = "ann@x".into();
        assert_eq!(classes(&transform.commit(&second)), [ISSUE, MESSAGE, TAG, TAG, ISSUE]);
        second.email = "bob@x".into();
        assert_eq!(classes(&transform.commit(&second))[0], PERSON);
    }

    #[test]
    fn an_address_is_never_written() {
        let text =
            json!(Transform::new("r", "me", 7).commit(&commit('a'))).to_string().to_lowercase();
        assert!(!text.contains("ann@x"), "{text}");
    }

    #[test]
    fn the_same_commit_gives_the_same_transactions_wherever_it_stands() {
        let ids = |transactions: &[Value]| {
            transactions.iter().map(|tx| tx["_id"].to_string()).collect::<BTreeSet<_>>()
        };
        let alone = Transform::new("r", "me", 7).commit(&commit('b'));
        let mut transform = Transform::new("r", "me", 7);
        transform.commit(&commit('a'));
        let later = transform.commit(&commit('b'));
        assert!(ids(&later).is_subset(&ids(&alone)));
        assert_eq!(ids(&alone).len(), alone.len());
        assert!(ids(&transform.commit(&commit('c'))).is_disjoint(&ids(&later)));
    }

    #[test]
    fn every_transaction_is_one_that_the_model_takes() {
        let mut transform = Transform::new("???", "me", 7);
        let mut empty = commit('a');
        (empty.subject, empty.body, empty.paths) = (String::new(), " \n".into(), Vec::new());
        (empty.authored, empty.committed) = (None, Some(i64::MAX));
        let transactions = transform.commit(&empty);
        assert_eq!(classes(&transactions), [PERSON, ISSUE, ISSUE]);
        assert_eq!(transactions[1]["attributes"]["title"], "(no message)");
        assert_eq!(transform.project()["attributes"]["identifier"], "REPO");
        for transaction in transactions.into_iter().chain([transform.project()]) {
            huly_model::Tx::parse(transaction).unwrap();
        }
    }
}
