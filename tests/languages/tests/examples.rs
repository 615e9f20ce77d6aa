//! The examples in other languages, as their readers run them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use end_to_end::{Network, Process, eventually};
use languages::{Failed, PYTHON, TYPESCRIPT, call, fails};
use serde_json::{Value, json};

/// A client that prints what a container broadcasts.
fn listener(network: &Network, container: &str) -> Process {
    let listener = Process::start(&mut network.command(&["connect", container, "--json"]));
    listener.wait_for_error(&format!("connected to {container}"));
    listener
}

fn heard(listener: &Process) -> Value {
    serde_json::from_str(&listener.line()).unwrap()
}

fn told(failed: &Failed) -> (&str, &str) {
    (&failed.kind, &failed.retry)
}

#[test]
fn a_room_in_typescript_is_built_dropped_in_and_used() {
    let Some(built) = TYPESCRIPT.built(env!("CARGO_TARGET_TMPDIR")) else { return };
    let network = Network::start(1, &[]);
    TYPESCRIPT.drop_into(&network, &built);
    let told_of = TYPESCRIPT.told(&network);
    assert_eq!(told_of["concurrency"], "exclusive");
    assert_eq!(told_of["asked"], "containers = [\"room\"]");

    // State, checked arguments by order and by name, and typed errors.
    let hall = listener(&network, "room/hall");
    assert_eq!(heard(&hall), json!({"welcome": 1}));
    let first = call(&network, "room/hall", "say", &json!(["hello"]));
    assert_eq!(first, json!({"number": 1, "author": "anna", "text": "hello"}));
    assert_eq!(heard(&hall), json!({"said": first}));
    let second = call(&network, "room/hall", "say", &json!({"text": "anybody?"}));
    assert_eq!(heard(&hall), json!({"said": second}));
    assert_eq!(call(&network, "room/hall", "history", &json!(null)), json!([first, second]));
    assert_eq!(call(&network, "room/hall", "history", &json!({"last": 1})), json!([second]));
    let failed = fails(&network, "room/hall", "say", &json!([5]));
    assert_eq!(told(&failed), ("invalid-arguments", "final"));
    assert_eq!(failed.message, "say takes text: text must be a text of 1 to 1000 characters");
    let failed = fails(&network, "room/hall", "shout", &json!([]));
    assert_eq!(told(&failed), ("unknown-operation", "final"));
    let failed = fails(&network, "room/hall", "close", &json!([]));
    assert_eq!(told(&failed), ("permission-denied", "final"));

    // Another container is asked in the caller's name; a circle is refused.
    let yard = listener(&network, "room/yard");
    assert_eq!(heard(&yard), json!({"welcome": 1}), "the rooms know nothing of one another");
    let passed_on = json!({"to": "yard", "text": "from the hall"});
    let said = call(&network, "room/hall", "forward", &passed_on);
    assert_eq!(said, json!({"number": 1, "author": "anna", "text": "from the hall"}));
    assert_eq!(heard(&yard), json!({"said": said}));
    let failed = fails(&network, "room/hall", "forward", &json!(["hall", "to myself"]));
    assert_eq!(told(&failed), ("busy", "final"));
    assert!(failed.message.contains("would wait for itself"), "{failed:?}");

    // An exception ends nothing.
    let failed = fails(&network, "room/hall", "stumble", &json!([]));
    assert_eq!(told(&failed), ("application", "maybe-processed"));
    assert!(failed.message.starts_with("stumble failed: TypeError"), "{failed:?}");
    network.agents[0].process.wait_for_error("room.js");
    assert_eq!(call(&network, "room/hall", "history", &json!({"last": 1})), json!([second]));

    // Rooms work side by side.
    let say = |room: &str| {
        let (container, arguments) = (format!("room/{room}"), json!([room]).to_string());
        let arguments = ["call", &container, "say", &arguments, "--json"];
        Process::start(&mut network.command(&arguments))
    };
    let asked = ["hall", "yard", "hall", "yard"].map(|room| (room, say(room)));
    for (room, process) in &asked {
        assert_eq!(heard(process)["text"], *room);
    }
    let counted = |room: &str| {
        call(&network, &format!("room/{room}"), "history", &json!(null)).as_array().unwrap().len()
    };
    assert_eq!((counted("hall"), counted("yard")), (4, 3));

    // It ends when it is asked to, and begins anew.
    drop((hall, yard));
    network.json(&["terminate", "room/hall"]);
    eventually("the end of the room", || {
        let rooms = network.json(&["list"]);
        rooms.as_array().unwrap().iter().all(|room| room["uuid"] != "hall").then_some(())
    });
    assert_eq!(call(&network, "room/hall", "history", &json!(null)), json!([]));
}

#[test]
fn a_poll_in_python_is_built_dropped_in_and_used() {
    let Some(built) = PYTHON.built(env!("CARGO_TARGET_TMPDIR")) else { return };
    let network = Network::start(1, &[]);
    PYTHON.drop_into(&network, &built);
    let told_of = PYTHON.told(&network);
    assert_eq!((&told_of["concurrency"], &told_of["asked"]), (&json!("exclusive"), &json!("")));

    let lunch = listener(&network, "poll/lunch");
    assert_eq!(heard(&lunch), json!({"yes": 0, "no": 0}));
    assert_eq!(call(&network, "poll/lunch", "vote", &json!(["yes"])), json!({"yes": 1, "no": 0}));
    assert_eq!(heard(&lunch), json!({"yes": 1, "no": 0}));
    let anew = call(&network, "poll/lunch", "vote", &json!({"choice": "no"}));
    assert_eq!(anew, json!({"yes": 0, "no": 1}));
    assert_eq!(heard(&lunch), anew);
    assert_eq!(call(&network, "poll/lunch", "leading", &json!(null)), json!(["no"]));
    assert_eq!(call(&network, "poll/other", "leading", &json!({"least": 0})), json!(["yes", "no"]));

    let failed = fails(&network, "poll/lunch", "vote", &json!([true]));
    assert_eq!(told(&failed), ("invalid-arguments", "final"));
    assert_eq!(failed.message, "vote takes choice: choice must be str");
    let failed = fails(&network, "poll/lunch", "vote", &json!(["yes"]));
    assert_eq!(told(&failed), ("application", "final"), "nobody's account is known");
    let failed = fails(&network, "poll/lunch", "win", &json!([]));
    assert_eq!(told(&failed), ("unknown-operation", "final"));

    // An exception ends nothing.
    let failed = fails(&network, "poll/lunch", "stumble", &json!([]));
    assert_eq!(told(&failed), ("application", "maybe-processed"));
    assert!(failed.message.contains("ZeroDivisionError('it stumbled')"), "{failed:?}");
    assert_eq!(call(&network, "poll/lunch", "leading", &json!(null)), json!(["no"]));

    drop(lunch);
    network.json(&["terminate", "poll/lunch"]);
    eventually("the poll anew", || {
        let counts = call(&network, "poll/lunch", "vote", &json!(["yes"]));
        (counts == json!({"yes": 1, "no": 0})).then_some(())
    });
}
