//! Native clients ask containers on agents of the original network, and its
//! clients are told of such agents.

use hulynet_bus::Body;
use hulynet_protocol::ContainerCall;
use serde_json::Value;
use tokio::net::TcpStream;

use super::*;
use crate::original::DEALER;

#[tokio::test]
async fn a_client_asks_a_container_and_its_request_ends_with_the_agent() {
    let world = World::new().await;
    let agent = world.agent("agent-A").await;
    let client = world.client("ann").await;
    client.get("c").await;
    let ask = async |operation: &str, body: &'static str| {
        let call = Call::Container(ContainerCall {
            target: Target { id: ts("c"), epoch: None },
            operation: operation.to_owned(),
            caller: Caller::outside(None),
            idempotency: None,
            trace: 0,
            send: false,
        });
        let answer = client.peer.call(call, Bytes::from_static(body.as_bytes()), LIMIT).await?;
        let Body::Payload(payload) = answer.body else { panic!("a stream") };
        Ok::<_, NetworkError>(payload)
    };
    let body = r#"{"a":[1.5,null]}"#;
    assert_eq!(ask("echo", body).await.unwrap(), body);
    let refused = ask("echo", "no json").await.unwrap_err();
    assert_eq!((refused.kind, refused.retry), (ErrorKind::InvalidArguments, Retry::Final));
    let ends = async {
        agent.heard_stuck().await;
        agent.task.abort();
    };
    let (lost, ()) = tokio::join!(ask("stuck", "1"), ends);
    let lost = lost.unwrap_err();
    assert_eq!((lost.kind, lost.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
}

#[tokio::test]
async fn who_asks_for_the_limits_of_a_container_hears_that_there_are_none() {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let client = world.client("ann").await;
    client.get("c").await;
    let target = Target { id: ts("c"), epoch: None };
    let refused = client.ask(Call::Limits(target)).await.unwrap_err();
    assert_eq!((refused.kind, refused.retry), (ErrorKind::InvalidArguments, Retry::Final));
    assert!(refused.message.contains("agent-A is one of the original network"), "{refused}");
}

async fn client_of_the_original(world: &World) -> Line {
    let stream = TcpStream::connect(world.coordinator.local_addr()).await.unwrap();
    let mut client = Line::open(stream, DEALER).await;
    client.send(&["0", "ann", "{}", ""]).await;
    assert_eq!(client.hears().await[0], "0");
    client
}

#[tokio::test]
async fn a_request_that_comes_before_its_container_may_be_back_is_sent_again() {
    const TICKS: &str = "2";
    let world = World::recovering(Duration::from_secs(60)).await;
    let mut client = client_of_the_original(&world).await;
    let request = r#"["cs",["c","echo",1]]"#;
    client.send(&["1", "ann-0", request]).await;
    assert_eq!(client.hears().await, ["7", "ann-0", TICKS]);
    // When nobody can bring it any more, it does not exist.
    let world = World::new().await;
    let mut client = client_of_the_original(&world).await;
    client.send(&["1", "ann-0", request]).await;
    let refused = r#"{"message":"Container c not found","stack":""}"#;
    assert_eq!(client.hears().await, ["3", "ann-0", refused]);
}

/// The registry has nothing to tell of that.
#[tokio::test]
async fn a_registration_that_changes_nothing_is_told_to_peers_of_the_original_all_the_same() {
    let world = World::new().await;
    let agent = world.agent("agent-A").await;
    let mut client = client_of_the_original(&world).await;
    agent.registers("agent-A").await;
    // It may be told of the first time as well.
    let updated = json!({ "id": "agent-A", "kinds": ["ts"], "event": 1 });
    loop {
        let told = client.hears().await;
        let body: Value = serde_json::from_str(&told[2]).unwrap();
        assert_eq!((told[0].as_str(), told.len()), ("4", 3));
        if body["agents"].as_array().unwrap().contains(&updated) {
            break;
        }
    }
}
