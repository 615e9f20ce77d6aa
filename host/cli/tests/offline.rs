//! The program without a network: help, completion, configuration, mistakes
//! and the exit code of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program in a directory of its own, without settings from outside.
fn run_in(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_hulynet"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Ran {
    run_in(tempfile::tempdir().unwrap().path(), &[], arguments)
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn help_teaches_the_commands_the_exit_codes_and_the_settings() {
    let ran = run(&["--help"]);
    assert_eq!(ran.code, 0);
    for word in ["hulynet up", "Exit codes:", "HULYNET_", "--coordinator", "import", "completion"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    for command in [
        "up",
        "coordinator",
        "agent",
        "get",
        "call",
        "connect",
        "list",
        "agents",
        "kinds",
        "inspect",
        "keygen",
        "sign",
        "verify",
        "terminate",
        "import",
        "config",
        "completion",
    ] {
        let ran = run(&[command, "--help"]);
        assert_eq!(ran.code, 0, "{command}");
        assert!(ran.out.contains("Usage: hulynet"), "{command}: {}", ran.out);
    }
    assert!(run(&["up", "--help"]).out.contains("no authentication"));
}

#[test]
fn wrong_usage_exits_with_two() {
    for arguments in [
        &["nonsense"][..],
        &[],
        &["call"],
        &["terminate", "echo"],
        &["get", "echo", "--label", "x"],
        &["import", "x.csv", "-w", "w"],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn completion_is_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("hulynet") && ran.out.contains("terminate"), "{shell}");
    }
}

#[test]
fn config_tells_where_each_value_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("hulynet.toml"),
        "# mine\ntimeout = \"9s\"\nlog = \"error\"\naccount = \"file\"\n",
    )
    .unwrap();
    let environment = [("HULYNET_LOG", "debug"), ("HULYNET_ACCOUNT", "environment")];
    let ran = run_in(directory.path(), &environment, &["config", "--json", "--account", "flag"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let config: Value = serde_json::from_str(&ran.out).unwrap();
    let setting = |key: &str| {
        let all = config["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(
        (&setting("account")["value"], &setting("account")["origin"]["name"]),
        (&"flag".into(), &"--account".into())
    );
    assert_eq!(setting("log")["origin"]["name"], "HULYNET_LOG");
    assert_eq!(setting("timeout")["value"], "9s");
    assert_eq!(
        (&setting("timeout")["origin"]["from"], &setting("timeout")["origin"]["line"]),
        (&"file".into(), &2.into())
    );
    assert_eq!(setting("listen")["origin"]["from"], "default");
    assert_eq!(config["file"], "hulynet.toml");

    let table = run_in(directory.path(), &environment, &["config"]).out;
    assert!(
        table.contains("hulynet.toml:2") && table.contains("environment HULYNET_LOG"),
        "{table}"
    );
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hulynet.toml"), "\ntimeuot = \"9s\"\n").unwrap();
    let ran = run_in(directory.path(), &[], &["list"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("hulynet.toml:2") && ran.err.contains("did you mean \"timeout\"?"),
        "{}",
        ran.err
    );
    let ran = run(&["list", "--timeout", "5"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("flag --timeout") && ran.err.contains("30s"), "{}", ran.err);
    let ran = run(&["list", "--config", "missing.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("missing.toml"), "{}", ran.err);
}

#[test]
fn malformed_arguments_are_shown_before_anybody_is_asked() {
    let ran = run(&["call", "echo", "echo", "{\"a\": }", "--coordinator", &nobody()]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("column 7") && ran.err.contains('^'), "{}", ran.err);
    let ran = run(&["call", "echo", "echo", "hello", "--json"]);
    assert_eq!(ran.code, 2);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["exit"], 2);
}

#[test]
fn a_missing_coordinator_is_told_at_once() {
    let address = nobody();
    for arguments in [
        &["list"][..],
        &["agents"],
        &["kinds"],
        &["get", "echo"],
        &["call", "echo", "echo"],
        &["connect", "echo"],
        &["terminate", "echo/a"],
    ] {
        let begun = Instant::now();
        let ran = run(&[arguments, &["--coordinator", &address]].concat());
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(ran.code, 3, "{arguments:?}: {}", ran.err);
        let told = format!(
            "no coordinator answers at {address} (connection refused); start one with 'hulynet up'"
        );
        assert!(ran.err.contains(&told), "{}", ran.err);
    }
}

#[test]
fn a_coordinator_that_accepts_and_stays_silent_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let ran = run(&["list", "--coordinator", &address, "--timeout", "300ms"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains(&address), "{}", ran.err);
    assert_eq!(ran.err.matches("no coordinator answers").count(), 1, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_source_that_is_not_there_is_told_before_the_network_is_asked() {
    for source in ["missing.jsonl", "missing.json.zst", "git:missing"] {
        let ran = run(&["import", source, "--workspace", "w", "--coordinator", &nobody()]);
        assert_eq!(ran.code, 2, "{source}: {}", ran.err);
        assert!(ran.err.contains("missing"), "{}", ran.err);
    }
}

#[test]
fn a_port_in_use_is_told_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [
        &["coordinator", "--listen", &address][..],
        &["agent", "--listen", &address],
        &["up", "--listen", &address, "--agent-listen", "127.0.0.1:0"],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(&address) && ran.err.contains("in use"), "{}", ran.err);
    }
}

#[test]
fn a_mistake_in_the_accepted_networks_is_told_with_its_place_and_the_remedy() {
    let ran = run(&["coordinator", "--accept", "10.1.2.3/16"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("flag --accept: accept takes") && ran.err.contains("write 10.1.0.0/16"),
        "{}",
        ran.err
    );
    let directory = tempfile::tempdir().unwrap();
    let variable = [("HULYNET_ACCEPT", "here")];
    let ran = run_in(directory.path(), &variable, &["agent"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("environment HULYNET_ACCEPT: accept takes"), "{}", ran.err);
    fs::write(directory.path().join("hulynet.toml"), "accept = []\n").unwrap();
    let ran = run_in(directory.path(), &[], &["up"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("hulynet.toml:1: accept") && ran.err.contains("names nobody"),
        "{}",
        ran.err
    );
}

#[test]
fn a_secret_that_cannot_be_used_is_told_with_the_remedy_before_anything_begins() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("network.secret");
    let nobody = nobody();
    let told = |why: &str| {
        for arguments in [
            &["coordinator", "--listen", "127.0.0.1:0"][..],
            &["agent", "--listen", "127.0.0.1:0"],
            &["up", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0"],
            &["list", "--coordinator", &nobody],
        ] {
            let variable = [("HULYNET_SECRET_FILE", "network.secret")];
            let ran = run_in(directory.path(), &variable, arguments);
            assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
            for part in ["network.secret cannot be used", why, "head -c 32 /dev/urandom"] {
                assert!(ran.err.contains(part), "{arguments:?} {part}: {}", ran.err);
            }
            assert!(ran.out.is_empty(), "{}", ran.out);
        }
    };
    told("No such file");
    fs::write(&file, "\n").unwrap();
    told("it is empty");
    fs::write(&file, "0123456789\n").unwrap();
    told("it has 10 bytes, and at least 16 are needed");
    fs::write(&file, [b'x'; 5000]).unwrap();
    told("is it another file?");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    told("directory");
}

#[cfg(unix)]
#[test]
fn a_secret_that_every_user_may_read_is_warned_of_and_its_content_not_shown() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("network.secret");
    let nobody = nobody();
    fs::write(&file, "correct horse battery\n").unwrap();
    for (mode, warned) in [(0o600, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let arguments = ["list", "--coordinator", &nobody, "--secret-file", "network.secret"];
        let ran = run_in(directory.path(), &[], &arguments);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert_eq!(ran.err.contains("may read the secret"), warned, "{}", ran.err);
        assert!(!ran.err.contains("correct horse"), "{}", ran.err);
    }
}

#[test]
fn a_network_that_would_shut_its_own_agent_out_is_told() {
    let arguments = ["--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0"];
    let ran = run(&[&["up", "--accept", "10.1.0.0/16"][..], &arguments].concat());
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("add 127.0.0.1"), "{}", ran.err);
}

#[test]
fn a_plugin_directory_that_was_named_must_exist() {
    for command in ["up", "agent"] {
        let ran = run(&[command, "--plugins", "no/such/kinds"]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("no/such/kinds"), "{}", ran.err);
    }
}

#[test]
fn what_a_key_signed_is_verified_and_what_changed_since_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), &[], arguments);
    let file = directory.path().join("a.wasm");
    fs::write(&file, b"\0asm\x0d\0\x01\0").unwrap();
    let made = run(&["keygen", "release.key"]);
    assert!(made.out.starts_with("ed25519:"), "{} {}", made.out, made.err);
    assert_eq!(run(&["keygen", "release.key"]).code, 2, "it would be lost");
    assert_eq!(run(&["verify", "a.wasm", "--key", "release.key.pub"]).code, 1, "nobody signed it");
    let unmade = run(&["sign", "a.wasm", "--key", "other.key"]);
    assert_eq!(unmade.code, 2);
    assert!(unmade.err.contains("name one that 'hulynet keygen' wrote"), "{}", unmade.err);
    let signed = run(&["sign", "a.wasm", "--key", "release.key"]);
    assert_eq!(signed.code, 0, "{}", signed.err);
    assert_eq!(run(&["verify", "a.wasm", "--key", made.out.trim()]).code, 0);
    fs::write(&file, b"changed").unwrap();
    let changed = run(&["verify", "a.wasm", "--key", "release.key.pub"]);
    assert!(changed.code == 1 && changed.err.contains("wrongly signed"), "{}", changed.err);
}

#[test]
fn a_file_that_is_too_large_is_told_with_the_setting_that_allows_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.wasm"), [0; 1025]).unwrap();
    let run = |largest, arguments: &[&str]| {
        let with = [arguments, &["--largest-kind", largest]].concat();
        run_in(directory.path(), &[], &with)
    };
    let key = run_in(directory.path(), &[], &["keygen", "release.key"]).out;
    let sign = ["sign", "a.wasm", "--key", "release.key"];
    let verify = ["verify", "a.wasm", "--key", key.trim()];
    for arguments in [&["inspect", "a.wasm"][..], &sign, &verify] {
        let refused = run("1KiB", arguments);
        let told = "a.wasm is larger than 1024 bytes; strip it, or raise the setting largest-kind";
        assert!(refused.code == 2 && refused.err.contains(told), "{arguments:?}: {}", refused.err);
    }
    let read = run("2KiB", &["inspect", "a.wasm"]);
    assert!(read.out.contains("is not a WebAssembly file"), "{} {}", read.out, read.err);
    assert_eq!((run("2KiB", &sign).code, run("2KiB", &verify).code), (0, 0));
}

#[test]
fn inspect_tells_why_a_file_would_be_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(directory.path().join("a.toml"), "version = 1").unwrap();
    let ran = run_in(directory.path(), &[], &["inspect", "a.wasm"]);
    assert_eq!(ran.code, 1, "{} {}", ran.out, ran.err);
    for told in
        ["a would be refused", "a.toml:1: version takes", "is a core module and not a component"]
    {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
}
