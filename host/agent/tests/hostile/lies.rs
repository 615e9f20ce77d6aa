//! Kinds that lie about sizes and forms.

use hulynet_protocol::{ErrorKind, Retry};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_what_it_claims_ends_its_container_only() {
    let stage = Stage::new(|_| {}).await;
    for attack in [
        "payload-outside",
        "length-wraps",
        "text-not-utf8",
        "unknown-case",
        "realloc-outside",
        "monstrous-reply",
        "log-lies",
    ] {
        let error = stage.beside(stage.attack(attack)).await.unwrap_err();
        let kinds = [ErrorKind::ContainerEnded, ErrorKind::StartFailed];
        assert!(kinds.contains(&error.kind), "{attack:?}: {error}");
        // The coordinator names the container that did not start.
        let named = error.kind == ErrorKind::StartFailed || error.message.contains(attack);
        assert!(named, "{attack:?}: {error}");
        assert!(!error.message.contains("wasm backtrace"), "{attack:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_answer_is_refused_and_its_container_goes_on() {
    let stage = Stage::new(|config| config.limits.reply_bytes = 1 << 20).await;
    let attack = "giant-reply";
    let error = stage.beside(stage.attack(attack)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::TooLarge, Retry::MaybeProcessed));
    assert!(error.message.contains("2097152 bytes"), "{error}");
    assert!(error.message.contains("stream larger ones, or answer in parts, or raise"), "{error}");
    let again = stage.ask(attack, attack, "attack", "").await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::TooLarge);
}
