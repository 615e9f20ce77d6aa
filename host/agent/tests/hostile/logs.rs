//! What the operator reads about containers, and their callers do not.

use hulynet_protocol::{Call, ErrorKind, Target};

use crate::{
    stage::{Stage, id},
    support::{PATIENCE, listen, log, logged, told_of},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_told_where_in_its_code_a_container_failed_and_the_caller_is_not() {
    listen();
    let stage = Stage::new(|_| {}).await;
    let attack = "trap-in-request";
    stage.start_with(attack, "failing", "").await.unwrap();
    let error = stage.beside(stage.ask(attack, "failing", "attack", "")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerEnded);
    assert!(error.message.contains("trap-in-request/failing"), "{error}");
    assert!(error.message.contains("`unreachable` instruction executed"), "{error}");
    assert!(!error.message.contains("backtrace"), "{error}");
    let ending = told_of("the container ended: it failed", "trap-in-request/failing").await;
    assert!(ending.contains("wasm backtrace"), "{ending}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_container_prints_is_in_the_log_line_by_line_with_its_name() {
    listen();
    let stage = Stage::new(|_| {}).await;
    stage.start_with("hostile", "printing", "").await.unwrap();
    let words = r#"["first\nsecond", "ERROR container=echo/healthy a forged\rline"]"#;
    stage.beside(stage.ask("hostile", "printing", "say", words)).await.unwrap();
    for text in ["first", "second", "ERROR container=echo/healthy a forged␤line"] {
        logged(&format!("container: {text} container=hostile/printing")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_one_that_fails_are_in_the_log_although_it_did_not_end_the_line() {
    listen();
    let stage = Stage::new(|_| {}).await;
    stage.start_with("hostile", "dying", "").await.unwrap();
    let words = r#"["begun\nfarewell"]"#;
    let error = stage.beside(stage.ask("hostile", "dying", "die", words)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerEnded, "{error}");
    for text in ["begun", "farewell"] {
        logged(&format!("container: {text} container=hostile/dying")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_line_is_cut() {
    listen();
    let stage = Stage::new(|config| config.limits.log_line = 64).await;
    stage.start_with("hostile", "rambling", "").await.unwrap();
    let line = "ÿ".repeat(1_000) + "\n";
    let long = format!("[{line:?}, \"\"]");
    stage.beside(stage.ask("hostile", "rambling", "say", &long)).await.unwrap();
    logged("… container=hostile/rambling").await;
    let log = log();
    assert!(log.contains(&"ÿ".repeat(20)) && !log.contains(&"ÿ".repeat(33)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_printed_line_is_as_long_as_its_limit_and_its_unfinished_rest_is_cut_at_the_end() {
    listen();
    let stage = Stage::new(|config| config.limits.log_line = 10_000).await;
    stage.start_with("hostile", "verbose", "").await.unwrap();
    let (whole, long) = ("w".repeat(10_000), "l".repeat(20_000));
    let words = format!("[{:?}, \"\"]", format!("{whole}\n{long}"));
    stage.beside(stage.ask("hostile", "verbose", "say", &words)).await.unwrap();
    logged(&format!("container: {whole} container=hostile/verbose")).await;
    let target = Target { id: id("hostile", "verbose"), epoch: None };
    stage.world.coordinator.ask(Call::Terminate { target, force: true }).await.unwrap();
    logged(&format!("container: {}… container=hostile/verbose", &long[..10_000])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_over_the_rate_are_dropped_and_their_number_is_told() {
    listen();
    let stage = Stage::new(|config| config.limits.log_lines = 1).await;
    stage.start_with("hostile", "talking", "").await.unwrap();
    let many = format!("[{:?}, \"\"]", "line\n".repeat(1_000));
    stage.beside(stage.ask("hostile", "talking", "say", &many)).await.unwrap();
    let told = "log lines over the rate were dropped container=hostile/talking dropped=";
    let again = async {
        while !log().contains(told) {
            stage.ask("hostile", "talking", "say", r#"["again", ""]"#).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    let log = log();
    let (_, dropped) = log.split_once(told).unwrap();
    let dropped: u32 = dropped.lines().next().unwrap().trim().parse().unwrap();
    assert!(dropped > 900, "{dropped}");
}
