//! Clients of the original network among hostile containers: their requests name no
//! deadline, and all the same end.

use std::time::Duration;

use bytes::Bytes;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::{
    stage::{Stage, id},
    support::PATIENCE,
};

/// A client of the original network on the agent's own address.
struct Original(DealerSocket);

impl Original {
    async fn join(stage: &Stage, name: &str) -> Self {
        let mut socket = DealerSocket::new();
        socket.connect(&format!("tcp://{}", stage.world.agent.local_addr())).await.unwrap();
        let mut joining = Self(socket);
        joining.send(["0", name, r#"{"aliveTimeout":60}"#, ""]).await;
        assert_eq!(joining.hear().await[0], "0");
        joining
    }

    /// Sends a request under this name.
    async fn ask(&mut self, name: &str, request: &str) {
        self.send(["1", name, request, ""]).await;
    }

    /// Connects to a container, and hears its welcome before or after the answer.
    async fn listen(&mut self, uuid: &str) {
        self.ask("cc", &format!(r#"["cc",{{"uuid":"{uuid}"}}]"#)).await;
        let mut heard = [self.hear().await, self.hear().await];
        heard.sort();
        assert_eq!(heard[0], ["2", "cc", "0"]);
        assert_eq!(heard[1], ["4", "", &format!(r#"["{uuid}","welcome"]"#)]);
    }

    /// Says goodbye, and closes when that was heard.
    async fn leave(mut self) {
        self.send(["8", "", "", ""]).await;
        self.send(["5", "", "", ""]).await;
        assert_eq!(self.hear().await[0], "6");
    }

    async fn send(&mut self, frames: [&str; 4]) {
        let frames = frames.map(|frame| Bytes::copy_from_slice(frame.as_bytes())).to_vec();
        self.0.send(ZmqMessage::try_from(frames).unwrap()).await.unwrap();
    }

    /// The next message: what it is, and of which request.
    async fn hear(&mut self) -> Vec<String> {
        let message = tokio::time::timeout(PATIENCE, self.0.recv()).await.unwrap().unwrap();
        message.iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_accepts_nobody_keeps_no_client_of_the_original_waiting() {
    let stage = Stage::new(|config| config.limits.request = Duration::from_secs(5)).await;
    stage.start_with("hostile", "hostile", "alone").await.unwrap();
    let mut client = Original::join(&stage, "original").await;
    client.ask("a", r#"["cc",{"uuid":"hostile"}]"#).await;
    stage.world.until_it_uses(id("hostile", "hostile"), "connections", 1).await;
    assert_eq!(stage.beside(client.hear()).await[..2], ["2", "a"]);
    stage.world.until_it_uses(id("hostile", "hostile"), "connections", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_accepts_nobody_keeps_no_other_from_a_client_of_the_original() {
    let stage = Stage::new(|config| config.limits.request = 10 * PATIENCE).await;
    stage.start_with("hostile", "alone", "alone").await.unwrap();
    stage.world.start("other").await;
    let mut client = Original::join(&stage, "original").await;
    client.ask("a", r#"["cc",{"uuid":["alone","other"]}]"#).await;
    assert_eq!(stage.beside(client.hear()).await, ["4", "", r#"["other","welcome"]"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_streamed_for_a_client_of_the_original_that_leaves_is_streamed_no_more() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut client = Original::join(&stage, "original").await;
    client.ask("a", r#"["cs",["hostile","trickle",null]]"#).await;
    let streams = async |used| {
        stage.world.until_it_uses(id("hostile", "hostile"), "streams", used).await;
    };
    stage.beside(streams(1)).await;
    client.leave().await;
    stage.beside(streams(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_original_hears_a_container_as_soon_as_there_is_room() {
    let stage = Stage::new(|config| config.limits.connections = 1).await;
    stage.world.start("full").await;
    let [mut first, mut second] =
        [Original::join(&stage, "first").await, Original::join(&stage, "second").await];
    first.listen("full").await;
    second.ask("b", r#"["cc",{"uuid":"full"}]"#).await;
    assert_eq!(stage.beside(second.hear()).await[..2], ["2", "b"]);
    first.leave().await;
    assert_eq!(stage.beside(second.hear()).await, ["4", "", r#"["full","welcome"]"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_original_whose_connection_was_lost_hears_on() {
    let stage = Stage::new(|_| {}).await;
    stage.world.start("c").await;
    let mut lost = Original::join(&stage, "lost").await;
    let mut other = Original::join(&stage, "other").await;
    lost.listen("c").await;
    other.listen("c").await;
    drop(lost);
    // Until the agent has noticed, and some time after that.
    for number in 0..50 {
        let event = number.to_string();
        stage.world.request("c", "broadcast", &event).await.unwrap();
        assert_eq!(other.hear().await[2], format!(r#"["c",{event}]"#));
    }
    let mut back = Original::join(&stage, "lost").await;
    assert_eq!(back.hear().await[0], "9", "it is asked for hello");
    stage.world.request("c", "broadcast", "50").await.unwrap();
    assert_eq!(stage.beside(back.hear()).await[2], r#"["c",50]"#);
}
