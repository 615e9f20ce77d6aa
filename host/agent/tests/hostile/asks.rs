//! Kinds that ask for more than they are given.

use std::{fs, sync::Arc};

use hulynet_agent::{AgentConfig, Capabilities, Grants};
use hulynet_protocol::{ErrorKind, KindState, NetworkError, Retry};

use crate::{
    stage::{Stage, id},
    support::Told,
};

/// What the other kinds of the stage need, and some more.
const DEFAULT: &str = "[default]\ncontainers = [\"*\"]\ndocuments = true\n";

/// The kind `hostile` with this manifest among these grants.
fn terms(asks: &str, grants: &str) -> impl FnOnce(&mut AgentConfig) + use<> {
    let manifest = format!("[asks]\n{asks}");
    let grants = Grants::parse("grants.toml", &format!("{DEFAULT}{grants}")).unwrap();
    move |config| {
        fs::write(config.plugins.join("hostile.toml"), manifest).unwrap();
        config.grants = Arc::new(grants);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_asks_for_everything_is_refused_and_told_all_that_is_missing() {
    let all = Capabilities::all();
    // Each as it stands in a file.
    let everything: Vec<String> = all
        .iter()
        .map(|(capability, names)| Capabilities::from_iter([(capability, names.clone())]))
        .map(|one| one.to_string())
        .collect();
    let granted = |asked: &&String| DEFAULT.lines().any(|line| line == **asked);
    let (given, missing): (Vec<_>, Vec<_>) = everything.iter().partition(granted);
    assert_eq!(given, ["containers = [\"*\"]", "documents = true"]);
    let missing = missing.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let stage = Stage::new(terms(&everything.join("\n"), "")).await;
    let report = stage.report("hostile").await;
    assert_eq!(report.state, KindState::Refused);
    let reason = report.reason.unwrap();
    assert!(reason.contains(&format!("asks for {missing}, and this agent grants")), "{reason}");
    let remedy = format!("under [kind.hostile] and one a line, and start it again: {missing}");
    assert!(reason.contains(&remedy), "{reason}");
    let error = stage.beside(stage.start("hostile")).await.unwrap_err();
    assert!(error.message.contains("other-tenants"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_tries_everything_gets_nothing() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let got = stage.beside(stage.ask("hostile", "hostile", "pry", "")).await.unwrap();
    assert_eq!(got, "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_and_secrets_are_those_that_were_asked_for_and_granted() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "sesame\n").unwrap();
    let asks = "documents = true\ncontainers = [\"*\"]\nenvironment = [\"REGION\"]\nsecrets = [\"TOKEN\"]\n";
    let grants = format!(
        "environment = [\"*\"]\n[kind.hostile]\nsecrets = [\"*\"]\n\
         [environment]\nREGION = \"europe\"\nZONE = \"1\"\n\
         [secrets]\nTOKEN = {token:?}\nKEY = {token:?}\n"
    );
    let stage = Stage::new(terms(asks, &grants)).await;
    stage.start("hostile").await.unwrap();
    let values =
        [("REGION", "\"europe\""), ("TOKEN", "\"sesame\""), ("ZONE", "null"), ("KEY", "null")];
    for (name, value) in values.into_iter().chain([("PATH", "null")]) {
        let arguments = format!("[{name:?}]");
        let told = stage.beside(stage.ask("hostile", "hostile", "variable", &arguments)).await;
        assert_eq!(told.unwrap(), value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_draws_random_bytes_without_measure_ends() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let drawn = stage.ask("hostile", "hostile", "draw", "[1048576]").await.unwrap();
    assert_eq!(drawn, "1048576");
    let drawing = stage.ask("hostile", "hostile", "draw", "[1048577]");
    let error = stage.beside(drawing).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::ContainerEnded, Retry::MaybeProcessed));
    assert!(error.message.contains("requested len 1048577 exceeds limit 1048576"), "{error}");
}

/// Lets a container crash. Ends when its agent has counted that, which is after
/// the caller has its answer.
async fn crashed(stage: &mut Stage, attack: &str, uuid: &str) -> NetworkError {
    let error = stage.beside(stage.ask(attack, uuid, "attack", "")).await.unwrap_err();
    match stage.world.coordinator.told().await {
        Told::Ended(ended, _) => assert_eq!(ended, id(attack, uuid)),
        other => panic!("expected an ending, was told {other:?}"),
    }
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_whose_containers_crash_one_after_the_other_is_quarantined_and_says_so() {
    let mut stage = Stage::new(|_| {}).await;
    let attack = "trap-in-request";
    for number in 0..5 {
        let uuid = format!("crashing-{number}");
        stage.start_with(attack, &uuid, "").await.unwrap();
        assert_eq!(crashed(&mut stage, attack, &uuid).await.kind, ErrorKind::ContainerEnded);
    }
    let error = stage.beside(stage.start(attack)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::StartFailed, Retry::NotProcessed));
    assert!(error.message.contains("trap-in-request is quarantined for"), "{error}");
    assert!(error.message.contains("`unreachable` instruction executed"), "{error}");
    let report = stage.report(attack).await;
    assert_eq!(report.state, KindState::Quarantined);
    assert!(report.reason.unwrap().contains("`unreachable` instruction executed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_says_by_kind_and_tenant_what_a_crash_loop_is() {
    let attack = "trap-in-request";
    let grants = format!(
        "{DEFAULT}[kind.{attack}.limits]\ncrashes = 3\nquarantine = \"1 m\"\n\
         [tenant.acme.limits]\ncrashes = 1\n"
    );
    let grants = Grants::parse("grants.toml", &grants).unwrap();
    let mut stage = Stage::new(|config| config.grants = Arc::new(grants)).await;
    let mut crash = async |tenant: &'static str, uuid: &'static str| {
        stage.start_for(tenant, attack, uuid).await?;
        let limits = stage.limits(attack, uuid).await;
        let crashes = limits.iter().find(|limit| limit.name == "crashes").unwrap().allowed;
        crashed(&mut stage, attack, uuid).await;
        Ok::<_, NetworkError>(crashes)
    };
    assert_eq!(crash("acme", "a").await.unwrap(), 1);
    let error = crash("acme", "b").await.unwrap_err();
    for part in ["is quarantined for 60 s more", "its containers of the tenant \"acme\" crash"] {
        assert!(error.message.contains(part), "{part} in {error}");
    }
    for uuid in ["c", "d", "e"] {
        assert_eq!(crash("other", uuid).await.unwrap(), 3);
    }
    let error = crash("other", "f").await.unwrap_err();
    assert!(error.message.contains("the tenant \"other\""), "{error}");
    stage.start(attack).await.unwrap();
    let report = stage.report(attack).await;
    assert_eq!(report.state, KindState::Quarantined);
    assert!(report.reason.unwrap().contains("for the tenant \"acme\""));
}
