//! The Huly kinds on real documents: session, query and transactor over a
//! network of two agents.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fs, io::Write, path::Path, process::Command};

use end_to_end::{Network, Output, Process, eventually};
use hulynet_samples::sample;
use serde_json::{Value, json};

const KINDS: [&str; 3] = ["query", "session", "transactor"];

fn session(network: &Network, account: &str, operation: &str, arguments: &Value) -> Output {
    let mut command = network.command(&["call", &format!("session/session:{account}"), operation]);
    command.arg(arguments.to_string()).arg("--json");
    command.args(["--account", account, "--label", &format!("account={account}")]);
    Output::of(&mut command)
}

fn total(network: &Network, account: &str, workspace: &str, class: &str, query: &Value) -> u64 {
    let request = json!([{
        "workspaces": [workspace], "class": class, "query": query,
        "options": { "limit": 1, "total": true },
    }]);
    session(network, account, "find", &request).json()["total"].as_u64().unwrap()
}

fn create(n: u64) -> Value {
    json!({
        "_id": format!("tx-{n}"), "_class": "core:class:TxCreateDoc", "space": "core:space:Tx",
        "objectId": format!("issue-{n}"), "objectClass": "tracker:class:Issue",
        "objectSpace": "project", "modifiedBy": "ann", "modifiedOn": n,
        "attributes": { "title": format!("number {n}"), "status": "tracker:status:Todo" },
    })
}

fn import(network: &Network, source: &str, workspace: &str, account: &str) -> Value {
    network.json(&["import", source, "--workspace", workspace, "--account", account])
}

#[test]
fn a_transaction_is_stored_found_and_announced() {
    let network = Network::start(2, &KINDS);
    session(&network, "ann", "create_workspace", &json!(["w"])).json();
    let listener = Process::start(&mut network.command(&[
        "connect",
        "session/session:ann",
        "--account",
        "ann",
        "--label",
        "account=ann",
    ]));
    listener.wait_for_error("connected to");

    let applied = session(&network, "ann", "tx", &json!(["w", [create(1), create(2)]])).json();
    assert_eq!(applied[0]["sequence"], 1);
    assert_eq!(applied[1]["sequence"], 2);
    for n in 1..=2 {
        let event: Value = serde_json::from_str(&listener.line()).unwrap();
        assert_eq!(event["workspace"], "w");
        assert_eq!(event["sequence"], n);
        assert_eq!(event["tx"]["_id"], format!("tx-{n}"));
    }

    let found = session(
        &network,
        "ann",
        "find",
        &json!([{ "class": "tracker:class:Issue", "query": { "title": { "$like": "%2" } } }]),
    )
    .json();
    assert_eq!(found["documents"][0]["workspace"], "w");
    assert_eq!(found["documents"][0]["document"]["_id"], "issue-2");
}

#[test]
fn the_same_transaction_is_applied_once() {
    let network = Network::start(1, &KINDS);
    session(&network, "ann", "create_workspace", &json!(["w"])).json();
    let once = session(&network, "ann", "tx", &json!(["w", [create(1)]])).json();
    let again = session(&network, "ann", "tx", &json!(["w", [create(1)]])).json();
    assert_eq!(once[0]["sequence"], again[0]["sequence"]);
    assert_eq!([&once[0]["new"], &again[0]["new"]], [true, false]);
    assert_eq!(total(&network, "ann", "w", "tracker:class:Issue", &json!({})), 1);
}

#[test]
fn a_transaction_that_cannot_be_applied_leaves_nothing_of_its_batch() {
    let network = Network::start(1, &KINDS);
    session(&network, "ann", "create_workspace", &json!(["w"])).json();
    let bad = json!({ "_id": "tx-x", "_class": "core:class:TxFly" });
    let refused = session(&network, "ann", "tx", &json!(["w", [create(1), bad]]));
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.err.contains("core:class:TxFly"), "{refused:?}");
    assert_eq!(total(&network, "ann", "w", "tracker:class:Issue", &json!({})), 0);
}

