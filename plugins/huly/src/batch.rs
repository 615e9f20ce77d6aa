//! A list of transactions applied in order and as a whole.
//!
//! The caller does the reading and the writing; this decides. First
//! [`Batch::parse`], then look up [`Batch::ids`] in the log, then read the
//! documents of [`Batch::wants`], then [`Batch::apply`], then write the
//! [`Logged`] in one durable step. Several transactions on one document are
//! merged here, so that the store writes each document once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::apply::{ApplyError, Change, apply};
use crate::tx::{Tx, TxError};

/// Most transactions of one batch: a batch is one durable step and is held in
/// memory as a whole.
pub const MAX_TRANSACTIONS: usize = 1_000;

/// A transaction that is in the log, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The transaction's id.
    pub id: String,
    /// Its place in the log of its workspace, from 1.
    pub sequence: u64,
    /// False for a resend: it was in the log before, or before in the batch.
    pub new: bool,
}

/// Why nothing of a batch was applied. Final for this batch on these documents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More transactions than one batch may have.
    #[error("{count} transactions in one batch; send at most {MAX_TRANSACTIONS} at a time")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Something that is not a transaction.
    #[error("transaction {index} of the batch: {source}")]
    Malformed {
        /// Its place in the batch, from 0.
        index: usize,
        /// What is wrong.
        source: TxError,
    },
    /// A transaction that the documents do not allow.
    #[error("transaction {index} of the batch (`{id}`): {source}")]
    Inapplicable {
        /// Its place in the batch, from 0.
        index: usize,
        /// Its id.
        id: String,
        /// What does not fit.
        source: Box<ApplyError>,
    },
}

impl BatchError {
    /// The place in the batch of the transaction at fault, if it is one.
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::TooMany { .. } => None,
            Self::Malformed { index, .. } | Self::Inapplicable { index, .. } => Some(*index),
        }
    }
}

/// Checked transactions, not applied yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch(Vec<Tx>);

/// What a batch comes to: the input of one durable step.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// The sequence number of the first of `transactions`.
    pub first: u64,
    /// The transactions that are new to the log, in order, numbered from
    /// `first` without gaps. Empty if the whole batch was logged before.
    pub transactions: Vec<Value>,
    /// The documents as they are now.
    pub put: Vec<Value>,
    /// The documents that are gone.
    pub remove: Vec<String>,
    /// Where each transaction of the batch is in the log, in the batch's order.
    pub applied: Vec<Applied>,
}

impl Batch {
    /// Checks every transaction on its own.
    ///
    /// # Errors
    /// The first one that is none, by its index.
    pub fn parse(transactions: Vec<Value>) -> Result<Self, BatchError> {
        if transactions.len() > MAX_TRANSACTIONS {
            return Err(BatchError::TooMany { count: transactions.len() });
        }
        let parse = |(index, json)| {
            Tx::parse(json).map_err(|source| BatchError::Malformed { index, source })
        };
        transactions.into_iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The ids of the transactions, in order: look them up in the log.
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().map(|tx| tx.id.clone()).collect()
    }

