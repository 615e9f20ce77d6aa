//! The kind to try the network with: it answers, streams, broadcasts, waits
//! and fails as asked. Tests and benchmarks drive the network through it, and
//! authors can read it as an example of every form that an operation has.

use std::collections::BTreeMap;
use std::time::Duration;

use hulynet_sdk::Labels;
use hulynet_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What the container knows of itself and of who asks.
#[derive(Serialize)]
struct Who {
    kind: String,
    uuid: String,
    epoch: (u64, u64),
    agent: String,
    labels: Labels,
    caller_account: Option<String>,
    caller_uuid: Option<String>,
}

/// What a container that is to be found must be.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    labels: Labels,
    one_of: BTreeMap<String, Vec<String>>,
    none_of: BTreeMap<String, Vec<String>>,
    present: Vec<String>,
    absent: Vec<String>,
    near: Labels,
    avoid: Labels,
}

impl From<Wanted> for GetOptions {
    fn from(wanted: Wanted) -> Self {
        let Wanted { labels, one_of, none_of, present, absent, near, avoid } = wanted;
        let one_of = one_of.into_iter().map(|(key, values)| (key, Condition::OneOf(values)));
        let none_of = none_of.into_iter().map(|(key, values)| (key, Condition::NoneOf(values)));
        let present = present.into_iter().map(|key| (key, Condition::Present));
        let absent = absent.into_iter().map(|key| (key, Condition::Absent));
        let select = one_of.chain(none_of).chain(present).chain(absent).collect();
        Self { labels, select, near, avoid, ..Self::default() }
    }
}

/// The state: a count, and the requests that wait.
#[derive(Default)]
struct Echo {
    count: u64,
    gate: Notify,
}

#[kind]
impl Echo {
    /// The payload as it came. Nothing is decoded, so what it costs is what
    /// the network costs.
    fn echo(&self, payload: Raw) -> Raw {
        payload
    }

    /// Adds to the count and tells it; one request at a time.
    fn add(&mut self, n: u64) -> u64 {
        self.count = self.count.wrapping_add(n);
        self.count
    }

    /// Sends the payload to every connection.
    fn broadcast(&self, payload: Raw) -> Result<()> {
        connections::broadcast_bytes(&payload.0)
    }

    /// Streams `count` texts of `size` bytes.
    fn stream(&self, count: u32, size: u32) -> Result<Items<String>> {
        let size = usize::try_from(size).map_err(Error::invalid_arguments)?;
        Ok(Items::produce(async move |sender| {
            for _ in 0..count {
                sender.send("x".repeat(size)).await?;
            }
            Ok(())
        }))
    }

    /// Streams `count` numbers and then fails.
    fn broken_stream(&self, count: u32) -> Items<u32> {
        Items::produce(async move |sender| {
            for n in 0..count {
                sender.send(n).await?;
            }
            Err("the stream was asked to break".into())
        })
    }

    /// Waits until somebody calls `wake`; others are answered meanwhile.
    async fn wait(&self) {
        self.gate.notified().await;
    }

    /// Lets all go on that wait now.
    fn wake(&self) {
        self.gate.notify_waiters();
    }

    /// Who answers, and who asks.
    fn who(&self, context: &Context) -> Who {
        let me = identity();
        Who {
            kind: me.id.kind,
            uuid: me.id.uuid,
            epoch: (me.epoch.term, me.epoch.counter),
            agent: me.agent,
            labels: me.labels,
            caller_account: context.caller.account(),
            caller_uuid: context.caller.container().map(|id| id.uuid),
        }
    }

    /// Asks another container in the caller's name, with the payload
    /// `"forwarded"`, and answers what it does. `timeout` is in milliseconds.
    async fn forward(
        &self,
        kind: String,
        uuid: String,
        operation: String,
        timeout: u64,
        context: &Context,
    ) -> Result<Raw> {
        let reference = containers::get(&kind, GetOptions::uuid(uuid)).await?;
        let call =
            reference.on_behalf_of(&context.caller).with_timeout(Duration::from_millis(timeout));
        let answer = call.request(&operation, b"\"forwarded\"".to_vec()).await?;
        answer.bytes().await.map(Raw)
    }

    /// Finds or starts another container of the kind that suits, and answers
    /// what that one answers to `who`.
    async fn find(&self, kind: String, wanted: Wanted) -> Result<Raw> {
        let found = containers::get(&kind, wanted.into()).await?;
        found.request("who", Vec::new()).await?.bytes().await.map(Raw)
    }

