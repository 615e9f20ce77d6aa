//! What kinds ask for, are granted and are signed with.

use std::{fs, sync::Arc};

use bytes::Bytes;
use hulynet_agent::{Grants, KindPolicy, PrivateKey, inspect, sign};
use hulynet_protocol::{Call, ContainerCall, ErrorKind, Kind, KindReport, KindState, Labels};

use crate::{
    put, report, start_of,
    support::{PATIENCE, World, container_call, kind},
    variant,
};

#[tokio::test]
async fn what_is_asked_and_not_granted_is_an_error_at_load_and_the_manifest_limits_the_call() {
    let text = "[kind.narrow]\ncontainers = [\"*\"]\n";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let world = World::with(|config| config.grants = grants).await;
    let refused = report(&world, "echo", |report| report.state == KindState::Refused).await;
    let files = inspect(&world.plugins.join("echo.wasm"), KindPolicy::default(), None).unwrap();
    assert_eq!(refused.hash, Some(files.hash));
    assert_eq!((&*refused.asked, &*refused.granted), ("containers = [\"*\"]", ""));
    let reason = refused.reason.unwrap();
    for part in ["asks for containers = [\"*\"]", "grants it nothing", "[kind.echo]"] {
        assert!(reason.contains(part), "{part} in {reason}");
    }
    put(&world.plugins, "narrow.toml", b"[asks]\ncontainers = [\"other\"]\n");
    put(&world.plugins, "narrow.wasm", &variant(1));
    report(&world, "narrow", |report| report.state == KindState::Serving).await;
    start_of(&world, "narrow", "a").await.unwrap();
    let forward = async |kind: &str| {
        let mut call = container_call("a", "forward");
        call.target.id.kind = Kind::new("narrow").unwrap();
        let payload = Bytes::from(format!("[{kind:?}, \"x\", \"do\", 5000]"));
        world.client.call(Call::Container(call), payload, PATIENCE).await
    };
    forward("other").await.unwrap();
    let error = forward("another").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("may not ask for containers of the kind another"), "{error}");
}

#[tokio::test]
async fn what_a_refused_replacement_asks_for_is_told_beside_what_serves() {
    let world = World::new().await;
    let serving = report(&world, "echo", |report| report.state == KindState::Serving).await;
    let more = b"version = \"2\"\n[asks]\ncontainers = [\"*\"]\nsecrets = [\"TOKEN\"]\n";
    put(&world.plugins, "echo.toml", more);
    let refused = report(&world, "echo", |report| report.state == KindState::Refused).await;
    let hash = serving.hash.clone().unwrap();
    let told = format!(
        "; the version before goes on serving; the refused file: the hash {hash}, the version \"2\", asks for containers = [\"*\"], secrets = \
         [\"TOKEN\"]"
    );
    let reason = refused.reason.clone().unwrap();
    assert!(reason.ends_with(&told), "{reason}");
    // The rest is about the version that goes on.
    let (state, reason) = (serving.state, serving.reason.clone());
    assert_eq!(KindReport { state, reason, ..refused }, serving);
}

#[tokio::test]
async fn a_tenant_gets_what_the_operator_leaves_it_of_its_kind() {
    let text = "[default]\ncontainers = [\"*\"]\n[tenant.small.limits]\nmemory = \"64 KiB\"\n\
                [tenant.alone]\ncontainers = []\n";
    let grants = Arc::new(Grants::parse("grants.toml", text).unwrap());
    let world = World::with(|config| config.grants = grants).await;
    let start = async |uuid: &str, tenant: &str| {
        let labels = Labels::from([("workspace".to_owned(), tenant.to_owned())]);
        world.start_as(uuid, 1, labels).await
    };
    start("a", "other").await.unwrap();
    let error = start("b", "small").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::StartFailed, "{error}");
    assert!(error.message.contains("memory"), "{error}");
    let error = start("c", "alone").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert!(error.message.contains("the tenant \"alone\" is not granted"), "{error}");
}

#[tokio::test]
async fn how_long_a_send_takes_a_place_is_said_by_kind_and_by_tenant() {
    for whose in ["kind.echo", "tenant.acme"] {
        let text = format!(
            "[default]\ncontainers = [\"*\"]\n[default.limits]\nconcurrent = 1\nrequest = \"1h\"\n\
             [{whose}.limits]\nrequest = \"50ms\"\n"
        );
        let grants = Arc::new(Grants::parse("grants.toml", &text).unwrap());
        let world = World::with(|config| config.grants = grants).await;
        let labels = Labels::from([("workspace".to_owned(), "acme".to_owned())]);
        world.start_as("a", 1, labels).await.unwrap();
        let send = ContainerCall { send: true, ..container_call("a", "wait") };
        world.client.call(Call::Container(send), Bytes::new(), PATIENCE).await.unwrap();
        // The only place is taken until the send is given up.
        let answer = world.request("a", "echo", "on").await;
        assert_eq!(answer.as_deref(), Ok("on"), "by {whose}");
    }
}

#[test]
fn an_inspection_tells_of_a_secret_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, token) = (directory.path().join("echo.wasm"), directory.path().join("token"));
    fs::copy(kind("echo"), &path).unwrap();
    let asks = "[asks]\ncontainers = [\"*\"]\nsecrets = [\"TOKEN\"]\n";
    fs::write(path.with_extension("toml"), asks).unwrap();
    let text = format!(
        "[default]\ncontainers = [\"*\"]\nsecrets = [\"TOKEN\"]\n[secrets]\nTOKEN = {token:?}\n"
    );
    let grants = Arc::new(Grants::parse("grants.toml", &text).unwrap());
    let policy = KindPolicy { grants, ..KindPolicy::default() };
    let refusals = || inspect(&path, policy.clone(), None).unwrap().refusals;
    let missing = format!("its secret \"TOKEN\": {} cannot be read: No such file", token.display());
    assert!(matches!(&refusals()[..], [only] if only.starts_with(&missing)), "{:?}", refusals());
    fs::write(&token, "correct horse\n").unwrap();
    assert_eq!(refusals(), [""; 0]);
}

#[tokio::test]
async fn only_what_a_trusted_key_signed_is_served() {
    let key = PrivateKey::from_random([7; 32]);
    let world = World::with(|config| config.trusted = vec![key.public()]).await;
    let unsigned = report(&world, "echo", |report| report.state == KindState::Refused).await;
    assert!(unsigned.reason.unwrap().contains("is not signed"));
    sign(&world.plugins.join("echo.wasm"), usize::MAX, &PrivateKey::from_random([8; 32])).unwrap();
    let reason = |text: &'static str| {
        move |report: &KindReport| report.reason.as_ref().is_some_and(|why| why.contains(text))
    };
    report(&world, "echo", reason("which is not trusted")).await;
    sign(&world.plugins.join("echo.wasm"), usize::MAX, &key).unwrap();
    let served = report(&world, "echo", |report| report.state == KindState::Serving).await;
    assert_eq!(served.signer, Some(key.public().to_string()));
    put(&world.plugins, "echo.wasm", &variant(1));
    report(&world, "echo", reason("is wrongly signed")).await;
}
