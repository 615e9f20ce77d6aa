//! The embedded engine: the suite of every engine, and what only files have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use hulynet_protocol::Epoch;
use hulynet_store::{
    AccountId, Commit, Documents, Find, Options, Role, SqliteDocuments, StoreError, Workspace,
    WorkspaceId, conformance,
};
use serde_json::json;

fn open(directory: &Path) -> Arc<dyn Documents> {
    Arc::new(SqliteDocuments::open(directory).unwrap())
}

fn owner() -> AccountId {
    AccountId::new("owner").unwrap()
}

async fn workspace(store: &dyn Documents, name: &str) -> Arc<dyn Workspace> {
    let name = WorkspaceId::new(name).unwrap();
    store.create_workspace(&name, &owner()).await.unwrap();
    store.open(&name, &owner()).await.unwrap()
}

fn commit(first: u64, id: &str) -> Commit {
    let put = vec![json!({"_id": id, "_class": "c"})];
    Commit { first, transactions: vec![json!({ "_id": id })], put, remove: vec![] }
}

fn epoch(counter: u64) -> Epoch {
    Epoch { term: 1, counter }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_engine_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conformance::run(open(directory.path())).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        let workspace = workspace(&*store, "kept").await;
        workspace.commit(epoch(5), commit(1, "t1")).await.unwrap();
    }
    let store = open(directory.path());
    let workspace = store.open(&WorkspaceId::new("kept").unwrap(), &owner()).await.unwrap();
    assert_eq!(workspace.head().await, Ok(1));
    assert_eq!(workspace.log(0, 9).await.unwrap()[0].transaction, json!({"_id": "t1"}));
    let stale = workspace.commit(epoch(4), commit(2, "t2")).await;
    assert_eq!(stale, Err(StoreError::StaleEpoch { writer: epoch(4), current: epoch(5) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_on_one_directory_lose_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [open(directory.path()), open(directory.path())];
    let writers = stores.into_iter().enumerate().map(|(writer, store)| {
        tokio::spawn(async move {
            let workspace = workspace(&*store, "shared").await;
            let mut next = 1;
            for n in 0..60 {
                let id = format!("w{writer}-{n}");
                // Each conflict tells where the log ends by now.
                loop {
                    match workspace.commit(epoch(1), commit(next, &id)).await {
                        Ok(committed) => break next = committed.head + 1,
                        Err(StoreError::Conflict { head, .. }) => next = head + 1,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let store = open(directory.path());
    let workspace = workspace(&*store, "shared").await;
    let log = workspace.log(0, 1_000).await.unwrap();
    assert_eq!(log.len(), 120);
    assert!(log.iter().zip(1..).all(|(entry, sequence)| entry.sequence == sequence));
    let find = Find { options: Options { total: true, ..Options::default() }, ..Find::default() };
    assert_eq!(workspace.find(find).await.unwrap().total, Some(120));
}

#[tokio::test]
async fn a_writer_in_another_engine_is_fenced() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (open(directory.path()), open(directory.path()));
    let old = workspace(&*old, "fenced").await;
    let new = workspace(&*new, "fenced").await;
    old.commit(epoch(1), commit(1, "t1")).await.unwrap();
    assert_eq!(new.head().await, Ok(1));
    new.commit(epoch(2), commit(2, "t2")).await.unwrap();
    let stale = old.commit(epoch(1), commit(3, "t3")).await;
    assert_eq!(stale, Err(StoreError::StaleEpoch { writer: epoch(1), current: epoch(2) }));
}

#[test]
fn engines_that_start_at_once_agree_on_the_files() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let directory = directory.path();
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async {
                        let store = open(directory);
                        let workspace = workspace(&*store, "same").await;
                        workspace.lookup(&[format!("t{n}")]).await.unwrap();
                    });
                });
            }
        });
    }
}

#[tokio::test]
async fn more_workspaces_than_files_may_be_open_all_answer() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut workspaces = Vec::new();
    for n in 0..70 {
        let workspace = workspace(&*store, &format!("w{n}")).await;
        workspace.commit(epoch(1), commit(1, "t")).await.unwrap();
        workspaces.push(workspace);
    }
    let member = AccountId::new("member").unwrap();
    store
        .add_member(&WorkspaceId::new("w7").unwrap(), &owner(), &member, Role::Member)
        .await
        .unwrap();
    assert_eq!(store.workspaces(&owner()).await.unwrap().len(), 70);
    assert_eq!(store.workspaces(&member).await.unwrap().len(), 1);
    for workspace in &workspaces {
        assert_eq!(workspace.head().await, Ok(1));
    }
    #[cfg(target_os = "linux")]
    {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(files < 700, "{files} files are open");
    }
}

#[tokio::test]
async fn a_workspace_whose_file_is_lost_or_swapped_is_reported_and_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let store = open(directory.path());
        workspace(&*store, name).await.commit(epoch(1), commit(1, name)).await.unwrap();
    }
    let path_of = |name: &str| {
        let entries = std::fs::read_dir(directory.path().join("workspaces")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name)).unwrap()
    };
    std::fs::copy(path_of("a-"), path_of("b-")).unwrap();
    let store = open(directory.path());
    let b = workspace(&*store, "b").await;
    assert!(matches!(b.head().await, Err(StoreError::Damaged { .. })));
    std::fs::remove_file(path_of("b-")).unwrap();
    assert!(matches!(b.head().await, Err(StoreError::Engine { .. })));
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = SqliteDocuments::open(&file).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
}
