//! The suite that every engine of [`Documents`] must pass. Each function is
//! one sentence about an engine and panics when it is not true; [`run`] says
//! them all. They use workspaces of their own, in a store that is otherwise
//! empty.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a suite fails by panicking")]

use std::sync::Arc;

use hulynet_filter::{Filter, Found, Options};
use hulynet_protocol::{Epoch, Retry};
use serde_json::{Value, json};

use crate::limits::{MAX_FOUND, MAX_TRANSACTIONS};
use crate::{
    AccountId, Commit, Committed, Documents, Find, Membership, Role, StoreError, Workspace,
    WorkspaceId,
};

/// What a sentence gives when the engine fails in the middle of it.
pub type Outcome = Result<(), StoreError>;

/// Runs the whole suite.
///
/// # Errors
/// Those of the engine.
///
/// # Panics
/// When a sentence is not true of the engine.
pub async fn run(store: Arc<dyn Documents>) -> Outcome {
    let store = &*store;
    a_workspace_is_created_once_and_belongs_to_its_creator(store).await?;
    only_an_owner_adds_members(store).await?;
    who_is_not_a_member_learns_nothing(store).await?;
    workspaces_do_not_see_each_other(store).await?;
    a_commit_writes_the_log_and_the_documents_together(store).await?;
    a_commit_must_follow_the_log(store).await?;
    a_resend_is_answered_with_its_sequence(store).await?;
    a_stale_writer_is_refused(store).await?;
    a_refused_commit_leaves_nothing_behind(store).await?;
    an_update_replaces_every_indexed_value(store).await?;
    the_log_is_read_in_parts(store).await?;
    numbers_come_back_as_they_were(store).await?;
    a_query_sees_missing_null_and_array_values(store).await?;
    a_query_sorts_limits_projects_and_counts(store).await?;
    a_null_character_is_replaced(store).await?;
    hostile_names_and_ids_stay_data(store).await?;
    one_of_two_concurrent_commits_wins(store).await
}

/// A workspace is created once, again by its owner without effect, and by
/// nobody else.
///
/// # Errors
/// Those of the engine.
pub async fn a_workspace_is_created_once_and_belongs_to_its_creator(
    store: &dyn Documents,
) -> Outcome {
    let (workspace, alice, bob) = (ws("created")?, account("alice-c")?, account("bob-c")?);
    store.create_workspace(&workspace, &alice).await?;
    let opened = store.open(&workspace, &alice).await?;
    write(&*opened, 1, &["t1"], vec![json!({"_id": "d", "_class": "c"})]).await?;
    store.create_workspace(&workspace, &alice).await?;
    assert_eq!(opened.head().await?, 1, "creating again keeps the contents");
    let refused = store.create_workspace(&workspace, &bob).await;
    assert_eq!(refused, Err(StoreError::AlreadyExists { workspace: "created".to_owned() }));
    assert_eq!(store.workspaces(&alice).await?, [membership("created", Role::Owner)?]);
    assert_eq!(store.workspaces(&bob).await?, []);
    Ok(())
}

/// An owner adds members and owners; a member does not, and an owner does not
/// give up the last ownership.
///
/// # Errors
/// Those of the engine.
pub async fn only_an_owner_adds_members(store: &dyn Documents) -> Outcome {
    let workspace = ws("shared")?;
    let (alice, bob, carol) = (account("alice-s")?, account("bob-s")?, account("carol-s")?);
    store.create_workspace(&workspace, &alice).await?;
    store.add_member(&workspace, &alice, &bob, Role::Member).await?;
    store.open(&workspace, &bob).await?;
    let refused = store.add_member(&workspace, &bob, &carol, Role::Member).await;
    assert!(matches!(refused, Err(StoreError::Forbidden { .. })), "{refused:?}");
    let refused = store.add_member(&workspace, &alice, &alice, Role::Member).await;
    assert!(matches!(refused, Err(StoreError::Forbidden { .. })), "{refused:?}");
    let refused = store.add_member(&workspace, &carol, &carol, Role::Owner).await;
    assert!(matches!(refused, Err(StoreError::NoSuchWorkspace { .. })), "{refused:?}");
    store.add_member(&workspace, &alice, &bob, Role::Owner).await?;
    store.add_member(&workspace, &bob, &carol, Role::Member).await?;
    assert_eq!(store.workspaces(&bob).await?, [membership("shared", Role::Owner)?]);
    assert_eq!(store.workspaces(&carol).await?, [membership("shared", Role::Member)?]);
    Ok(())
}

