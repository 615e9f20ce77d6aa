//! Kinds as authors write them, run without a network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::cell::RefCell;

use futures::StreamExt;
use hulynet_sdk::prelude::*;
use hulynet_sdk::testing::{self, Container, request};
use hulynet_sdk::{ErrorKind, Kind, Retry};
use serde::{Deserialize, Serialize};

/// An error type of an author's own.
#[derive(Debug)]
struct Overdrawn {
    missing: u64,
}

impl From<Overdrawn> for Error {
    fn from(error: Overdrawn) -> Self {
        Self::application(format!("{} are missing", error.missing))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Movement {
    amount: u64,
    purpose: Option<String>,
}

/// Keeps money.
struct Account {
    balance: u64,
    log: RefCell<Vec<String>>,
}

#[derive(Deserialize)]
struct Opening {
    balance: u64,
}

#[kind]
impl Account {
    const CURRENCY: &str = "EUR";

    fn balance(&self) -> u64 {
        self.balance
    }

    fn currency(&self) -> String {
        Self::CURRENCY.to_owned()
    }

    fn r#move(&mut self, movement: Movement, note: Option<String>) -> u64 {
        self.balance += movement.amount;
        self.log.borrow_mut().push(format!("{movement:?} {note:?}"));
        self.balance
    }

    fn withdraw(&mut self, amount: u64) -> Result<u64, Overdrawn> {
        self.balance = self
            .balance
            .checked_sub(amount)
            .ok_or_else(|| Overdrawn { missing: amount - self.balance })?;
        Ok(self.balance)
    }

    fn who(&self, prefix: String, context: &Context, suffix: String) -> String {
        format!("{prefix}{}{suffix}", context.caller.account().unwrap_or_default())
    }

    fn history(&self) -> Items<String> {
        Items::of(self.log.borrow().clone())
    }

    fn bytes(&self) -> Result<Chunks> {
        Ok(Chunks::new(futures::stream::iter([Ok(b"a".to_vec()), Ok(b"b".to_vec())])))
    }

    fn length(&self, payload: Raw) -> usize {
        payload.0.len()
    }

    fn later(&self) {
        spawn(async { connections::broadcast(&1).unwrap() });
    }

    #[start]
    async fn open(extra: Opening) -> Result<Self, Error> {
        if extra.balance == 13 {
            return Err("13 brings no luck".into());
        }
        Ok(Self { balance: extra.balance, log: RefCell::default() })
    }

    #[connect]
    fn greet(&self, connection: &Connection) -> Result<()> {
        connections::send(&connection.id, &self.balance)?;
        match connection.caller.account() {
            Some(_) => Ok(()),
            None => Err(Error::permission_denied("log in")),
        }
    }

    #[disconnect]
    async fn forget(&mut self, connection: &str) {
        self.log.borrow_mut().push(format!("{connection} is gone"));
    }

    #[ping]
    fn is_well(&self) -> Result<()> {
        if self.balance == 0 { Err("broke".into()) } else { Ok(()) }
    }

    #[terminate]
    fn close(&mut self, force: bool) -> Termination {
        if force || self.balance == 0 { Termination::Ended } else { Termination::NotYet }
    }
}

async fn account(balance: u64) -> Container<Account> {
    let container = Container::default();
    container.start(format!(r#"{{"balance": {balance}}}"#).into_bytes()).await.unwrap();
    container
}

async fn ask(container: &Container<Account>, operation: &str, payload: &str) -> Result<String> {
    let answer = container.request(request(operation, payload)).await?;
    Ok(String::from_utf8(answer.bytes().await?).unwrap())
}

#[test]
fn every_method_that_is_no_hook_is_an_operation() {
    let expected =
        ["balance", "currency", "move", "withdraw", "who", "history", "bytes", "length", "later"];
    assert_eq!(Account::OPERATIONS, expected);
}

#[tokio::test]
async fn arguments_and_results_are_json() {
    let account = account(1).await;
    assert_eq!(ask(&account, "move", r#"{"movement": {"amount": 2}}"#).await.unwrap(), "3");
    assert_eq!(
        ask(&account, "move", r#"[{"amount": 1, "purpose": "x"}, "note"]"#).await.unwrap(),
        "4"
    );
    assert_eq!(ask(&account, "balance", "").await.unwrap(), "4");
    assert_eq!(ask(&account, "currency", "[]").await.unwrap(), "\"EUR\"");
    assert_eq!(ask(&account, "length", "\0\0").await.unwrap(), "2");
    assert_eq!(ask(&account, "bytes", "").await.unwrap(), "ab");
}

#[tokio::test]
async fn errors_are_typed() {
    let account = account(1).await;
    let overdrawn = ask(&account, "withdraw", "[3]").await.unwrap_err();
    assert_eq!(overdrawn, Error::application("2 are missing"));
    let unknown = ask(&account, "steal", "").await.unwrap_err();
    assert_eq!((unknown.kind, unknown.retry), (ErrorKind::UnknownOperation, Retry::Final));
    assert!(unknown.message.contains("balance, currency"), "{unknown}");
    let shape = ask(&account, "withdraw", "[-1]").await.unwrap_err();
    assert_eq!(shape.kind, ErrorKind::InvalidArguments);
    assert!(shape.message.contains(r#"argument "amount" of "withdraw""#), "{shape}");
}

#[tokio::test]
async fn the_context_is_no_argument() {
    let mut who = request("who", r#"["<", ">"]"#);
    who.context = testing::context(Some("a1"));
    let answer = account(1).await.request(who).await.unwrap();
    assert_eq!(answer.value::<String>().await.unwrap(), "<a1>");
}

#[tokio::test]
async fn hooks_are_called_on_their_occasions() {
    let container = account(1).await;
    let connection =
        |account| Connection { id: "c1".into(), caller: testing::context(account).caller };
    container.connect(connection(Some("a1"))).await.unwrap();
    let refused = container.connect(connection(None)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::PermissionDenied);
    assert_eq!(
        testing::take_sent()[0],
        testing::Sent { connection: Some("c1".into()), payload: b"1".to_vec() }
    );
    container.disconnect("c1".into()).await;
    let history = container.request(request("history", "")).await.unwrap();
    let history: Vec<Result<String>> = Items::from(history.chunks()).collect().await;
    assert_eq!(history, [Ok("c1 is gone".into())]);
    container.ping().await.unwrap();
    assert_eq!(container.terminate(false).await, Termination::NotYet);
    assert_eq!(container.terminate(true).await, Termination::Ended);
    ask(&container, "withdraw", "[1]").await.unwrap();
    assert_eq!(container.ping().await.unwrap_err().message, "broke");
}

#[tokio::test]
async fn a_container_starts_once_and_before_anything_else() {
    let container = Container::<Account>::default();
    let early = ask(&container, "balance", "").await.unwrap_err();
    assert_eq!((early.kind, early.retry), (ErrorKind::StartFailed, Retry::NotProcessed));
    assert_eq!(container.terminate(false).await, Termination::Ended);
    assert_eq!(
        container.start(b"{}".to_vec()).await.unwrap_err().kind,
        ErrorKind::InvalidArguments
    );
    assert_eq!(
        container.start(br#"{"balance": 13}"#.to_vec()).await.unwrap_err().message,
        "13 brings no luck"
    );
    container.start(br#"{"balance": 1}"#.to_vec()).await.unwrap();
    assert_eq!(
        container.start(br#"{"balance": 1}"#.to_vec()).await.unwrap_err().kind,
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn what_is_spawned_goes_on_after_the_answer() {
    ask(&account(1).await, "later", "").await.unwrap();
    assert!(testing::take_sent().is_empty());
    testing::run_spawned().await;
    assert_eq!(testing::take_sent()[0].payload, b"1");
}
