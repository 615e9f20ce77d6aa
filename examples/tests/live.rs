//! The examples and the README's kind against a network of real processes and
//! real components.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::iter;
use std::process::Command;

use end_to_end::{Network, Output, Process, hulynet};
use serde_json::json;

const README: &str = include_str!("../../README.md");
const COUNTER: &str = include_str!("../../plugins/counter/src/lib.rs");

/// An example that asks this network.
fn example(path: &str, network: &Network) -> Command {
    let mut command = Command::new(path);
    command.arg(&network.address);
    command
}

#[test]
fn the_readmes_kind_is_complete_in_under_15_lines_and_counts() {
    assert!(README.contains(&format!("```rust\n{COUNTER}```")), "README.md shows another kind");
    assert!(COUNTER.lines().count() < 15);
    let network = Network::start(1, &["counter"]);
    assert_eq!(network.json(&["call", "counter/a", "add", "5"]), json!(5));
    assert_eq!(network.json(&["call", "counter/a", "add", "5"]), json!(10));
}

#[test]
fn the_program_understands_every_command_of_the_readme() {
    let commands: Vec<&str> =
        README.lines().filter_map(|line| line.strip_prefix("hulynet ")).collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let words = command.split_whitespace().take_while(|word| *word != "#");
        // As a shell reads them; no argument has a blank inside its quotes.
        let words = words.map(|word| word.trim_matches('\''));
        let _help = Output::of(hulynet().args(words).arg("--help")).text();
    }
}

#[test]
fn a_host_program_asks_a_component_through_a_typed_client() {
    let network = Network::start(1, &["counter"]);
    let output =
        Output::of(&mut example(env!("CARGO_BIN_EXE_counter_client"), &network)).text().to_owned();
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].starts_with("counter/example is live, epoch "), "{output}");
    assert_eq!(lines[1..], ["bytes: 1", "typed: 3", "typed: 6"]);
}

#[test]
fn events_prints_what_a_container_broadcasts_until_it_is_interrupted() {
    let network = Network::start(1, &["echo"]);
    let mut events = Process::start(&mut example(env!("CARGO_BIN_EXE_events"), &network));
    assert_eq!(events.line(), "connected to echo/example; Ctrl-C ends");
    assert_eq!(events.line(), "\"welcome\"");
    assert_eq!(events.line(), "hello from the example");
    let _done = network.run(&["call", "echo/example", "broadcast", r#"["hello"]"#]).text();
    assert_eq!(events.line(), r#"["hello"]"#);
    events.signal("INT");
    assert!(events.wait().success());
}

#[test]
fn watch_prints_what_happens_until_it_is_interrupted() {
    let network = Network::start(1, &["echo"]);
    let mut watch = Process::start(&mut example(env!("CARGO_BIN_EXE_watch"), &network));
    let before = "1 agents, 0 containers";
    assert_eq!(watch.line(), before);
    network.json(&["get", "echo/a"]);
    // A watch may begin anew; then the start is part of what it finds.
    let line = iter::repeat_with(|| watch.line()).find(|line| line != before).unwrap();
    assert!(["echo/a started", "1 agents, 1 containers"].contains(&line.as_str()), "{line}");
    watch.signal("INT");
    assert!(watch.wait().success());
}

#[test]
fn an_example_that_fails_says_why_in_a_sentence() {
    let network = Network::start(1, &["echo"]);
    let output = Output::of(&mut example(env!("CARGO_BIN_EXE_counter_client"), &network));
    let message = output.refusal(1);
    assert!(message.starts_with("error: no agent serves the kind \"counter\""), "{message}");
}