#[test]
fn workspaces_are_closed_to_everyone_but_their_members() {
    let network = Network::start(2, &KINDS);
    for (account, workspace) in [("ann", "a"), ("bob", "b")] {
        session(&network, account, "create_workspace", &json!([workspace])).json();
        session(&network, account, "tx", &json!([workspace, [create(1)]])).json();
    }
    let request = json!([{ "workspaces": ["b"], "class": "core:class:Doc" }]);
    let refused = session(&network, "ann", "find", &request);
    assert!(refused.refusal(1).contains("permission-denied"), "{refused:?}");
    let write = session(&network, "ann", "tx", &json!(["b", [create(2)]]));
    assert!(write.refusal(1).contains("permission-denied"), "{write:?}");
    let taken = session(&network, "ann", "create_workspace", &json!(["b"]));
    assert_eq!(taken.code, Some(1), "{taken:?}");

    // Somebody else's session is closed, too.
    let stranger = network.run(&[
        "call",
        "session/session:bob",
        "workspaces",
        "--account",
        "ann",
        "--label",
        "account=bob",
    ]);
    assert_eq!(stranger.code, Some(1), "{stranger:?}");

    session(&network, "bob", "add_member", &json!(["b", "ann", "member"])).json();
    let both = session(
        &network,
        "ann",
        "find",
        &json!([{
            "class": "tracker:class:Issue", "options": { "total": true },
        }]),
    )
    .json();
    assert_eq!(both["total"], 2, "a find over all workspaces merges them");
}

#[test]
fn acknowledged_transactions_survive_a_killed_agent() {
    let mut network = Network::start(2, &KINDS);
    session(&network, "ann", "create_workspace", &json!(["w"])).json();
    let mut acknowledged = 0;
    for round in 0..4 {
        for n in 1..=5 {
            let transaction = create(round * 100 + n);
            session(&network, "ann", "tx", &json!(["w", [transaction]])).json();
            acknowledged += 1;
        }
        let agent = usize::try_from(round % 2).unwrap();
        network.agents[agent].process.kill();
        network.agents.remove(agent);
        network.add_agent_named(&format!("again-{round}"), &KINDS);
        let found = eventually("the workspace after the kill", || {
            let request = json!([{
                "workspaces": ["w"], "class": "tracker:class:Issue",
                "options": { "limit": 1, "total": true },
            }]);
            let output = session(&network, "ann", "find", &request);
            (output.code == Some(0)).then(|| output.json()["total"].as_u64().unwrap())
        });
        assert_eq!(found, acknowledged);
    }
}

