//! Kinds that compute on and on.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use hulynet_agent::ContainerLimits;
use hulynet_protocol::ErrorKind;

use crate::{
    stage::{MIB, Stage, both, id},
    support::{PATIENCE, Told},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_log_lines_is_stopped_like_any_computation() {
    let stage = Stage::new(|config| config.limits.compute = Duration::from_millis(300)).await;
    for attack in both("log-flood") {
        let error = stage.beside(stage.attack(&attack)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ContainerEnded, "{attack}: {error}");
        assert!(error.message.contains("without a pause"), "{attack}: {error}");
    }
    stage.start("hostile").await.unwrap();
    let error = stage.beside(stage.ask("hostile", "hostile", "print", "")).await.unwrap_err();
    assert!(error.message.contains("without a pause"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_computes_is_stopped_at_the_deadline() {
    let stage = Stage::new(|config| config.limits.compute = PATIENCE).await;
    for attack in both("loop") {
        stage.start(&attack).await.unwrap();
        let begun = Instant::now();
        let deadline = Duration::from_millis(400);
        let asked = stage.beside(stage.ask_within(deadline, &attack, &attack, "attack", ""));
        let error = asked.await.unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::DeadlineExceeded | ErrorKind::ContainerEnded),
            "{attack}: {error}"
        );
        while stage.ask(&attack, &attack, "attack", "").await.unwrap_err().kind
            != ErrorKind::UnknownContainer
        {
            assert!(begun.elapsed() < PATIENCE / 2, "{attack} computes still");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_ends_no_stream_that_somebody_else_reads() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut stream = stage.stream("endless").await.unwrap();
    let longer = format!("[{MIB}, 1000]");
    let deadline = Duration::from_millis(100);
    let asked = stage.ask_within(deadline, "hostile", "hostile", "overwrite", &longer);
    let error = stage.beside(asked).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded, "{error}");
    // More than was streamed before that.
    for _ in 0..1_000 {
        stream.next().await.unwrap().unwrap();
    }
}

/// Nothing but a deadline ends who computes before anybody stops to wait for that.
fn computes_for_long(limits: &mut ContainerLimits) {
    (limits.compute, limits.silent) = (2 * PATIENCE, 2 * PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_a_stream_is_stopped_after_the_deadline_like_others() {
    let mut stage = Stage::new(|config| computes_for_long(&mut config.limits)).await;
    for uuid in ["hostile", "streams"] {
        stage.start_with("hostile", uuid, "").await.unwrap();
    }
    stage.ask("hostile", "hostile", "keep", r#"["streams"]"#).await.unwrap();
    let longer = format!("[{MIB}, {}]", 2 * PATIENCE.as_millis());
    let deadline = Duration::from_millis(100);
    let asked = stage.ask_within(deadline, "hostile", "hostile", "overwrite", &longer);
    stage.beside(asked).await.unwrap_err();
    let told = stage.told().await;
    let ended = matches!(&told, Told::Ended(ended, _) if *ended == id("hostile", "hostile"));
    assert!(ended, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_reader_is_gone_is_no_reason_to_compute_on() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut stream = stage.stream("open").await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let (begun, deadline) = (Instant::now(), Duration::from_millis(100));
    let longer = format!("[{MIB}, 1000]");
    // What comes at once may come before the agent knows that nobody reads.
    let asked = async || {
        let asked = stage.ask_within(deadline, "hostile", "hostile", "overwrite", &longer);
        stage.beside(asked).await.unwrap_err()
    };
    while asked().await.kind != ErrorKind::UnknownContainer {
        assert!(begun.elapsed() < PATIENCE / 2, "it computes still");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_overwrites_all_its_memory_at_once_gives_way_meanwhile() {
    const OVERWRITING: usize = 3;
    let stage = Stage::new(|config| config.limits.memory = 520 * MIB).await;
    stage.start("hostile").await.unwrap();
    for number in 0..OVERWRITING {
        stage.start_with("hostile", &number.to_string(), "").await.unwrap();
    }
    let arguments = format!("[{}, 2000]", 512 * MIB);
    let over = Cell::new(false);
    let overwrite = async {
        let asked = (0..OVERWRITING).map(|number| {
            let (stage, arguments) = (&stage, &arguments);
            async move { stage.ask("hostile", &number.to_string(), "overwrite", arguments).await }
        });
        let answers = join_all(asked).await;
        over.set(true);
        answers
    };
    // Whoever wakes needs a thread that computes for the others.
    let nap = async {
        let mut times = Vec::new();
        while !over.get() {
            let begun = Instant::now();
            stage.ask("hostile", "hostile", "nap", "[1]").await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        times[times.len() * 9 / 10]
    };
    let (overwritten, napped) = stage.beside(join(overwrite, nap)).await;
    overwritten.into_iter().for_each(|answer| assert_eq!(answer.unwrap(), "null"));
    assert!(napped < Duration::from_millis(20), "one in ten naps took {napped:?} and more");
}
