//! What the original's own code answers to queries over real transactions,
//! asked of the embedded engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hulynet_protocol::Epoch;
use hulynet_samples::sample;
use hulynet_store::{
    AccountId, Commit, Documents, Filter, Find, Options, SqliteDocuments, WorkspaceId,
};
use serde_json::{Map, Value, json};

const ATTACHED: [&str; 3] =
    ["tracker:class:Issue", "chunter:class:ChatMessage", "tags:class:TagReference"];

fn lines(path: &Path) -> Vec<Value> {
    let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A plain replay: a creation sets, an update overwrites keys.
fn replay(documents: &mut BTreeMap<String, Map<String, Value>>, transaction: &Value) -> String {
    let id = transaction["objectId"].as_str().unwrap().to_owned();
    let modified =
        ["modifiedOn", "modifiedBy"].map(|key| (key.to_owned(), transaction[key].clone()));
    match transaction["_class"].as_str().unwrap() {
        "core:class:TxCreateDoc" => {
            let mut document = transaction["attributes"].as_object().unwrap().clone();
            document.extend(modified);
            document.insert("_id".to_owned(), json!(id));
            document.insert("_class".to_owned(), transaction["objectClass"].clone());
            document.insert("space".to_owned(), transaction["objectSpace"].clone());
            for key in ["attachedTo", "attachedToClass", "collection", "createdBy", "createdOn"] {
                if let Some(value) = transaction.get(key) {
                    document.insert(key.to_owned(), value.clone());
                }
            }
            document.entry("createdOn").or_insert_with(|| transaction["modifiedOn"].clone());
            documents.insert(id.clone(), document);
        }
        "core:class:TxUpdateDoc" => {
            let document = documents.get_mut(&id).unwrap();
            document.extend(transaction["operations"].as_object().unwrap().clone());
            document.extend(modified);
        }
        other => panic!("{other}"),
    }
    id
}

fn query(expected: &Value) -> Filter {
    let mut query = expected["query"].as_object().unwrap().clone();
    match expected["class"].as_str().unwrap() {
        "core:class:Doc" => {}
        "core:class:AttachedDoc" => {
            query.insert("_class".to_owned(), json!({ "$in": ATTACHED }));
        }
        class => {
            query.insert("_class".to_owned(), json!(class));
        }
    }
    Filter::parse(&Value::Object(query)).unwrap()
}

#[tokio::test]
async fn the_engine_answers_the_queries_as_the_original_does() {
    let (Some(transactions), Some(queries)) =
        (sample("titanium-DAEMON.jsonl.zst"), sample("oracle-queries-DAEMON.jsonl.zst"))
    else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteDocuments::open(directory.path()).unwrap();
    let (name, owner) = (WorkspaceId::new("oracle").unwrap(), AccountId::new("owner").unwrap());
    store.create_workspace(&name, &owner).await.unwrap();
    let workspace = store.open(&name, &owner).await.unwrap();

    let mut documents = BTreeMap::new();
    let transactions = lines(&transactions);
    for chunk in transactions.chunks(500) {
        let touched: BTreeSet<_> =
            chunk.iter().map(|transaction| replay(&mut documents, transaction)).collect();
        let put = touched.iter().map(|id| Value::Object(documents[id].clone())).collect();
        let first = workspace.head().await.unwrap() + 1;
        let commit = Commit { first, transactions: chunk.to_vec(), put, remove: vec![] };
        workspace.commit(Epoch { term: 1, counter: 1 }, commit).await.unwrap();
    }
    assert_eq!(workspace.head().await.unwrap(), transactions.len() as u64);

    let queries = lines(&queries);
    assert_eq!(queries.len(), 72);
    for expected in queries {
        let options = Options::parse(&expected["options"]).unwrap();
        let found = workspace.find(Find { filter: query(&expected), options }).await.unwrap();
        let mut ids: Vec<_> =
            found.documents.iter().map(|document| document["_id"].clone()).collect();
        if expected["ordered"] == false {
            ids.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        let asked = format!("{} {} {}", expected["class"], expected["query"], expected["options"]);
        assert_eq!(Value::Array(ids), expected["ids"], "{asked}");
        assert_eq!(found.total, expected["total"].as_u64(), "{asked}");
    }
}
