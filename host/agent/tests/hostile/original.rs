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
    async fn join(stage: &Stage) -> Self {
        let mut socket = DealerSocket::new();
        socket.connect(&format!("tcp://{}", stage.world.agent.local_addr())).await.unwrap();
        let mut joining = Self(socket);
        joining.send(["0", "original", r#"{"aliveTimeout":60}"#, ""]).await;
        assert_eq!(joining.hear().await[0], "0");
        joining
    }

    /// Sends a request under this name.
    async fn ask(&mut self, name: &str, request: &str) {
        self.send(["1", name, request, ""]).await;
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
    let mut client = Original::join(&stage).await;
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
    let mut client = Original::join(&stage).await;
    client.ask("a", r#"["cc",{"uuid":["alone","other"]}]"#).await;
    assert_eq!(stage.beside(client.hear()).await, ["4", "", r#"["other","welcome"]"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_streamed_for_a_client_of_the_original_that_leaves_is_streamed_no_more() {
    let stage = Stage::new(|_| {}).await;
    stage.start("hostile").await.unwrap();
    let mut client = Original::join(&stage).await;
    client.ask("a", r#"["cs",["hostile","trickle",null]]"#).await;
    let streams = async |used| {
        stage.world.until_it_uses(id("hostile", "hostile"), "streams", used).await;
    };
    stage.beside(streams(1)).await;
    client.leave().await;
    stage.beside(streams(0)).await;
}
