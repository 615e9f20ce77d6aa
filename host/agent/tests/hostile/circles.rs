//! Containers that ask one another in a circle, and callers that give up.

use std::time::Duration;

use bytes::Bytes;
use hulynet_protocol::{Call, ErrorKind, Retry};

use crate::{
    stage::{Stage, call, id},
    support::PATIENCE,
};

/// From `a` to `a`.
const ITSELF: &str = r#"["a", ["a"]]"#;
/// From `a` to `b` and back to `a`.
const AROUND: &str = r#"["a", ["b", "a"]]"#;

async fn pair(stage: &Stage) {
    for uuid in ["a", "b"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_is_served_by_containers_that_work_on_several_requests() {
    let stage = Stage::new(|_| {}).await;
    pair(&stage).await;
    for way in [AROUND, ITSELF] {
        let answer = stage.beside(stage.ask("hostile", "a", "around", way)).await.unwrap();
        assert_eq!(answer, "\"a was reached\"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_through_a_method_that_works_alone_is_refused_at_once() {
    let stage = Stage::new(|_| {}).await;
    pair(&stage).await;
    for (way, told) in
        [(AROUND, "hostile/a → hostile/b → hostile/a"), (ITSELF, "hostile/a → hostile/a")]
    {
        let asked = stage.beside(stage.ask("hostile", "a", "around_alone", way));
        let error = asked.await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::Final), "{error}");
        assert!(error.message.contains(told), "{error}");
    }
    let answer = stage.ask("hostile", "a", "around_alone", r#"["a", []]"#).await.unwrap();
    assert_eq!(answer, "\"a was reached\"", "nothing is left locked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_through_a_container_that_takes_one_request_is_refused_at_once() {
    let stage = Stage::new(|config| config.limits.concurrent = 1).await;
    pair(&stage).await;
    let error = stage.beside(stage.ask("hostile", "a", "around", AROUND)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::Final), "{error}");
    assert!(error.message.contains("works on one request at a time"), "{error}");
    assert!(error.message.contains("hostile/a → hostile/b → hostile/a"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_through_containers_that_do_one_thing_at_a_time_is_refused_at_once() {
    let stage = Stage::new(|_| {}).await;
    for uuid in ["a", "b", "c"] {
        stage.start_with("serial", uuid, "").await.unwrap();
    }
    for (way, told) in [
        ("b a", "serial/a → serial/b → serial/a"),
        ("b c b", "serial/a → serial/b → serial/c → serial/b"),
        ("a", "serial/a → serial/a"),
    ] {
        let error = stage.beside(stage.ask("serial", "a", "around", way)).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::Final), "{error}");
        assert!(error.message.contains(&format!("for itself: {told};")), "{error}");
    }
    let answer = stage.ask("serial", "a", "around", "b c").await.unwrap();
    assert_eq!(answer, "c was reached", "nothing waits any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_work_alone_and_ask_each_other_for_two_callers_wait_until_the_deadline() {
    let stage = Stage::new(|_| {}).await;
    pair(&stage).await;
    stage.start_with("hostile", "c", "").await.unwrap();
    let soon = Duration::from_secs(1);
    let cross = |from, to| stage.ask_within(soon, "hostile", from, "cross", to);
    let crossing = async { tokio::join!(cross("a", r#"["b", "c"]"#), cross("b", r#"["a", "c"]"#)) };
    let (a, b) = stage.beside(crossing).await;
    for crossed in [a, b] {
        assert_eq!(crossed.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    }
    for (from, to) in [("a", "b"), ("b", "a")] {
        let way = format!(r#"["{from}", ["{to}"]]"#);
        let answer = stage.ask("hostile", from, "around_alone", &way).await;
        assert_eq!(answer.unwrap(), format!("\"{to} was reached\""), "nothing is left locked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_what_is_only_sent() {
    let stage = Stage::new(|_| {}).await;
    pair(&stage).await;
    for (send, waiting) in [(false, "2"), (true, "0")] {
        let mut asked = call(id("hostile", "a"), "remember");
        asked.caller.path = vec![id("hostile", "b"), id("hostile", "a")];
        asked.send = send;
        let asked = stage.world.client.call(Call::Container(asked), Bytes::new(), PATIENCE);
        stage.beside(asked).await.unwrap();
        assert_eq!(stage.ask("hostile", "a", "remembered", "").await.unwrap(), waiting);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_nested_too_deep_are_refused() {
    let stage = Stage::new(|config| config.limits.depth = 3).await;
    pair(&stage).await;
    let deep = r#"["a", ["b", "a", "b", "a"]]"#;
    let error = stage.beside(stage.ask("hostile", "a", "around", deep)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::Final), "{error}");
    assert!(error.message.contains("at most 3 may"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_whose_caller_gives_up_is_dropped_and_lets_go_of_what_it_holds() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let soon = Duration::from_millis(100);
    let held = stage.beside(stage.ask_within(soon, "hostile", "hostile", "hold", ""));
    assert_eq!(held.await.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    // It had the container for itself.
    let got = stage.ask("hostile", "hostile", "pry", "").await.unwrap();
    assert_eq!(got, "[]");
}