/// An account that is no member gets the same error for a workspace that
/// exists as for one that does not.
///
/// # Errors
/// Those of the engine.
pub async fn who_is_not_a_member_learns_nothing(store: &dyn Documents) -> Outcome {
    let (alice, eve) = (account("alice-n")?, account("eve-n")?);
    store.create_workspace(&ws("private")?, &alice).await?;
    let refusal = |name: &str| StoreError::NoSuchWorkspace {
        workspace: name.to_owned(),
        account: "eve-n".to_owned(),
    };
    for name in ["private", "missing"] {
        assert_eq!(store.open(&ws(name)?, &eve).await.err(), Some(refusal(name)));
        let added = store.add_member(&ws(name)?, &eve, &eve, Role::Owner).await;
        assert_eq!(added, Err(refusal(name)));
    }
    Ok(())
}

/// The same ids in two workspaces are different things.
///
/// # Errors
/// Those of the engine.
pub async fn workspaces_do_not_see_each_other(store: &dyn Documents) -> Outcome {
    let (one, two) = (fresh(store, "tenant-1").await?, fresh(store, "tenant-2").await?);
    write(&*one, 1, &["t"], vec![json!({"_id": "d", "_class": "c", "of": 1})]).await?;
    assert_eq!(two.head().await?, 0);
    assert_eq!(two.get(&ids(&["d"])).await?, [None]);
    write(&*two, 1, &["t"], vec![json!({"_id": "d", "_class": "c", "of": 2})]).await?;
    for (workspace, of) in [(&one, 1), (&two, 2)] {
        let found = find(&**workspace, json!({"_class": "c"}), json!({})).await?;
        assert_eq!(found.documents, [json!({"_id": "d", "_class": "c", "of": of})]);
    }
    Ok(())
}

/// After a commit its transactions are in the log and its changes in the
/// documents.
///
/// # Errors
/// Those of the engine.
pub async fn a_commit_writes_the_log_and_the_documents_together(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "together").await?;
    assert_eq!(workspace.head().await?, 0);
    assert_eq!(workspace.log(0, 10).await?, []);
    let documents = vec![json!({"_id": "a", "_class": "c"}), json!({"_id": "b", "_class": "c"})];
    assert_eq!(write(&*workspace, 1, &["t1", "t2"], documents).await?, Committed { head: 2 });
    let removal = Commit {
        first: 3,
        transactions: vec![json!({"_id": "t3", "kept": {"whole": [1.5, null]}})],
        put: vec![json!({"_id": "b", "_class": "c", "x": 1})],
        remove: ids(&["a", "never-there"]),
    };
    assert_eq!(workspace.commit(EPOCH, removal).await?, Committed { head: 3 });
    assert_eq!(workspace.head().await?, 3);
    let log = workspace.log(0, 10).await?;
    assert_eq!(log.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log[2].transaction, json!({"_id": "t3", "kept": {"whole": [1.5, null]}}));
    let got = workspace.get(&ids(&["b", "a", "b"])).await?;
    let b = Some(json!({"_id": "b", "_class": "c", "x": 1}));
    assert_eq!(got, [b.clone(), None, b]);
    Ok(())
}

/// Sequence numbers have no gaps and are given once.
///
/// # Errors
/// Those of the engine.
pub async fn a_commit_must_follow_the_log(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "follow").await?;
    write(&*workspace, 1, &["t1"], vec![]).await?;
    for first in [0, 1, 3, u64::MAX] {
        let refused = write(&*workspace, first, &["t2"], vec![]).await;
        assert_eq!(refused, Err(StoreError::Conflict { first, head: 1 }));
    }
    write(&*workspace, 2, &["t2"], vec![]).await.map(|_| ())
}

/// A transaction that is in the log already is not written again.
///
/// # Errors
/// Those of the engine.
pub async fn a_resend_is_answered_with_its_sequence(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "resend").await?;
    write(&*workspace, 1, &["t1", "t2"], vec![]).await?;
    let duplicate = Err(StoreError::Duplicate { id: "t2".to_owned(), sequence: 2 });
    assert_eq!(write(&*workspace, 3, &["t3", "t2"], vec![]).await, duplicate);
    assert_eq!(write(&*workspace, 2, &["t2"], vec![]).await, duplicate, "even where it was first");
    let known = workspace.lookup(&ids(&["t2", "t3", "t1"])).await?;
    assert_eq!(known, [Some(2), None, Some(1)]);
    Ok(())
}