    /// The documents that [`Batch::apply`] needs, each once.
    pub fn wants(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.0.iter().map(|tx| tx.object_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Applies the batch to the documents that exist.
    ///
    /// `head` is the last sequence number of the log; `logged` tells the
    /// sequence number of every transaction that is in the log already. Those
    /// are answered with that number and change nothing, and so is the second
    /// of two transactions with one id within the batch: a resend is not a
    /// second change.
    ///
    /// # Errors
    /// The first transaction that the documents do not allow, by its index;
    /// nothing of the batch is applied then.
    pub fn apply(
        self,
        head: u64,
        logged: BTreeMap<String, u64>,
        documents: BTreeMap<String, Value>,
    ) -> Result<Logged, BatchError> {
        let first = head + 1;
        let (mut known, mut now) = (logged, documents);
        let existing: BTreeSet<_> = now.keys().cloned().collect();
        let mut touched = BTreeSet::new();
        let (mut transactions, mut applied) = (Vec::new(), Vec::with_capacity(self.0.len()));
        for (index, tx) in self.0.into_iter().enumerate() {
            let id = tx.id.clone();
            let logged = known.get(&id).copied();
            let sequence = match logged {
                Some(sequence) => sequence,
                None => {
                    touched.insert(tx.object_id.clone());
                    let change = apply(now.remove(&tx.object_id), &tx).map_err(|source| {
                        BatchError::Inapplicable { index, id: id.clone(), source: Box::new(source) }
                    })?;
                    if let Change::Put(document) = change {
                        now.insert(tx.object_id.clone(), document);
                    }
                    let sequence = first + transactions.len() as u64;
                    known.insert(id.clone(), sequence);
                    transactions.push(tx.into_json());
                    sequence
                }
            };
            applied.push(Applied { id, sequence, new: logged.is_none() });
        }
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for id in touched {
            match now.remove(&id) {
                Some(document) => put.push(document),
                None if existing.contains(&id) => remove.push(id),
                // Made and removed within the batch, or never there.
                None => {}
            }
        }
        Ok(Logged { first, transactions, put, remove, applied })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tx(id: &str, class: &str, object: &str, extra: Value) -> Value {
        let mut json = json!({
            "_id": id, "_class": format!("core:class:{class}"), "objectId": object, "objectClass": "c",
            "objectSpace": "s", "modifiedBy": "a", "modifiedOn": 1
        });
        for (key, value) in extra.as_object().unwrap() {
            json[key] = value.clone();
        }
        json
    }

    fn create(id: &str, object: &str) -> Value {
        tx(id, "TxCreateDoc", object, json!({"attributes": {"n": 0}}))
    }

    fn inc(id: &str, object: &str) -> Value {
        tx(id, "TxUpdateDoc", object, json!({"operations": {"$inc": {"n": 1}}}))
    }

    fn remove(id: &str, object: &str) -> Value {
        tx(id, "TxRemoveDoc", object, json!({}))
    }

    fn run(
        head: u64,
        logged: &[(&str, u64)],
        documents: Vec<Value>,
        batch: Vec<Value>,
    ) -> Result<Logged, BatchError> {
        let logged = logged.iter().map(|(id, sequence)| ((*id).to_owned(), *sequence)).collect();
        let documents = documents
            .into_iter()
            .map(|document| (document["_id"].as_str().unwrap().to_owned(), document))
            .collect();
        Batch::parse(batch)?.apply(head, logged, documents)
    }

    fn sequences(logged: &Logged) -> Vec<u64> {
        logged.applied.iter().map(|applied| applied.sequence).collect()
    }

    #[test]
    fn every_new_transaction_gets_the_next_number() {
        let logged = run(7, &[], vec![], vec![create("t1", "a"), create("t2", "b")]).unwrap();
        assert_eq!((logged.first, sequences(&logged)), (8, vec![8, 9]));
        assert_eq!(logged.transactions, vec![create("t1", "a"), create("t2", "b")]);
    }

    #[test]
    fn several_transactions_on_one_document_are_written_once() {
        let logged =
            run(0, &[], vec![], vec![create("t1", "a"), inc("t2", "a"), inc("t3", "a")]).unwrap();
        assert_eq!(logged.put.len(), 1);
        assert_eq!(logged.put[0]["n"], 2);
        assert_eq!(logged.transactions.len(), 3);
    }

    #[test]
    fn a_resend_is_answered_with_its_old_number_and_changes_nothing() {
        let logged = run(7, &[("t1", 3)], vec![], vec![create("t1", "a")]).unwrap();
        assert_eq!(sequences(&logged), vec![3]);
        assert_eq!((logged.transactions, logged.put, logged.remove), (vec![], vec![], vec![]));
    }

    #[test]
    fn a_resend_within_the_batch_counts_once() {
        let batch = vec![create("t1", "a"), inc("t2", "a"), inc("t2", "a"), inc("t0", "a")];
        let logged = run(7, &[("t0", 2)], vec![], batch).unwrap();
        assert_eq!(sequences(&logged), vec![8, 9, 9, 2]);
        let new: Vec<_> = logged.applied.iter().map(|applied| applied.new).collect();
        assert_eq!(new, vec![true, true, false, false]);
        assert_eq!(logged.put[0]["n"], 1);
    }

    #[test]
    fn a_document_that_is_gone_at_the_end_is_removed() {
        let document = json!({"_id": "a", "_class": "c", "space": "s", "n": 1});
        let logged = run(0, &[], vec![document], vec![inc("t1", "a"), remove("t2", "a")]).unwrap();
        assert_eq!((logged.put, logged.remove), (vec![], vec!["a".to_owned()]));
    }

    #[test]
    fn a_document_that_the_store_never_had_is_not_removed_from_it() {
        let batch = vec![create("t1", "a"), remove("t2", "a"), remove("t3", "b")];
        let logged = run(0, &[], vec![], batch).unwrap();
        assert_eq!((logged.transactions.len(), logged.put, logged.remove), (3, vec![], vec![]));
    }

    #[test]
    fn a_document_may_be_made_again_after_its_removal() {
        let document = json!({"_id": "a", "_class": "c", "space": "s", "n": 5});
        let logged =
            run(0, &[], vec![document], vec![remove("t1", "a"), create("t2", "a")]).unwrap();
        assert_eq!((logged.put[0]["n"].clone(), logged.remove), (json!(0), vec![]));
    }

    #[test]
    fn the_first_transaction_at_fault_is_named_and_nothing_is_applied() {
        let error = run(0, &[], vec![], vec![create("t1", "a"), inc("t2", "b")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "transaction 1 of the batch (`t2`): document `b` does not exist; create it first"
        );
        let error = run(0, &[], vec![], vec![create("t1", "a"), json!({"_id": "t2"})]).unwrap_err();
        assert_eq!(error.index(), Some(1));
        assert!(matches!(error, BatchError::Malformed { .. }));
    }

    #[test]
    fn a_batch_is_bounded_and_asks_for_each_document_once() {
        let many = vec![json!({}); MAX_TRANSACTIONS + 1];
        assert_eq!(Batch::parse(many), Err(BatchError::TooMany { count: MAX_TRANSACTIONS + 1 }));
        let batch = Batch::parse(vec![inc("t1", "b"), inc("t2", "a"), inc("t3", "b")]).unwrap();
        assert_eq!(batch.wants(), vec!["a", "b"]);
        assert_eq!(batch.ids(), vec!["t1", "t2", "t3"]);
    }
}
