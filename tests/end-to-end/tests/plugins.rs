//! The plugin directory, manifests, grants and signatures, as an operator
//! meets them: files, commands and what the agent tells.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, net::TcpListener, path::Path, thread};

use end_to_end::{Network, Output, Process, eventually, hulynet, install, kinds};
use serde_json::{Value, json};

/// A core module, which is no kind.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Puts a file in its place at once, as a careful program does.
fn put(directory: &Path, name: &str, bytes: &[u8]) {
    let partial = directory.join(format!("{name}.partial"));
    fs::write(&partial, bytes).unwrap();
    fs::rename(partial, directory.join(name)).unwrap();
}

/// A kind with a section appended that changes nothing of what it does.
fn with_section(kind: &[u8], section: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_vec();
    append_section(&mut bytes, section, content);
    bytes
}

fn append_section(bytes: &mut Vec<u8>, section: u8, content: &[u8]) {
    bytes.push(section);
    bytes.extend(number(content.len()));
    bytes.extend(content);
}

/// As WebAssembly writes numbers without a sign.
fn number(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(0x80 | u8::try_from(rest & 0x7f).unwrap());
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A module of one function that no compiler is done with in a few seconds, and
/// that cannot be divided among threads: a hundred variables change in turn, each
/// only if it is not zero. With `echo` it is smaller than what is compiled one by
/// one.
fn laborious() -> Vec<u8> {
    const BRANCHES: usize = 130_000;
    let mut function = vec![1, 100, 0x7f];
    for branch in 0..BRANCHES {
        let [to, one, other] = [(7, 0), (13, 5), (29, 3)]
            .map(|(factor, offset)| u8::try_from((factor * branch + offset) % 100).unwrap());
        function.extend([0x20, to, 0x04, 0x40]);
        function.extend([0x20, one, 0x20, other, 0x6a, 0x21, to, 0x0b]);
    }
    function.push(0x0b);
    let code = [vec![1], number(function.len()), function].concat();
    let mut module = MODULE.to_vec();
    append_section(&mut module, 1, &[1, 0x60, 0, 0]);
    append_section(&mut module, 3, &[1, 0]);
    append_section(&mut module, 10, &code);
    module
}

/// What `kinds --verbose` tells about a kind, as soon as it is in this state.
fn told(network: &Network, kind: &str, state: &str) -> Value {
    eventually(&format!("the kind {kind} {state}"), || {
        let all = network.json(&["kinds", "--verbose"]);
        let found = all.as_array().unwrap().iter().find(|told| told["kind"] == kind).cloned();
        found.filter(|told| told["state"] == state)
    })
}

/// An offline command in a directory.
fn offline(directory: &Path, arguments: &[&str]) -> Output {
    Output::of(hulynet().args(arguments).current_dir(directory))
}

#[test]
fn a_kind_is_dropped_in_replaced_spoilt_and_removed_while_a_container_goes_on() {
    let network = Network::start(1, &[]);
    let agent = &network.agents[0];
    install("echo", &agent.plugins);
    let first = told(&network, "echo", "serving");
    assert_eq!(network.json(&["kinds"]), json!(["echo"]));
    let listener = Process::start(&mut network.command(&["connect", "echo/old"]));
    listener.wait_for_error("connected to echo/old");
    assert_eq!(network.json(&["call", "echo/old", "add", "5"]), json!(5));

    put(
        &agent.plugins,
        "echo.toml",
        b"version = \"2\"\ndescription = \"says it again\"\n[asks]\ncontainers = [\"*\"]\n",
    );
    let second = eventually("the second version", || {
        let told = told(&network, "echo", "serving");
        (told["version"] == "2").then_some(told)
    });
    assert_eq!(
        (&second["hash"], &second["description"]),
        (&first["hash"], &json!("says it again"))
    );
    network.json(&["call", "echo/new", "add", "1"]);
    let both = told(&network, "echo", "serving");
    assert_eq!((&both["containers"], &both["newest"]), (&json!(2), &json!(1)));

    put(&agent.plugins, "echo.wasm", MODULE);
    let refused = told(&network, "echo", "refused");
    assert!(refused["reason"].as_str().unwrap().contains("is a core module"), "{refused}");
    assert_eq!(refused["hash"], first["hash"], "what served before goes on");
    agent.process.wait_for_error("refused, the version before goes on");
    assert_eq!(network.json(&["call", "echo/other", "add", "1"]), json!(1));

    fs::remove_file(agent.plugins.join("echo.wasm")).unwrap();
    told(&network, "echo", "draining");
    assert_eq!(network.json(&["kinds"]), json!([]));
    let unserved = network.run(&["call", "echo/late", "add", "1"]);
    assert!(unserved.refusal(1).contains("no agent serves the kind \"echo\""), "{unserved:?}");
    assert_eq!(network.json(&["call", "echo/old", "add", "5"]), json!(10), "it drains");
}

#[test]
fn several_kinds_are_compiled_at_once_and_told_about_while_others_are_served() {
    const NEW: [&str; 3] = ["new-a", "new-b", "new-c"];
    let network = Network::start(1, &["echo"]);
    let agent = &network.agents[0];
    let (echo, laborious) = (fs::read(kinds().join("echo.wasm")).unwrap(), laborious());
    for name in NEW {
        // Each has a code of its own.
        let named = with_section(&echo, 0, &[&[5], name.as_bytes()].concat());
        put(&agent.plugins, &format!("{name}.wasm"), &with_section(&named, 1, &laborious));
    }
    let begins = "compiling kinds: 0 of 3 done, working on ";
    let told = eventually("the progress", || {
        let errors = agent.process.errors();
        let (_, told) = errors.split_once(begins)?;
        told.split_once('\n').map(|(line, _)| line.to_owned())
    });
    let working: Vec<&str> = told.split(", ").collect();
    let threads = thread::available_parallelism().unwrap().get();
    assert_eq!(working.len(), threads.min(NEW.len()), "{told}");
    for (kind, expected) in working.iter().zip(NEW) {
        assert!(kind.starts_with(&format!("{expected} (")) && kind.ends_with("B)"), "{told}");
    }
    assert_eq!(network.json(&["call", "echo/a", "add", "5"]), json!(5));
    assert_eq!(network.json(&["kinds"]), json!(["echo"]), "the new ones are not compiled yet");
}

#[test]
fn kinds_verbose_tells_an_operator_everything_about_a_kind() {
    let mut network = Network::start(0, &[]);
    let grants = network.path("grants.toml");
    fs::write(
        &grants,
        "[kind.echo]\ncontainers = [\"*\"]\n[kind.echo.limits]\nmemory = \"8 MiB\"\n",
    )
    .unwrap();
    network.add_agent_with("x", &["echo"], &["--grants", grants.to_str().unwrap()]);
    let told = told(&network, "echo", "serving");
    assert_eq!(told["agent"], network.agent(0));
    assert_eq!(told["hash"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&told["asked"], &told["granted"]),
        (&json!("containers = [\"*\"]"), &told["asked"])
    );
    assert_eq!(told["limits"]["memory"], "8MiB");
    assert_eq!((&told["version"], &told["signer"]), (&json!("0.1.0"), &Value::Null));
    network.json(&["call", "echo/a", "add", "1"]);
    let text = network.run(&["kinds", "--verbose"]).text().to_owned();
    for line in [
        &format!("echo on the agent {}: serving", network.agent(0)),
        "  version: 0.1.0",
        "  asks for: containers = [\"*\"]",
        "  is granted: containers = [\"*\"]",
        "  limits: memory 8MiB",
        "  containers: 1",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

#[test]
fn what_is_asked_and_not_granted_is_told_at_load_with_the_remedy() {
    let mut network = Network::start(0, &[]);
    fs::write(network.path("grants.toml"), "[kind.other]\ndocuments = true\n").unwrap();
    let grants = network.path("grants.toml");
    network.add_agent_with("x", &["echo"], &["--grants", grants.to_str().unwrap()]);
    let refused = told(&network, "echo", "refused");
    let reason = "asks for containers = [\"*\"], and this agent grants it nothing; add to the agent's \
                  grants, under [kind.echo] and one a line, and start it again: containers = [\"*\"]";
    assert!(refused["reason"].as_str().unwrap().ends_with(reason), "{refused}");
    network.agents[0].process.wait_for_error(reason);
    assert_eq!(network.json(&["kinds"]), json!([]), "it is an error at load and not at the call");
}

#[test]
fn a_mistake_in_the_grants_stops_the_agent_and_points_at_its_line() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("plugins")).unwrap();
    for (text, told) in [
        (
            "[kind.echo]\ncontainer = [\"*\"]",
            "grants.toml:2: there is no key \"kind.echo.container\"",
        ),
        ("[default.limits]\n\nmemory = 5", "grants.toml:3: default.limits.memory takes a size"),
        ("[default", "grants.toml:1"),
    ] {
        fs::write(directory.path().join("grants.toml"), text).unwrap();
        let arguments =
            ["agent", "--plugins", "plugins", "--listen", "127.0.0.1:0", "--grants", "grants.toml"];
        let output = offline(directory.path(), &arguments);
        assert!(output.refusal(2).contains(told), "{output:?}");
    }
    let arguments = ["agent", "--plugins", "plugins", "--grants", "missing.toml"];
    let output = offline(directory.path(), &arguments);
    assert!(output.refusal(2).contains("missing.toml"), "{output:?}");
}

#[test]
fn inspect_judges_a_file_as_an_agent_would() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    install("echo", path);
    let nothing = offline(path, &["inspect", "echo.wasm"]);
    let remedy = "add to the agent's grants, under [kind.echo] and one a line, and start it again: containers = [\"*\"]";
    assert!(nothing.out.contains("this agent grants it nothing"), "{nothing:?}");
    assert!(nothing.out.contains(remedy), "{nothing:?}");
    fs::create_dir(path.join(".hulynet")).unwrap();
    fs::write(path.join(".hulynet/grants.toml"), "[kind.echo]\ncontainers = [\"*\"]\n").unwrap();
    let good = offline(path, &["inspect", "echo.wasm"]);
    for line in [
        "echo would be served",
        "world: container\n",
        "requests: concurrent",
        "asks for: containers = [\"*\"]",
        "imports: huly:network/",
    ] {
        assert!(good.text().contains(line), "{line:?}: {good:?}");
    }
    let told = offline(path, &["inspect", "echo.wasm", "--json"]).json();
    assert_eq!((&told["served"], &told["refusals"]), (&json!(true), &json!([])));
    assert_eq!((&told["world"], &told["concurrency"]), (&json!("container"), &json!("concurrent")));
    assert_eq!(told["bytes"], fs::metadata(kinds().join("echo.wasm")).unwrap().len());

    fs::write(path.join("echo.toml"), "version = \"1\"\n[ask]\n").unwrap();
    let manifest = offline(path, &["inspect", "echo.wasm"]);
    assert_eq!(manifest.code, Some(1), "{manifest:?}");
    let mistake = "echo.toml:2: there is no key \"ask\", did you mean \"asks\"?";
    assert!(manifest.out.contains(mistake), "{manifest:?}");
    fs::write(path.join("echo.toml"), "").unwrap();
    let unasked = offline(path, &["inspect", "echo.wasm"]);
    let remedy = "its manifest does not ask for that; add to echo.toml, under [asks] and one a line: containers = [\"*\"]";
    assert!(unasked.out.contains(remedy), "{unasked:?}");
    let slow = "[asks]\ncontainers = [\"*\"]\n[limits]\nstart = \"10s\"\n";
    fs::write(path.join("echo.toml"), slow).unwrap();
    assert_eq!(offline(path, &["inspect", "echo.wasm"]).code, Some(0));
    let late = offline(path, &["inspect", "echo.wasm", "--start-timeout", "5s"]);
    let allowed = "asks for start = \"10s\", and this agent allows it 5s";
    assert!(late.out.contains(allowed), "{late:?}");

    fs::remove_file(path.join("echo.toml")).unwrap();
    fs::write(path.join("none.toml"), "").unwrap();
    let ungranted = offline(path, &["inspect", "echo.wasm", "--grants", "none.toml"]);
    assert!(ungranted.out.contains("this agent grants it nothing"), "{ungranted:?}");
    let whole = fs::read(path.join("echo.wasm")).unwrap();
    fs::write(path.join("half.wasm"), &whole[..whole.len() / 2]).unwrap();
    let half = offline(path, &["inspect", "half.wasm", "--json"]);
    assert_eq!(half.code, Some(1), "{half:?}");
    let half: Value = serde_json::from_str(&half.out).unwrap();
    assert!(half["refusals"][0].as_str().unwrap().contains("is truncated"), "{half}");
    let missing = offline(path, &["inspect", "missing.wasm"]);
    assert!(missing.refusal(2).contains("missing.wasm cannot be read"), "{missing:?}");
    let other = offline(path, &["inspect", "none.toml"]);
    assert!(other.refusal(2).contains("is no .wasm file"), "{other:?}");
}