/// Once a writer with a higher epoch has written, a lower one is refused, in
/// whatever handle; the same one goes on.
///
/// # Errors
/// Those of the engine.
pub async fn a_stale_writer_is_refused(store: &dyn Documents) -> Outcome {
    let old = fresh(store, "fenced").await?;
    let new = store.open(&ws("fenced")?, &account("owner")?).await?;
    let epoch = |term, counter| Epoch { term, counter };
    old.commit(epoch(1, 9), commit(1, &["t1"], vec![])).await?;
    new.commit(epoch(2, 1), commit(2, &["t2"], vec![])).await?;
    let refused = old.commit(epoch(1, 10), commit(3, &["t3"], vec![])).await;
    let stale = StoreError::StaleEpoch { writer: epoch(1, 10), current: epoch(2, 1) };
    assert_eq!(stale.retry(), Retry::Final);
    assert_eq!(refused, Err(stale));
    new.commit(epoch(2, 1), commit(3, &["t3"], vec![])).await?;
    new.commit(epoch(u64::MAX, u64::MAX), commit(4, &["t4"], vec![])).await?;
    let refused = new.commit(epoch(u64::MAX, 0), commit(5, &["t5"], vec![])).await;
    assert!(matches!(refused, Err(StoreError::StaleEpoch { .. })), "{refused:?}");
    Ok(())
}

/// All or nothing: neither a conflict nor a bad document nor a duplicate
/// leaves a trace, the epoch of the writer included.
///
/// # Errors
/// Those of the engine.
pub async fn a_refused_commit_leaves_nothing_behind(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "refused").await?;
    write(&*workspace, 1, &["t1"], vec![json!({"_id": "d", "_class": "c", "n": 1})]).await?;
    let changed = || json!({"_id": "d", "_class": "c", "n": 2});
    let large: Vec<_> = (0..=MAX_TRANSACTIONS).map(|n| json!({"_id": format!("m{n}")})).collect();
    let commits = [
        commit(3, &["t2"], vec![changed()]),
        commit(2, &["t2", "t1"], vec![changed()]),
        commit(2, &["t2", "t2"], vec![changed()]),
        commit(2, &["t2"], vec![changed(), json!({"_id": "e"})]),
        commit(2, &[], vec![changed()]),
        Commit { first: 2, transactions: large, put: vec![changed()], remove: vec![] },
    ];
    for commit in commits {
        let refused = workspace.commit(Epoch { term: 7, counter: 7 }, commit).await;
        assert!(refused.is_err());
        assert_eq!(workspace.head().await?, 1);
        assert_eq!(workspace.lookup(&ids(&["t2"])).await?, [None]);
        assert_eq!(
            workspace.get(&ids(&["d"])).await?[0].as_ref().map(|d| &d["n"]),
            Some(&json!(1))
        );
    }
    write(&*workspace, 2, &["t2"], vec![changed()]).await.map(|_| ())
}

/// A document that was moved is found where it is and not where it was.
///
/// # Errors
/// Those of the engine.
pub async fn an_update_replaces_every_indexed_value(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "moved").await?;
    let at = |n: u64| {
        json!({"_id": "d", "_class": format!("c{n}"), "space": format!("s{n}"),
            "attachedTo": format!("a{n}"), "modifiedOn": n})
    };
    write(&*workspace, 1, &["t1"], vec![at(1)]).await?;
    write(&*workspace, 2, &["t2"], vec![at(2)]).await?;
    for key in ["_class", "space", "attachedTo", "modifiedOn"] {
        for (n, total) in [(1, 0), (2, 1)] {
            let query = json!({ key: at(n)[key] });
            let found = find(&*workspace, query.clone(), json!({})).await?;
            assert_eq!(found.total, Some(total), "{query}");
        }
    }
    Ok(())
}

