//! Typed clients against kinds of the same trait, and both against the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::sync::Mutex;

use futures::StreamExt;
use hulynet_sdk::prelude::*;
use hulynet_sdk::testing::{Container, request};
use hulynet_sdk::{Answer, ErrorKind, MaybeSend};

/// Counts.
#[interface]
pub trait Counter {
    /// Adds and tells the sum.
    async fn add(&mut self, n: u64, note: Option<String>) -> Result<u64>;
    /// The sum.
    fn value(&self, context: &Context) -> u64;
    /// Forgets the sum.
    fn reset(&mut self);
    /// The numbers below the sum.
    fn below(&self) -> Items<u64>;
    /// The sum in bytes.
    fn bytes(&self, suffix: Raw) -> Result<Raw, Error>;
    /// Bytes in pieces.
    fn pieces(&self) -> Chunks;
}

#[derive(Default)]
struct Sum(u64);

#[kind]
impl Counter for Sum {
    async fn add(&mut self, n: u64, _note: Option<String>) -> Result<u64> {
        self.0 = self.0.checked_add(n).ok_or("the sum is too large")?;
        Ok(self.0)
    }

    fn value(&self, _context: &Context) -> u64 {
        self.0
    }

    fn reset(&mut self) {
        self.0 = 0;
    }

    fn below(&self) -> Items<u64> {
        Items::of(0..self.0)
    }

    fn bytes(&self, suffix: Raw) -> Result<Raw, Error> {
        Ok(Raw([vec![u8::try_from(self.0).map_err(Error::application)?], suffix.0].concat()))
    }

    fn pieces(&self) -> Chunks {
        Chunks::new(futures::stream::iter([Ok(vec![1]), Ok(vec![2])]))
    }

    #[start]
    fn begin(at: Option<u64>) -> Self {
        Self(at.unwrap_or_default())
    }
}

/// Answers with what is set and keeps what was sent.
#[derive(Default)]
struct Wire {
    answer: Vec<u8>,
    asked: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Transport for Wire {
    async fn request(&self, operation: &str, payload: Vec<u8>) -> Result<Answer> {
        self.asked.lock().unwrap().push((operation.to_owned(), payload));
        Ok(Answer::Payload(self.answer.clone()))
    }
}

fn client(answer: &str) -> CounterClient<Wire> {
    CounterClient(Wire { answer: answer.into(), ..Wire::default() })
}

fn asked(client: &CounterClient<Wire>) -> (String, String) {
    let (operation, payload) = client.0.asked.lock().unwrap().remove(0);
    (operation, String::from_utf8(payload).unwrap())
}

fn may_move<T: MaybeSend>(future: T) -> T {
    future
}

#[tokio::test]
async fn a_client_sends_its_arguments_in_order() {
    let client = client("7");
    assert_eq!(may_move(client.add(3, Some("x".into()))).await, Ok(7));
    assert_eq!(asked(&client), ("add".into(), r#"[3,"x"]"#.into()));
    assert_eq!(client.value().await, Ok(7));
    assert_eq!(asked(&client), ("value".into(), String::new()));
    assert_eq!(client.bytes(Raw(b"raw".to_vec())).await, Ok(Raw(b"7".to_vec())));
    assert_eq!(asked(&client), ("bytes".into(), "raw".into()));
}

#[tokio::test]
async fn a_client_decodes_every_form_of_answer() {
    assert_eq!(client("null").reset().await, Ok(()));
    assert_eq!(client("").reset().await, Ok(()));
    let items: Vec<_> = client("1\n2\n").below().await.unwrap().collect().await;
    assert_eq!(items, [Ok(1), Ok(2)]);
    let pieces: Vec<_> = client("ab").pieces().await.unwrap().collect().await;
    assert_eq!(pieces, [Ok(b"ab".to_vec())]);
    let wrong = client(r#""x""#).value().await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Protocol);
    assert!(wrong.message.contains("expected u64"), "{wrong}");
}

#[tokio::test]
async fn a_kind_of_a_trait_answers_what_its_client_asks() {
    let container = Container::<Sum>::default();
    container.start(b"3".to_vec()).await.unwrap();
    let ask =
        async |operation: &str, payload: &str| container.request(request(operation, payload)).await;
    assert_eq!(ask("add", r#"[2,"x"]"#).await.unwrap().value::<u64>().await, Ok(5));
    assert_eq!(ask("value", "").await.unwrap().value::<u64>().await, Ok(5));
    assert_eq!(ask("bytes", "!").await.unwrap().bytes().await, Ok(b"\x05!".to_vec()));
    assert_eq!(ask("pieces", "").await.unwrap().bytes().await, Ok(vec![1, 2]));
    assert_eq!(ask("below", "").await.unwrap().bytes().await, Ok(b"0\n1\n2\n3\n4\n".to_vec()));
    let too_large = ask("add", &format!("[{}]", u64::MAX)).await.unwrap_err();
    assert_eq!(too_large.message, "the sum is too large");
    assert_eq!(ask("reset", "").await.unwrap().value::<()>().await, Ok(()));
    assert_eq!(ask("value", "").await.unwrap().value::<u64>().await, Ok(0));
}