    /// Passes what another container broadcasts on to this one's connections,
    /// until that one ends.
    async fn relay(&self, kind: String, uuid: String) -> Result<()> {
        let reference = containers::get(&kind, GetOptions::uuid(uuid)).await?;
        let mut events = reference.connect().await?;
        spawn(async move {
            // The relay holds the container for as long as it listens.
            let _held = reference;
            while let Some(event) = events.next().await {
                if let Err(error) = connections::broadcast_bytes(&event) {
                    log::warn!("an event was not passed on: {error}");
                }
            }
        });
        Ok(())
    }

    /// Writes a log line.
    fn log(&self, message: String) {
        log::info!("{message}"; count = self.count);
    }

    /// Fails in its own code.
    fn fail(&self, message: String) -> Result<()> {
        Err(Error::application(message))
    }

    /// Breaks the container.
    fn trap(&self) {
        std::process::abort();
    }

    /// Computes without end.
    fn spin(&self) {
        let mut turns = 0_u64;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }

    /// Takes memory without end.
    fn grow(&self) {
        let mut taken = Vec::new();
        loop {
            taken.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }

    /// Greets a client that connects.
    #[connect]
    fn welcome(&self, connection: &Connection) -> Result<()> {
        connections::send(&connection.id, "welcome")
    }
}

#[cfg(test)]
mod tests {
    use hulynet_sdk::testing::{self, Container, request};
    use hulynet_sdk::{Answer, Connection, ErrorKind};

    use super::*;

    async fn echo() -> Container<Echo> {
        let container = Container::default();
        container.start(Vec::new()).await.unwrap();
        container
    }

    async fn text(container: &Container<Echo>, operation: &str, payload: &str) -> Result<String> {
        let answer = container.request(request(operation, payload)).await?;
        Ok(String::from_utf8(answer.bytes().await?).unwrap())
    }

    #[tokio::test]
    async fn a_payload_comes_back_untouched() {
        assert_eq!(text(&echo().await, "echo", "{not json").await.unwrap(), "{not json");
    }

    #[tokio::test]
    async fn a_stream_has_as_many_items_as_asked_for() {
        assert_eq!(text(&echo().await, "stream", "[2, 3]").await.unwrap(), "\"xxx\"\n\"xxx\"\n");
        let answer = echo().await.request(request("broken_stream", "[2]")).await.unwrap();
        assert!(matches!(answer, Answer::Chunks(_)));
        assert_eq!(answer.bytes().await.unwrap_err().message, "the stream was asked to break");
    }

    #[tokio::test]
    async fn a_waiting_request_does_not_hold_up_others() {
        let container = echo().await;
        let (waited, woken) =
            futures::join!(text(&container, "wait", ""), text(&container, "wake", ""));
        assert_eq!((waited.unwrap(), woken.unwrap()), ("null".into(), "null".into()));
    }

    #[tokio::test]
    async fn who_tells_the_caller_its_account() {
        let mut who = request("who", "");
        who.context = testing::context(Some("a1"));
        let answer: serde_json::Value =
            echo().await.request(who).await.unwrap().value().await.unwrap();
        assert_eq!(answer["caller_account"], "a1");
        assert_eq!(answer["uuid"], "test");
    }

    #[tokio::test]
    async fn connections_are_greeted_and_get_broadcasts() {
        let container = echo().await;
        let caller = testing::context(None).caller;
        container.connect(Connection { id: "c1".into(), caller }).await.unwrap();
        text(&container, "broadcast", "hi").await.unwrap();
        let sent: Vec<_> = testing::take_sent();
        assert_eq!(sent[0].connection.as_deref(), Some("c1"));
        assert_eq!(sent[0].payload, b"\"welcome\"");
        assert_eq!((&sent[1].connection, sent[1].payload.as_slice()), (&None, b"hi".as_slice()));
    }

    #[tokio::test]
    async fn failures_have_a_kind() {
        let container = echo().await;
        let kind =
            async |operation, payload| text(&container, operation, payload).await.unwrap_err().kind;
        assert_eq!(kind("fail", r#"["no"]"#).await, ErrorKind::Application);
        assert_eq!(kind("add", r#"["no"]"#).await, ErrorKind::InvalidArguments);
        assert_eq!(kind("none", "").await, ErrorKind::UnknownOperation);
        assert_eq!(kind("forward", r#"["a", "b", "c", 1]"#).await, ErrorKind::Unavailable);
    }
}