/// The log is read in order, from any place, in parts.
///
/// # Errors
/// Those of the engine.
pub async fn the_log_is_read_in_parts(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "log").await?;
    let transactions: Vec<_> = (1..=25).map(|n| format!("t{n}")).collect();
    let names: Vec<_> = transactions.iter().map(String::as_str).collect();
    write(&*workspace, 1, &names, vec![]).await?;
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let part = workspace.log(after, 10).await?;
        assert!(part.len() <= 10);
        let Some(last) = part.last() else { break };
        after = last.sequence;
        read.extend(part.iter().map(|entry| entry.transaction["_id"].clone()));
    }
    assert_eq!(read, transactions);
    assert_eq!(workspace.log(u64::MAX, 10).await?, []);
    assert!(matches!(workspace.log(0, 0).await, Err(StoreError::Invalid { .. })));
    Ok(())
}

/// Whole numbers and fractions survive being stored.
///
/// # Errors
/// Those of the engine.
pub async fn numbers_come_back_as_they_were(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "numbers").await?;
    let numbers = json!([
        i64::MIN,
        u64::MAX,
        0.1 + 0.2,
        f64::MAX,
        f64::MIN_POSITIVE,
        122.416_294_033_786_59,
        -0.0
    ]);
    let document = json!({"_id": "d", "_class": "c", "numbers": numbers});
    write(&*workspace, 1, &["t"], vec![document.clone()]).await?;
    assert_eq!(workspace.get(&ids(&["d"])).await?, [Some(document)]);
    Ok(())
}

/// An index must not lose what a filter would find.
///
/// # Errors
/// Those of the engine.
pub async fn a_query_sees_missing_null_and_array_values(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "shapes").await?;
    let documents = vec![
        json!({"_id": "text", "_class": "c", "space": "s", "attachedTo": "x", "modifiedOn": 5}),
        json!({"_id": "null", "_class": "c", "space": null, "modifiedOn": null}),
        json!({"_id": "none", "_class": "c"}),
        json!({"_id": "list", "_class": "c", "space": ["s", "t"], "modifiedOn": [5, 9]}),
        json!({"_id": "odd", "_class": "c", "space": 7, "modifiedOn": "5"}),
    ];
    write(&*workspace, 1, &["t"], documents).await?;
    let cases = [
        (json!({}), "list none null odd text"),
        (json!({"space": "s"}), "list text"),
        (json!({"space": {"$in": ["s", null]}}), "list none null text"),
        (json!({"space": null}), "none null"),
        (json!({"space": 7}), "odd"),
        (json!({"space": {"$in": []}}), ""),
        (json!({"space": {"$nin": ["s"]}}), "none null odd"),
        (json!({"modifiedOn": 5.0}), "list text"),
        (json!({"modifiedOn": {"$gte": 5, "$lt": 6}}), "list text"),
        (json!({"modifiedOn": {"$gt": 5}}), "list"),
        (json!({"modifiedOn": {"$lte": "5"}}), "odd"),
        (json!({"_id": {"$in": ["odd", "none", 3]}}), "none odd"),
        (json!({"_id": "odd", "_class": "other"}), ""),
        (json!({"attachedTo": {"$exists": true}}), "text"),
    ];
    for (query, expected) in cases {
        let found = find(&*workspace, query.clone(), json!({"sort": {"_id": 1}})).await?;
        assert_eq!(names(&found), expected, "{query}");
    }
    Ok(())
}

/// The options do what they say, and an answer that is too large is refused.
///
/// # Errors
/// Those of the engine.
pub async fn a_query_sorts_limits_projects_and_counts(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "options").await?;
    let documents = |from: usize, to: usize| {
        (from..to)
            .map(|n| json!({"_id": format!("d{n}"), "_class": "c", "n": n % 7, "text": "x"}))
            .collect()
    };
    write(&*workspace, 1, &["t1"], documents(0, 300)).await?;
    let options = json!({"sort": {"n": -1, "_id": 1}, "limit": 3, "projection": {"n": 1}});
    let found = find(&*workspace, json!({"_class": "c"}), options).await?;
    assert_eq!(found.total, Some(300));
    assert_eq!(names(&found), "d104 d111 d118");
    assert_eq!(found.documents[0], json!({"_id": "d104", "_class": "c", "n": 6}));
    let few = find(&*workspace, json!({}), json!({"limit": 2})).await?;
    assert_eq!(few.documents.len(), 2);
    let counted = find(&*workspace, json!({"n": 0}), json!({"limit": 0, "total": true})).await?;
    assert_eq!((counted.total, counted.documents.len()), (Some(43), 0));
    let limit = json!({"limit": MAX_FOUND + 1});
    assert_eq!(find(&*workspace, json!({}), limit).await?.total, Some(300));
    Ok(())
}