#[test]
fn an_agent_with_trusted_keys_serves_only_what_they_signed() {
    let mut network = Network::start(0, &[]);
    let path = network.path("");
    let made = offline(&path, &["keygen", "release.key"]);
    let public = made.text().trim().to_owned();
    offline(&path, &["keygen", "other.key"]).text();
    network.add_agent_with("x", &["echo"], &["--trusted-keys", &public]);
    let plugins = network.agents[0].plugins.clone();
    let reason = |text: &str| {
        eventually(text, || {
            let told = told(&network, "echo", "refused");
            told["reason"].as_str().unwrap().contains(text).then_some(())
        });
    };
    reason("is not signed");
    let sign = |key: &str| {
        let key = path.join(key).display().to_string();
        offline(&plugins, &["sign", "echo.wasm", "--key", &key]).text().to_owned()
    };
    assert!(sign("other.key").contains("echo.sig"));
    reason("which is not trusted");
    sign("release.key");
    assert_eq!(told(&network, "echo", "serving")["signer"], json!(public));
    offline(&plugins, &["verify", "echo.wasm", "--key", &public]).text();
    assert_eq!(network.json(&["call", "echo/a", "add", "1"]), json!(1));

    // Whoever may write files may not change what a kind asks for.
    put(&plugins, "echo.toml", b"[asks]\ncontainers = [\"*\"]\n");
    reason("is wrongly signed");
    let verified = offline(&plugins, &["verify", "echo.wasm", "--key", &public]);
    assert!(verified.refusal(1).contains("is wrongly signed"), "{verified:?}");
    sign("release.key");
    told(&network, "echo", "serving");
}

#[test]
fn a_port_in_use_is_told_before_anything_is_compiled() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    install("echo", &plugins);
    let arguments = ["agent", "--plugins", "plugins", "--cache", "cache", "--listen", &address];
    let output = offline(directory.path(), &arguments);
    assert!(output.refusal(2).contains("in use"), "{output:?}");
    let compiled = fs::read_dir(directory.path().join("cache")).map_or(0, Iterator::count);
    assert_eq!(compiled, 0, "{output:?}");
}
