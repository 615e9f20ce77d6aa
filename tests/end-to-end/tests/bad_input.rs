//! What goes wrong has one clear message, the right exit code, and disturbs
//! nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{self, Write},
    net::TcpListener,
    path::Path,
    thread,
};

use end_to_end::{Network, Output, Process, eventually, hulynet, install};
use serde_json::json;

/// An agent's errors after it read a plugin directory, which it must survive.
fn agent_errors(prepare: impl FnOnce(&Path), expected: &str) -> (Network, String) {
    let mut network = Network::start(0, &[]);
    let plugins = network.path("agent-0");
    fs::create_dir_all(&plugins).unwrap();
    prepare(&plugins);
    network.add_agent(&["echo"]);
    let agent = &network.agents[0];
    agent.process.wait_for_error(expected);
    assert_eq!(agent.ready["kinds"], json!(["echo"]), "the good kind is served");
    let errors = agent.process.errors();
    (network, errors)
}

#[test]
fn a_plugin_that_is_not_webassembly_is_refused_by_name() {
    let (network, errors) =
        agent_errors(|plugins| fs::write(plugins.join("bad.wasm"), "hello").unwrap(), "bad.wasm");
    assert!(errors.contains("not a WebAssembly"), "{errors}");
    assert_eq!(network.json(&["call", "echo/a", "add", "1"]), json!(1));
}

#[test]
fn a_truncated_plugin_is_refused_by_name() {
    let (_network, errors) = agent_errors(
        |plugins| {
            install("echo", plugins);
            let whole = fs::read(plugins.join("echo.wasm")).unwrap();
            fs::write(plugins.join("half.wasm"), &whole[..whole.len() / 2]).unwrap();
        },
        "half.wasm",
    );
    assert!(errors.contains("truncated") || errors.contains("damaged"), "{errors}");
}

#[test]
fn a_core_module_is_refused_with_the_way_to_make_a_component() {
    let module = b"\0asm\x01\0\0\0";
    let (_network, errors) =
        agent_errors(|plugins| fs::write(plugins.join("core.wasm"), module).unwrap(), "core.wasm");
    assert!(errors.contains("core module"), "{errors}");
    assert!(errors.contains("wasm32-wasip2"), "{errors}");
}

#[test]
fn a_component_of_another_world_is_refused_with_what_is_expected() {
    let component = b"\0asm\x0d\0\x01\0";
    let (_network, errors) = agent_errors(
        |plugins| fs::write(plugins.join("other.wasm"), component).unwrap(),
        "other.wasm",
    );
    assert!(errors.contains("huly:network/guest"), "{errors}");
}

#[test]
fn an_empty_plugin_directory_is_a_warning_that_says_what_to_do() {
    let mut network = Network::start(0, &[]);
    network.add_agent(&[]);
    network.agents[0].process.wait_for_error(".wasm");
    assert_eq!(network.agents[0].ready["kinds"], json!([]));

    let output = network.run(&["call", "echo", "who"]);
    assert!(output.refusal(1).contains("echo"), "{output:?}");
}

#[test]
fn a_missing_plugin_directory_is_an_error() {
    let output = Output::of(hulynet().args(["agent", "--plugins", "/nonexistent/plugins"]));
    assert!(output.refusal(2).contains("/nonexistent/plugins"), "{output:?}");
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    for (arguments, flag) in [
        (&["coordinator", "--listen", &address][..], "with --listen"),
        (&["agent", "--listen", &address], "with --agent-listen"),
        (&["up", "--listen", &address], "with --listen"),
    ] {
        let output = Output::of(hulynet().args(arguments).current_dir(directory.path()));
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.err.contains(&address), "{output:?}");
        assert!(output.err.contains("in use"), "{output:?}");
        assert!(output.err.contains(flag), "the remedy: {output:?}");
    }
}

#[test]
fn a_coordinator_that_is_not_there_is_named_with_the_remedy() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let output =
        Output::of(hulynet().args(["list", "--coordinator", &address, "--timeout", "500ms"]));
    let message = output.refusal(3);
    assert!(message.contains(&address), "{message}");
    assert!(message.contains("hulynet up"), "{message}");
}

/// The address of a coordinator that speaks version 9 of the protocol: it
/// answers hello with a welcome of which no more can be read.
fn foreign_coordinator() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    let ready = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
    let welcome = b"\0\x05\xa1\x01\x09\xff\xff";
    let answer = [&greeting[..], ready, welcome].concat();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, answer) = (connection.unwrap(), answer.clone());
            thread::spawn(move || {
                // Whoever only looks whether somebody listens hears nothing.
                let _heard = connection.write_all(&answer);
                io::copy(&mut connection, &mut io::sink())
            });
        }
    });
    address
}

#[test]
fn a_coordinator_of_another_version_is_an_error_at_once_with_both_versions_and_the_remedy() {
    let address = foreign_coordinator();
    let output = Output::of(hulynet().args(["agents", "--coordinator", &address]));
    let message = output.refusal(1);
    let versions = format!(" of the protocol and {address} version 9;");
    assert!(message.contains(&versions), "{message}");
    assert!(message.contains("run the same release of hulynet on both sides"), "{message}");

    let directory = tempfile::tempdir().unwrap();
    let agent = Process::start(
        hulynet()
            .args(["agent", "--json", "--listen", "127.0.0.1:0", "--coordinator", &address])
            .current_dir(directory.path()),
    );
    agent.wait_for_error(&versions);
}

