//! Kinds that lie about sizes and forms.

use hulynet_protocol::{ErrorKind, Retry};

use crate::stage::{Stage, both};

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
    ]
    .iter()
    .flat_map(|attack| both(attack))
    {
        let error = stage.beside(stage.attack(&attack)).await.unwrap_err();
        let kinds = [ErrorKind::ContainerEnded, ErrorKind::StartFailed];
        assert!(kinds.contains(&error.kind), "{attack:?}: {error}");
        // The coordinator names the container that did not start.
        let named = error.kind == ErrorKind::StartFailed || error.message.contains(&attack);
        assert!(named, "{attack:?}: {error}");
        assert!(!error.message.contains("wasm backtrace"), "{attack:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_answer_is_refused_and_its_container_goes_on() {
    let stage = Stage::new(|config| config.limits.reply_bytes = 1 << 20).await;
    let remedies = [
        "stream larger ones, or answer in parts, or raise",
        "answer in parts that are asked for one by one, or raise",
    ];
    for (attack, remedy) in both("giant-reply").iter().zip(remedies) {
        let error = stage.beside(stage.attack(attack)).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::TooLarge, Retry::MaybeProcessed));
        assert!(error.message.contains("2097152 bytes"), "{error}");
        assert!(error.message.contains(remedy), "{error}");
        let again = stage.ask(attack, attack, "attack", "").await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::TooLarge);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_too_large_ends_its_stream_and_its_container_goes_on() {
    let stage = Stage::new(|config| config.limits.reply_bytes = 1_000).await;
    stage.start("hostile").await.unwrap();
    for _ in 0..2 {
        // Its items have more than a kibibyte.
        let mut chunks = stage.beside(stage.stream("endless")).await.unwrap();
        let error = chunks.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::TooLarge, Retry::Final));
        assert!(error.message.contains("bytes; at most 1000 are allowed"), "{error}");
        assert!(chunks.next().await.is_none(), "the error is the last item");
    }
}
