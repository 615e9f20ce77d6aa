//! Every command of the program, against a network of processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use end_to_end::{Network, Output, Process, eventually, hulynet};
use serde_json::{Value, json};

#[test]
fn a_call_finds_or_starts_a_container_and_prints_its_answer() {
    let network = Network::start(1, &["echo"]);
    assert_eq!(network.json(&["call", "echo/a", "add", "5"]), json!(5));
    assert_eq!(network.json(&["call", "echo/a", "add", "[2]"]), json!(7));
    assert_eq!(network.json(&["call", "echo/a", "add", r#"{"n": 3}"#]), json!(10));
    assert_eq!(network.json(&["call", "echo/b", "add", "1"]), json!(1));
    assert_eq!(
        network.run(&["call", "echo/a", "echo", r#"["hello"]"#]).text().trim(),
        "[\n  \"hello\"\n]"
    );
}

#[test]
fn a_streamed_answer_is_printed_piece_by_piece() {
    let network = Network::start(1, &["echo"]);
    let output = network.run(&["call", "echo", "stream", "[3, 2]"]);
    assert_eq!(output.text().lines().collect::<Vec<_>>(), [r#""xx""#; 3]);

    let broken = network.run(&["call", "echo", "broken_stream", "2"]);
    assert!(broken.refusal(1).contains("the stream was asked to break"), "{broken:?}");
    assert_eq!(broken.out.lines().collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn get_list_agents_and_kinds_tell_what_runs_where() {
    let network = Network::start(2, &["echo"]);
    let got = network.json(&["get", "echo/a", "--label", "region=europe"]);
    assert_eq!(got["uuid"], "a");
    assert_eq!(got["labels"], json!({ "region": "europe" }));

    let by_label = network.json(&["get", "echo", "--label", "region=europe"]);
    assert_eq!(by_label["uuid"], "a");

    let listed = network.json(&["list", "echo"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["agent"], got["agent"]);

    let agents = network.json(&["agents"]);
    assert_eq!(agents.as_array().unwrap().len(), 2);
    assert_eq!(agents[0]["kinds"], json!(["echo"]));
    assert_eq!(network.json(&["kinds"]), json!(["echo"]));

    for command in [&["agents"][..], &["kinds"], &["list"], &["get", "echo/a"]] {
        assert!(network.run(command).text().contains("echo"), "{command:?} prints a table");
    }
}

#[test]
fn containers_by_kind_alone_are_shared_and_spread_over_the_agents() {
    let network = Network::start(2, &["echo"]);
    let uuids: std::collections::BTreeSet<String> = (0..6)
        .map(|_| network.json(&["get", "echo"])["uuid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uuids.len(), 2, "one shared container for each agent");
}

#[test]
fn connect_prints_what_a_container_broadcasts() {
    let network = Network::start(1, &["echo"]);
    let mut listener =
        Process::start(network.command(&["connect", "echo/a"]).args(["--count", "3"]));
    listener.wait_for_error("connected to echo/a");
    assert_eq!(listener.line(), r#""welcome""#, "a message to this connection alone");
    for n in 1..=2 {
        network.run(&["call", "echo/a", "broadcast", &format!("[{n}]")]).text();
    }
    assert_eq!(listener.line(), "[1]");
    assert_eq!(listener.line(), "[2]");
    assert!(listener.wait().success());
}

#[test]
fn a_listener_that_waits_too_long_says_how_much_came() {
    let network = Network::start(1, &["echo"]);
    network.json(&["get", "echo/a"]);
    let output = network.run(&["connect", "echo/a", "--count", "2", "--timeout", "300ms"]);
    assert!(output.refusal(3).contains("1 of 2 events"), "{output:?}");
}

#[test]
fn terminate_ends_a_container() {
    let network = Network::start(1, &["echo"]);
    network.json(&["call", "echo/a", "add", "5"]);
    assert_eq!(network.json(&["terminate", "echo/a"]), json!({ "ended": true }));
    assert_eq!(network.json(&["list"]), json!([]));
    assert_eq!(network.json(&["call", "echo/a", "add", "5"]), json!(5), "a new one began at 0");
}

#[test]
fn a_container_that_nobody_holds_is_ended() {
    let network = Network::start(1, &["echo"]);
    let mut listener = Process::start(&mut network.command(&["connect", "echo/a"]));
    listener.wait_for_error("connected to echo/a");
    assert_eq!(network.json(&["list"])[0]["holders"], json!(1));
    listener.kill();
    eventually("the end of the unused container", || {
        (network.json(&["list"]) == json!([])).then_some(())
    });
}

#[test]
fn a_container_can_ask_another_one() {
    let network = Network::start(2, &["echo"]);
    let output =
        network.json(&["call", "echo/front", "forward", r#"["echo", "back", "echo", 5000]"#]);
    assert_eq!(output, "forwarded");
}

#[test]
fn a_container_passes_on_what_another_one_broadcasts() {
    let network = Network::start(2, &["echo"]);
    let listener = Process::start(&mut network.command(&["connect", "echo/front"]));
    assert_eq!(listener.line(), r#""welcome""#);
    network.run(&["call", "echo/front", "relay", r#"["echo", "back"]"#]).text();
    assert_eq!(listener.line(), r#""welcome""#, "what the other one said to the first");
    network.run(&["call", "echo/back", "broadcast", r#"["news"]"#]).text();
    assert_eq!(listener.line(), r#"["news"]"#);
}

#[test]
fn a_container_waits_for_one_request_while_it_answers_others() {
    let network = Network::start(1, &["echo"]);
    let mut waiting = Process::start(&mut network.command(&["call", "echo/a", "wait"]));
    eventually("an answer to the waiting request", || {
        network.run(&["call", "echo/a", "wake"]).text();
        let holders = &network.json(&["list"])[0]["holders"];
        (holders == &json!(0)).then_some(())
    });
    assert!(waiting.wait().success());
}

#[test]
fn up_runs_a_whole_network_in_one_process_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    let grants = "[kind.echo]\ncontainers = [\"*\"]\n";
    std::fs::write(directory.path().join("state/grants.toml"), grants).unwrap();
    let mut up = Process::start(
        hulynet()
            .args(["up", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--json"])
            .arg("--dir")
            .arg(directory.path().join("state")),
    );
    let coordinator: Value = serde_json::from_str(&up.line()).unwrap();
    let agent: Value = serde_json::from_str(&up.line()).unwrap();
    assert_eq!(agent["kinds"], json!([]));
    let address = coordinator["coordinator"].as_str().unwrap();

    end_to_end::install("echo", &directory.path().join("state/plugins"));
    let run = |arguments: &[&str]| {
        Output::of(hulynet().args(arguments).args(["--coordinator", address, "--json"]))
    };
    eventually("the dropped kind", || (run(&["kinds"]).json() == json!(["echo"])).then_some(()));
    assert_eq!(run(&["call", "echo/a", "add", "2"]).json(), json!(2));

    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.errors());
}

#[test]
fn configuration_tells_where_each_value_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hulynet.toml");
    std::fs::write(&file, "timeout = \"7s\"\nlog = \"debug\"\n").unwrap();
    let output = Output::of(
        hulynet()
            .args(["config", "--json", "--log", "warn"])
            .env("HULYNET_ACCOUNT", "ann")
            .current_dir(directory.path()),
    );
    let config = output.json();
    let of = |key: &str| {
        let all = config["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(of("timeout")["value"], "7s");
    assert_eq!(of("log")["value"], "warn");
    assert_eq!(of("account")["value"], "ann");
    let origins: Vec<_> =
        ["timeout", "log", "account", "listen"].map(|key| of(key)["origin"]["from"].clone()).into();
    assert_eq!(origins, ["file", "flag", "environment", "default"]);
}

#[test]
fn completion_is_a_script_for_the_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Output::of(hulynet().args(["completion", shell]));
        assert!(output.text().contains("hulynet"), "{shell}");
    }
}
