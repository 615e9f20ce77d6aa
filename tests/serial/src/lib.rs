//! A kind of the world `container-sync`. It uses the contract itself and no
//! SDK, as a kind in another language would: arguments and answers are text.
//! The agent's own tests run it; natively there is nothing.
#![cfg(target_family = "wasm")]

use std::{
    cell::RefCell,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use bindings::{
    Guest,
    guest_sync::{Connection, Incoming, Termination},
    huly::network::{
        common::{Error, ErrorKind, GetOptions, Retry},
        connections, containers_sync, documents_sync, identity, log,
    },
};

/// The contract, bound.
#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated from the contract"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "container-sync" });
    pub(crate) use exports::huly::network::guest_sync::{self, Guest};
    export!(Serial);
    use super::Serial;
}

struct Serial;

thread_local! {
    /// What it was told, in order.
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn told(what: impl Into<String>) {
    TOLD.with_borrow_mut(|told| told.push(what.into()));
}

impl Guest for Serial {
    fn start(extra: Vec<u8>) -> Result<(), Error> {
        log::write(log::Level::Info, "started", &[]);
        match extra.as_slice() {
            b"refuse" => Err(refused("it was told to refuse")),
            _ => Ok(()),
        }
    }

    fn request(request: Incoming) -> Result<Vec<u8>, Error> {
        if request.operation == "repeat" {
            // However often: it remembers nothing.
            return Ok(request.payload);
        }
        let text = String::from_utf8_lossy(&request.payload).into_owned();
        told(format!("{} begins", request.operation));
        let answer = answer(&request, &text);
        told(format!("{} ends", request.operation));
        answer.map(String::into_bytes)
    }

    fn connect(connection: Connection) -> Result<(), Error> {
        told(format!("{} connects", connection.id));
        if connection.id == "unwanted" { Err(refused("nobody wants it")) } else { Ok(()) }
    }

    fn disconnect(connection: String) {
        told(format!("{connection} left"));
    }

    fn ping() -> Result<(), Error> {
        Ok(())
    }

    fn terminate(_force: bool) -> Termination {
        Termination::Ended
    }
}

fn answer(request: &Incoming, text: &str) -> Result<String, Error> {
    match request.operation.as_str() {
        "echo" => Ok(text.to_owned()),
        "told" => Ok(TOLD.with_borrow(|told| told.join(", "))),
        "who" => {
            let own = identity::get();
            let account = request.caller.account.as_deref().unwrap_or("nobody");
            Ok(format!("{}/{} for {account}", own.id.kind, own.id.uuid))
        }
        "fail" => Err(refused(text)),
        "trap" => unreachable!("it was told to trap"),
        "spin" => loop {
            black_box(());
        },
        "nap" => {
            // Long enough to be seen to compute before and after.
            compute(Duration::from_millis(20));
            thread::sleep(Duration::from_millis(700));
            compute(Duration::from_millis(20));
            Ok(String::new())
        }
        "sleep-for-ever" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "broadcast" => connections::broadcast(text.as_bytes()).map(|()| String::new()),
        "ask" => ask(text, "hear", true),
        "ask-own" => ask(text, "hear", false),
        "ask-for-stream" => ask(text, "stream", true),
        "ask-for-ever" => ask(text, "never", true),
        "around" => around(text),
        "pester" => pester(text),
        "reread" => reread(text),
        "commit" => commit(text),
        other => Err(Error {
            kind: ErrorKind::UnknownOperation,
            retry: Retry::Final,
            message: format!("there is no operation {other}"),
        }),
    }
}

fn compute(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        black_box(());
    }
}

/// Asks a container of this kind.
fn ask(kind: &str, operation: &str, on_behalf: bool) -> Result<String, Error> {
    let other = containers_sync::get(kind, &wanted("other"))?;
    other.send("note", b"", on_behalf)?;
    let answer = other.request(operation, b"please", on_behalf, None)?;
    Ok(format!("{}: {}", other.id().uuid, String::from_utf8_lossy(&answer)))
}

/// The container of this name.
fn wanted(uuid: &str) -> GetOptions {
    GetOptions {
        uuid: Some(uuid.to_owned()),
        labels: vec![],
        select: vec![],
        extra: vec![],
        near: vec![],
        avoid: vec![],
    }
}

/// Hands this way on to the first container on it, which is of the same kind.
fn around(way: &str) -> Result<String, Error> {
    let own = identity::get().id;
    if way.is_empty() {
        return Ok(format!("{} was reached", own.uuid));
    }
    let (next, rest) = way.split_once(' ').unwrap_or((way, ""));
    let next = containers_sync::get(&own.kind, &wanted(next))?;
    let answer = next.request("around", rest.as_bytes(), true, None)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends to another container again and again.
fn pester(kind: &str) -> Result<String, Error> {
    let other = containers_sync::get(kind, &wanted("other"))?;
    Ok(until_refused(|| other.send("note", b"", false)))
}

/// Looks at a workspace again and again.
fn reread(workspace: &str) -> Result<String, Error> {
    documents_sync::create_workspace(workspace, true)?;
    let documents = documents_sync::open(workspace, true)?;
    Ok(until_refused(|| documents.head()))
}

/// How often it was served, and the refusal.
fn until_refused<T>(call: impl Fn() -> Result<T, Error>) -> String {
    let mut served = 0;
    loop {
        match call() {
            Ok(_) => served += 1,
            Err(error) => return format!("{served} {}", error.message),
        }
    }
}

/// Commits a document to a workspace and finds it again.
fn commit(workspace: &str) -> Result<String, Error> {
    documents_sync::create_workspace(workspace, true)?;
    let documents = documents_sync::open(workspace, true)?;
    let changes = documents_sync::Changes {
        first: documents.head()? + 1,
        transactions: vec![r#"{"_id":"t1"}"#.to_owned()],
        put: vec![r#"{"_id":"d1","_class":"note","text":"kept"}"#.to_owned()],
        remove: vec![],
    };
    let head = documents.commit(&changes).map_err(|error| refused(&error.to_string()))?;
    let found = documents.find(r#"{"_class":"note"}"#, "{}")?;
    Ok(format!("{head}: {}", found.documents.join(",")))
}

fn refused(message: &str) -> Error {
    Error { kind: ErrorKind::Application, retry: Retry::Final, message: message.to_owned() }
}