#[test]
fn an_agent_waits_for_a_coordinator_that_is_not_there_yet() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    install("counter", &plugins);
    let agent = Process::start(
        hulynet()
            .args(["agent", "--json", "--listen", "127.0.0.1:0", "--coordinator", &address])
            .args(["--plugins", "plugins"])
            .current_dir(directory.path()),
    );
    let _ready = agent.line();
    agent.wait_for_error(&address);

    let coordinator =
        Process::start(hulynet().args(["coordinator", "--json", "--listen", &address]));
    let _ready = coordinator.line();
    let output = eventually("the agent's kinds", || {
        let output = Output::of(hulynet().args(["kinds", "--json", "--coordinator", &address]));
        (output.out.trim() == r#"["counter"]"#).then_some(output)
    });
    assert_eq!(output.code, Some(0));
}

#[test]
fn an_unknown_kind_operation_or_container_is_named() {
    let network = Network::start(1, &["echo"]);
    let kind = network.run(&["call", "ecko", "who"]);
    assert!(kind.refusal(1).contains("ecko"), "{kind:?}");
    assert!(kind.err.contains("echo"), "it names the kinds that are served: {kind:?}");

    let operation = network.run(&["call", "echo/a", "ad", "1"]);
    assert!(
        operation.refusal(1).contains("\"ad\"") || operation.err.contains("`ad`"),
        "{operation:?}"
    );
    assert!(operation.err.contains("add"), "it names the operations: {operation:?}");

    let container = network.run(&["terminate", "echo/nobody"]);
    assert!(container.refusal(1).contains("echo/nobody"), "{container:?}");
}

#[test]
fn a_uuid_that_exists_under_another_kind_is_an_error() {
    let mut network = Network::start(0, &[]);
    let plugins = network.path("agent-0");
    fs::create_dir_all(&plugins).unwrap();
    install("echo", &plugins);
    fs::copy(plugins.join("echo.wasm"), plugins.join("twin.wasm")).unwrap();
    network.add_agent(&[]);
    network.json(&["call", "echo/a", "add", "1"]);
    let output = network.run(&["call", "twin/a", "add", "1"]);
    assert!(output.refusal(2).contains("echo"), "{output:?}");
}

#[test]
fn arguments_of_the_wrong_shape_name_the_argument() {
    let network = Network::start(1, &["echo"]);
    let wrong = network.run(&["call", "echo/a", "add", r#"["five"]"#]);
    assert!(wrong.refusal(2).contains("argument \"n\""), "{wrong:?}");
    let many = network.run(&["call", "echo/a", "add", "[1, 2]"]);
    assert_eq!(many.code, Some(2), "{many:?}");
    let malformed = network.run(&["call", "echo/a", "add", "{\"n\": "]);
    assert!(malformed.refusal(2).contains("JSON"), "{malformed:?}");
    assert_eq!(network.json(&["call", "echo/a", "add", "1"]), json!(1), "it still works");
}

#[test]
fn a_payload_over_the_limit_is_refused_and_costs_nobody_else() {
    let network = Network::start(1, &["echo"]);
    let file = network.path("giant.json");
    fs::write(&file, format!("[\"{}\"]", "x".repeat(17 * 1024 * 1024))).unwrap();
    let output = Output::of(
        network.command(&["call", "echo/a", "echo", "-"]).stdin(fs::File::open(&file).unwrap()),
    );
    assert!(output.refusal(2).contains("16777216"), "{output:?}");
    assert_eq!(network.json(&["call", "echo/a", "add", "1"]), json!(1));
}

#[test]
fn a_trap_ends_only_its_container_and_answers_its_callers() {
    let network = Network::start(1, &["echo"]);
    network.json(&["call", "echo/healthy", "add", "1"]);
    let mut waiting = Process::start(&mut network.command(&["call", "echo/sick", "wait"]));
    eventually("the waiting request", || {
        let list = network.json(&["list"]);
        list.as_array().unwrap().iter().any(|c| c["uuid"] == "sick").then_some(())
    });
    let trap = network.run(&["call", "echo/sick", "trap"]);
    assert!(trap.refusal(1).contains("echo/sick"), "{trap:?}");
    assert!(!trap.err.contains("wasm backtrace"), "backtraces are for the operator: {trap:?}");
    network.agents[0].process.wait_for_error("echo/sick");
    assert!(!waiting.wait().success(), "its caller is answered");
    assert_eq!(network.json(&["call", "echo/sick", "add", "1"]), json!(1), "it starts anew");
}

#[test]
fn an_endless_computation_is_stopped_and_delays_nobody() {
    let network = Network::start(1, &["echo"]);
    network.json(&["get", "echo/busy"]);
    let mut spinning =
        Process::start(network.command(&["call", "echo/busy", "spin"]).args(["--timeout", "2s"]));
    assert_eq!(network.json(&["call", "echo/healthy", "add", "1"]), json!(1));
    assert!(!spinning.wait().success());
    network.agents[0].process.wait_for_error("echo/busy");
}

#[test]
fn a_container_over_its_memory_limit_ends_alone() {
    let network = Network::start(1, &["echo"]);
    let hungry = network.run(&["call", "echo/hungry", "grow"]);
    assert!(hungry.refusal(1).contains("container-memory"), "{hungry:?}");
    assert_eq!(network.json(&["call", "echo/healthy", "add", "1"]), json!(1));
}

#[test]
fn a_failure_in_a_containers_own_code_is_its_message() {
    let network = Network::start(1, &["echo"]);
    let output = network.run(&["call", "echo/a", "fail", r#"["out of tea"]"#]);
    assert!(output.refusal(1).contains("out of tea"), "{output:?}");
}

#[test]
fn a_configuration_with_an_unknown_key_names_the_line() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hulynet.toml"), "\ntimeot = \"7s\"\n").unwrap();
    let output = Output::of(hulynet().arg("config").current_dir(directory.path()));
    assert!(output.refusal(2).contains("hulynet.toml:2"), "{output:?}");
    assert!(output.err.contains("timeout"), "{output:?}");
}
