//! Requests of a client to a fake coordinator and fake agents.

use std::time::{Duration, Instant};

use crate::fake::{Fake, by_uuid, client, epoch, id, soon};
use hulynet_client::{Client, ErrorKind, GetOptions, Kind, NetworkError, Request, Retry};
use hulynet_protocol::Role;

#[tokio::test]
async fn a_request_goes_straight_to_the_agent() {
    let (coordinator, agent) =
        (Fake::start(Role::Coordinator).await, Fake::start(Role::Agent).await);
    coordinator.place("a", Some(&agent), 1);
    agent.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    assert_eq!(soon(echo.request("echo", "hello")).await.unwrap(), "hello");
    soon(echo.send(Request::new("note", "hello"))).await.unwrap();
    assert_eq!((agent.saw("agent echo"), agent.saw("agent note")), (1, 1));
    assert_eq!(coordinator.saw("coordinator echo"), 0);
}

#[tokio::test]
async fn an_agent_that_cannot_be_reached_is_asked_through_the_coordinator() {
    let coordinator = Fake::start(Role::Coordinator).await;
    let gone = Fake::start(Role::Agent).await;
    coordinator.place("a", Some(&gone), 1);
    drop(soon(gone.stop()).await);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    assert_eq!(soon(echo.request("echo", "hello")).await.unwrap(), "hello");
    assert_eq!(coordinator.saw("coordinator echo"), 1);
}

#[tokio::test]
async fn a_client_without_direct_paths_asks_the_coordinator() {
    let (coordinator, agent) =
        (Fake::start(Role::Coordinator).await, Fake::start(Role::Agent).await);
    coordinator.place("a", Some(&agent), 1);
    let builder = Client::builder().direct(false);
    let client = soon(builder.connect([coordinator.address()])).await.unwrap();
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    assert_eq!(soon(echo.request("echo", "hello")).await.unwrap(), "hello");
    assert_eq!(agent.saw("agent echo"), 0);
}

#[tokio::test]
async fn a_container_that_moved_is_found_again() {
    let coordinator = Fake::start(Role::Coordinator).await;
    let (old, new) = (Fake::start(Role::Agent).await, Fake::start(Role::Agent).await);
    coordinator.place("a", Some(&old), 1);
    new.place("a", None, 2);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    coordinator.place("a", Some(&new), 2);
    assert_eq!(soon(echo.request("echo", "hello")).await.unwrap(), "hello");
    assert_eq!((coordinator.saw("reclaim a"), new.saw("agent echo")), (1, 1));
    assert_eq!(echo.epoch().unwrap(), epoch(2));
}

#[tokio::test]
async fn a_full_queue_is_tried_again_and_a_lost_answer_is_not() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let busy = NetworkError::not_processed(ErrorKind::Busy, "full");
    coordinator.with(|world| world.failures = vec![busy]);
    assert_eq!(soon(echo.request("echo", "hello")).await.unwrap(), "hello");
    assert_eq!((coordinator.saw("coordinator echo"), coordinator.saw("reclaim a")), (2, 0));
    let lost = NetworkError::maybe_processed(ErrorKind::Unavailable, "lost");
    coordinator.with(|world| world.failures = vec![lost.clone()]);
    assert_eq!(soon(echo.request("echo", "hello")).await, Err(lost));
}

#[tokio::test]
async fn an_unknown_kind_is_told_at_once() {
    let coordinator = Fake::start(Role::Coordinator).await;
    let client = client(&[&coordinator]).await;
    let error = soon(client.get("nothing", GetOptions::default())).await.unwrap_err();
    assert_eq!((error.kind, coordinator.saw("get")), (ErrorKind::UnknownKind, 1));
    let error = soon(client.get("", GetOptions::default())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArguments);
}

#[tokio::test]
async fn a_request_that_is_not_answered_ends_with_its_deadline() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    coordinator.with(|world| world.silent = true);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let request = Request::new("echo", "hello").timeout(Duration::from_millis(200));
    let error = soon(echo.perform(request)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
}

#[tokio::test]
async fn a_streamed_answer_comes_in_chunks_or_whole_but_bounded() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let whole = soon(echo.request("stream", "")).await.unwrap();
    assert!(whole.starts_with(b"0 1 2 ") && whole.ends_with(b"98 99 "));
    let answer = soon(echo.perform(Request::new("stream", ""))).await.unwrap();
    let error = soon(answer.collect(100)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert_eq!(soon(echo.request("echo", "still here")).await.unwrap(), "still here");
}

#[tokio::test]
async fn the_last_handle_releases_the_container() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    coordinator.place("b", None, 1);
    let client = client(&[&coordinator]).await;
    let first = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let second = first.clone();
    soon(first.release()).await.unwrap();
    assert_eq!(coordinator.saw("release a"), 0);
    drop(second);
    coordinator.until(|world| world.held.is_empty()).await;
    let other = soon(client.get("echo", by_uuid("b"))).await.unwrap();
    soon(other.release()).await.unwrap();
    assert_eq!(coordinator.saw("release b"), 1);
}

#[tokio::test]
async fn the_coordinator_answers_what_there_is() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    assert_eq!(soon(client.kinds()).await.unwrap(), [Kind::new("echo").unwrap()]);
    assert_eq!(soon(client.agents()).await.unwrap(), []);
    assert_eq!(soon(client.list(None)).await.unwrap()[0].id, id("a"));
    assert!(soon(client.terminate(id("a"), true)).await.unwrap());
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_is_named() {
    let gone = Fake::start(Role::Coordinator).await;
    let address = soon(gone.stop()).await;
    let builder = Client::builder().request_timeout(Duration::from_millis(300));
    let begun = Instant::now();
    let error = soon(builder.connect([address.clone()])).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    assert!(error.message.contains(&address), "{}", error.message);
    assert!(error.message.contains("refused"), "{}", error.message);
    let error = soon(Client::connect(Vec::<String>::new())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArguments);
}

#[tokio::test]
async fn the_first_coordinator_that_answers_is_taken() {
    let gone = Fake::start(Role::Coordinator).await;
    let coordinator = Fake::start(Role::Coordinator).await;
    let addresses = [gone.address(), coordinator.address()];
    soon(gone.stop()).await;
    let client = soon(Client::connect(addresses)).await.unwrap();
    assert_eq!(soon(client.kinds()).await.unwrap().len(), 1);
}

/// The fake answers with the arguments.
#[hulynet_sdk::interface]
#[allow(dead_code, reason = "only the client that is made of it is used")]
trait Echo {
    async fn echo(&self, number: u64) -> Vec<u64>;
    async fn fail(&self) -> u64;
}

#[tokio::test]
async fn a_typed_client_speaks_through_a_reference() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = EchoClient(soon(client.get("echo", by_uuid("a"))).await.unwrap());
    assert_eq!(soon(echo.echo(3)).await.unwrap(), [3]);
    let refused = NetworkError::refused(ErrorKind::PermissionDenied, "no");
    coordinator.with(|world| world.failures = vec![refused]);
    let error = soon(echo.fail()).await.unwrap_err();
    assert_eq!(error.kind, hulynet_sdk::ErrorKind::PermissionDenied);
    assert_eq!((error.retry, error.message.as_str()), (hulynet_sdk::Retry::Final, "no"));
}

#[tokio::test]
async fn a_closed_client_answers_so() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    soon(client.close(Duration::from_secs(2))).await;
    let error = soon(echo.request("echo", "hello")).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Cancelled, Retry::Final));
    let error = soon(client.get("echo", by_uuid("a"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
}
