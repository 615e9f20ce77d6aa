//! Real transactions of a public tracker, replayed: the documents must be
//! those of an independent recount, and Huly's own answers to queries over
//! them must be the answers here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};

use huly_model::{Batch, FindRequest, Hierarchy};
use hulynet_filter::{Filter, Options};
use hulynet_samples::sample;
use serde_json::{Value, json};

/// The lines of a data file; `None` if it is not here.
fn lines(name: &str) -> Option<Vec<Value>> {
    let packed = std::fs::File::open(sample(name)?).unwrap();
    let lines = BufReader::new(zstd::Decoder::new(packed).unwrap()).lines();
    Some(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect())
}

/// What a transactor makes of the transactions, sent in batches.
fn replay(transactions: &[Value]) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    let mut head = 0;
    for batch in transactions.chunks(100) {
        let batch = Batch::parse(batch.to_vec()).unwrap();
        let present =
            batch.wants().into_iter().filter_map(|id| documents.remove_entry(&id)).collect();
        let logged = batch.apply(head, BTreeMap::new(), present).unwrap();
        assert_eq!(logged.first, head + 1);
        head += logged.transactions.len() as u64;
        documents.extend(
            logged.put.into_iter().map(|put| (put["_id"].as_str().unwrap().to_owned(), put)),
        );
    }
    assert_eq!(head, transactions.len() as u64);
    documents
}

/// How many documents have each value of a key.
fn count<'a>(documents: impl Iterator<Item = &'a Value>, key: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for document in documents {
        *counts.entry(document[key].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// A recount that shares nothing with the model: creations by class, and the
/// last status that was written for each issue.
fn recount(transactions: &[Value]) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut classes, mut last) = (BTreeMap::new(), BTreeMap::new());
    for tx in transactions {
        if tx["_class"] == "core:class:TxCreateDoc" {
            *classes.entry(tx["objectClass"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        if tx["objectClass"] == "tracker:class:Issue" {
            for part in ["attributes", "operations"] {
                if let Some(status) = tx[part]["status"].as_str() {
                    last.insert(tx["objectId"].as_str().unwrap(), status.to_owned());
                }
            }
        }
    }
    let mut statuses = BTreeMap::new();
    for status in last.into_values() {
        *statuses.entry(status).or_default() += 1;
    }
    (classes, statuses)
}

#[test]
fn a_replay_gives_the_documents_of_an_independent_recount() {
    for (name, issues) in [("MOD", 367), ("DAEMON", 317), ("ALOY", 1_499), ("AC", 4_503)] {
        let Some(transactions) = lines(&format!("titanium-{name}.jsonl.zst")) else { continue };
        let documents = replay(&transactions);
        let (classes, statuses) = recount(&transactions);
        assert_eq!(count(documents.values(), "_class"), classes, "{name}");
        assert_eq!(classes["tracker:class:Issue"], issues, "{name}");
        let issues =
            documents.values().filter(|document| document["_class"] == "tracker:class:Issue");
        assert_eq!(count(issues, "status"), statuses, "{name}");
    }
}

#[test]
fn all_recorded_queries_agree() {
    let (Some(cases), Some(transactions)) =
        (lines("oracle-queries-DAEMON.jsonl.zst"), lines("titanium-DAEMON.jsonl.zst"))
    else {
        return;
    };
    let documents = replay(&transactions);
    let hierarchy = Hierarchy::new([]);
    assert!(cases.len() >= 72, "only {} queries", cases.len());
    for case in cases {
        let request: FindRequest = serde_json::from_value(case.clone()).unwrap();
        let filter = Filter::parse(&request.filter(&hierarchy).unwrap()).unwrap();
        let mut options = request.options.clone();
        options["total"] = json!(true);
        let matching =
            documents.values().filter(|document| filter.matches(document)).cloned().collect();
        let found = Options::parse(&options).unwrap().apply(matching);
        let ids: Vec<_> =
            found.documents.iter().map(|document| document["_id"].as_str().unwrap()).collect();
        let expected: Vec<_> =
            case["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(found.total, case["total"].as_u64(), "{}", case["query"]);
        if case["ordered"] == true {
            assert_eq!(ids, expected, "{} {}", case["query"], case["options"]);
        } else {
            assert_eq!(
                BTreeSet::from_iter(ids),
                BTreeSet::from_iter(expected),
                "{}",
                case["query"]
            );
        }
    }
}