#[test]
fn an_import_that_fails_in_one_line_keeps_what_came_before() {
    let network = Network::start(1, &KINDS);
    let path = network.path("mine.jsonl");
    let mut file = fs::File::create(&path).unwrap();
    writeln!(file, "{}", create(1)).unwrap();
    writeln!(file, "{}", create(2)).unwrap();
    writeln!(file, "{{\"_id\": \"tx-3\", \"_class\": \"core:class:TxCreateDoc\"}}").unwrap();
    writeln!(file, "{}", create(4)).unwrap();
    drop(file);
    let failed =
        network.run(&["import", path.to_str().unwrap(), "--workspace", "w", "--account", "ann"]);
    let message = failed.refusal(2);
    assert!(message.contains("line 3"), "{message}");
    assert!(message.contains("mine.jsonl"), "{message}");
    assert_eq!(total(&network, "ann", "w", "tracker:class:Issue", &json!({})), 2);

    let mended = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .filter(|line| !line.contains("tx-3"))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    fs::write(&path, mended).unwrap();
    let again = import(&network, path.to_str().unwrap(), "w", "ann");
    assert_eq!((again["applied"].as_u64(), again["already"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_repository_becomes_a_tracker_workspace() {
    let network = Network::start(2, &KINDS);
    let repository = network.path("repository");
    fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    for (n, body) in ["", "why it was done", ""].iter().enumerate() {
        fs::write(repository.join(format!("file-{n}")), "text").unwrap();
        git(&repository, &["add", "."]);
        git(&repository, &["commit", "--quiet", "-m", &format!("step {n}"), "-m", body]);
    }
    let source = format!("git:{}", repository.display());
    let first = import(&network, &source, "code", "ann");
    let again = import(&network, &source, "code", "ann");
    assert_eq!(first["transactions"], again["already"], "importing again applies nothing twice");
    assert_eq!(again["applied"], 0);
    for (class, expected) in [
        ("tracker:class:Project", 1),
        ("tracker:class:Issue", 3),
        ("contact:class:Person", 1),
        ("chunter:class:ChatMessage", 1),
        ("tags:class:TagReference", 3),
    ] {
        assert_eq!(total(&network, "ann", "code", class, &json!({})), expected, "{class}");
    }
    let done = json!({ "status": "tracker:status:Done" });
    assert_eq!(total(&network, "ann", "code", "tracker:class:Issue", &done), 3);
}

fn git(directory: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
        .args(arguments)
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn the_originals_answers_are_given_over_the_network() {
    let (Some(transactions), Some(oracle)) =
        (sample("titanium-DAEMON.jsonl.zst"), sample("oracle-queries-DAEMON.jsonl.zst"))
    else {
        return;
    };
    let network = Network::start(2, &KINDS);
    import(&network, transactions.to_str().unwrap(), "daemon", "ann");
    // Another workspace of the same account must not show.
    session(&network, "ann", "create_workspace", &json!(["other"])).json();
    session(&network, "ann", "tx", &json!(["other", [create(1)]])).json();

    let oracle = zstd::decode_all(fs::File::open(oracle).unwrap()).unwrap();
    let mut asked = 0;
    for line in String::from_utf8(oracle).unwrap().lines() {
        let question: Value = serde_json::from_str(line).unwrap();
        let mut options = question["options"].clone();
        options["total"] = json!(true);
        let request = json!([{
            "workspaces": ["daemon"], "class": question["class"], "query": question["query"],
            "options": options,
        }]);
        let found = session(&network, "ann", "find", &request).json();
        assert_eq!(found["total"], question["total"], "{line}");
        let mut ids: Vec<_> = found["documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["document"]["_id"].as_str().unwrap())
            .collect();
        let mut expected: Vec<_> =
            question["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        if question["ordered"] == false {
            ids.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(ids, expected, "{line}");
        asked += 1;
    }
    assert_eq!(asked, 72);
}

#[test]
fn a_public_trackers_transactions_replay_to_the_recounted_documents() {
    let Some(transactions) = sample("titanium-MOD.jsonl.zst") else { return };
    let network = Network::start(2, &KINDS);
    let imported = import(&network, transactions.to_str().unwrap(), "mod", "ann");
    assert_eq!(imported["applied"], 3_176);
    let expected = BTreeMap::from([
        ("tracker:class:Issue", 367),
        ("chunter:class:ChatMessage", 1_411),
        ("tags:class:TagReference", 516),
    ]);
    for (class, count) in expected {
        assert_eq!(total(&network, "ann", "mod", class, &json!({})), count, "{class}");
    }
    for (status, count) in [("Done", 276), ("Todo", 76), ("InProgress", 15)] {
        let query = json!({ "status": format!("tracker:status:{status}") });
        assert_eq!(total(&network, "ann", "mod", "tracker:class:Issue", &query), count, "{status}");
    }
}

#[test]
fn a_mixin_is_data_of_its_document_by_which_it_is_found() {
    let network = Network::start(1, &KINDS);
    session(&network, "ann", "create_workspace", &json!(["w"])).json();
    let model = |n, class: &str, attributes: Value| {
        let mut tx = create(n);
        tx["objectSpace"] = json!("core:space:Model");
        tx["objectId"] = attributes["_id"].clone();
        tx["objectClass"] = json!(class);
        tx["attributes"] = attributes;
        tx
    };
    let mixin = json!({ "_id": "my:mixin:Urgent", "extends": "tracker:class:Issue", "kind": 2 });
    let mixed = json!({
        "_id": "tx-9", "_class": "core:class:TxMixin", "space": "core:space:Tx",
        "objectId": "issue-2", "objectClass": "tracker:class:Issue", "objectSpace": "project",
        "modifiedBy": "ann", "modifiedOn": 9,
        "mixin": "my:mixin:Urgent", "attributes": { "why": "fire", "$inc": { "asked": 2 } },
    });
    let transactions =
        json!(["w", [model(7, "core:class:Mixin", mixin), create(1), create(2), mixed]]);
    session(&network, "ann", "tx", &transactions).json();
    let request =
        json!([{ "class": "my:mixin:Urgent", "query": { "my:mixin:Urgent.why": "fire" } }]);
    let found = session(&network, "ann", "find", &request).json();
    assert_eq!(found["documents"].as_array().unwrap().len(), 1, "{found}");
    let document = &found["documents"][0]["document"];
    assert_eq!(document["_id"], "issue-2");
    assert_eq!(document["my:mixin:Urgent"], json!({ "why": "fire", "asked": 2 }));
}

#[test]
fn the_originals_own_model_is_imported_as_a_whole() {
    let Some(model) = sample("huly-model.json.zst") else { return };
    let network = Network::start(1, &KINDS);
    let imported = import(&network, model.to_str().unwrap(), "model", "ann");
    assert_eq!(imported["applied"], 3_799);
    let sums = imported["classes"].as_object().unwrap().values().fold((0, 0), |sums, class| {
        let count = |what: &str| class[what].as_u64().unwrap();
        (sums.0 + count("created"), sums.1 + count("updated"))
    });
    assert_eq!(sums, (2_897, 902), "documents, two of them defined twice, and their mixins");
    assert_eq!(total(&network, "ann", "model", "core:class:Doc", &json!({})), 2_895);
    // One of them is of a class of its own that extends the mixins.
    assert_eq!(total(&network, "ann", "model", "core:class:Mixin", &json!({})), 112);
    let configured = json!({ "core:mixin:IndexConfiguration.searchDisabled": true });
    assert!(total(&network, "ann", "model", "core:class:Class", &configured) > 0);
}