/// U+0000 does not reach the engine.
///
/// # Errors
/// Those of the engine.
pub async fn a_null_character_is_replaced(store: &dyn Documents) -> Outcome {
    let workspace = fresh(store, "null-character").await?;
    let document = json!({"_id": "d", "_class": "c", "text": "a\0b", "list": ["\0"]});
    write(&*workspace, 1, &["t"], vec![document]).await?;
    let expected = json!({"_id": "d", "_class": "c", "text": "a\u{FFFD}b", "list": ["\u{FFFD}"]});
    assert_eq!(workspace.get(&ids(&["d"])).await?, [Some(expected)]);
    Ok(())
}

/// Names and ids made to break out of a path, a statement or a pattern are
/// data like any other.
///
/// # Errors
/// Those of the engine.
pub async fn hostile_names_and_ids_stay_data(store: &dyn Documents) -> Outcome {
    for name in ["../../escape", "'; DROP TABLE documents; --", "NUL", "ünï💥", "a/b\\c"] {
        let workspace = fresh(store, name).await?;
        let document = json!({"_id": name, "_class": name, "space": name, "'": {"\"": name}});
        write(&*workspace, 1, &[name], vec![document.clone()]).await?;
        let query =
            json!({"_id": {"$in": [name, "x"]}, "_class": name, "space": name, "'.\"": name});
        assert_eq!(find(&*workspace, query, json!({})).await?.documents, [document]);
        assert_eq!(workspace.lookup(&ids(&[name, "\0", ""])).await?, [Some(1), None, None]);
    }
    Ok(())
}

/// Of two commits at the same place exactly one is written.
///
/// # Errors
/// Those of the engine.
pub async fn one_of_two_concurrent_commits_wins(store: &dyn Documents) -> Outcome {
    let one = fresh(store, "race").await?;
    let two = store.open(&ws("race")?, &account("owner")?).await?;
    for round in 0..20 {
        let first = round + 1;
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let (left, right) = tokio::join!(
            one.commit(EPOCH, commit(first, &[a.as_str()], vec![])),
            two.commit(EPOCH, commit(first, &[b.as_str()], vec![])),
        );
        match (left, right) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => {
                assert_eq!(won, Committed { head: first });
                assert_eq!(lost, StoreError::Conflict { first, head: first });
            }
            other => panic!("one must win: {other:?}"),
        }
    }
    assert_eq!(one.log(0, 100).await?.len(), 20);
    Ok(())
}

const EPOCH: Epoch = Epoch { term: 1, counter: 1 };

async fn fresh(store: &dyn Documents, name: &str) -> Result<Arc<dyn Workspace>, StoreError> {
    let (workspace, owner) = (ws(name)?, account("owner")?);
    store.create_workspace(&workspace, &owner).await?;
    store.open(&workspace, &owner).await
}

fn ws(name: &str) -> Result<WorkspaceId, StoreError> {
    Ok(WorkspaceId::new(name)?)
}

fn account(name: &str) -> Result<AccountId, StoreError> {
    Ok(AccountId::new(name)?)
}

fn membership(name: &str, role: Role) -> Result<Membership, StoreError> {
    Ok(Membership { workspace: ws(name)?, role })
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn commit(first: u64, transactions: &[&str], put: Vec<Value>) -> Commit {
    let transactions = transactions.iter().map(|id| json!({ "_id": id })).collect();
    Commit { first, transactions, put, remove: Vec::new() }
}

async fn write(
    workspace: &dyn Workspace,
    first: u64,
    transactions: &[&str],
    put: Vec<Value>,
) -> Result<Committed, StoreError> {
    workspace.commit(EPOCH, commit(first, transactions, put)).await
}

async fn find(
    workspace: &dyn Workspace,
    query: Value,
    options: Value,
) -> Result<Found, StoreError> {
    let filter = Filter::parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let options = Options::parse(&options).unwrap_or_else(|error| panic!("{options}: {error}"));
    workspace.find(Find { filter, options }).await
}

fn names(found: &Found) -> String {
    let names: Vec<_> =
        found.documents.iter().filter_map(|document| document["_id"].as_str()).collect();
    names.join(" ")
}
