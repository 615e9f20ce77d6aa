//! A kind that attacks its host with the means of the SDK: what it calls, holds
//! and never finishes. Tests of the agent run it beside a healthy container.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, channel::oneshot, stream::FuturesUnordered};
use hulynet_sdk::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

/// What it was told at its start to do later.
struct Hostile {
    refuses_to_end: bool,
    accepts_nobody: bool,
    /// Items of endless streams.
    streamed: Arc<AtomicU64>,
    /// Containers that waited for a request.
    waiting: AtomicU64,
    /// Sends to itself that were refused.
    refused: AtomicU64,
    /// Who came first to meet somebody.
    meeting: Mutex<Option<oneshot::Sender<()>>>,
}

impl Hostile {
    fn meeting(&self) -> MutexGuard<'_, Option<oneshot::Sender<()>>> {
        self.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[kind]
impl Hostile {
    /// `wait` never starts; `stay` never ends; `alone` accepts nobody.
    #[start]
    async fn start(extra: Raw) -> Self {
        if extra.0 == b"wait" {
            std::future::pending::<()>().await;
        }
        Self {
            refuses_to_end: extra.0 == b"stay",
            accepts_nobody: extra.0 == b"alone",
            streamed: Arc::default(),
            waiting: AtomicU64::default(),
            refused: AtomicU64::default(),
            meeting: Mutex::default(),
        }
    }

    #[connect]
    async fn connect(&self, _connection: &Connection) -> Result<()> {
        if self.accepts_nobody {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    #[terminate]
    async fn terminate(&self, _force: bool) -> Termination {
        if self.refuses_to_end {
            std::future::pending::<()>().await;
        }
        Termination::Ended
    }

    /// Holds the thread for ever.
    fn sleep(&self) {
        loop {
            std::thread::sleep(Duration::from_secs(1_000_000));
        }
    }

    /// Sets timers without end. Answers how many it got, and the refusal.
    async fn timers(&self) -> (u32, String) {
        let mut set = FuturesUnordered::new();
        loop {
            set.push(hulynet_sdk::time::sleep(Duration::from_secs(1_000)));
            if let Some(Some(Err(error))) = set.next().now_or_never() {
                return (u32::try_from(set.len()).unwrap_or(u32::MAX), error.message);
            }
        }
    }

    /// Overwrites this many bytes again and again for so many milliseconds: one
    /// instruction each time.
    fn overwrite(&self, bytes: usize, milliseconds: u64) {
        let (begun, mut memory) = (Instant::now(), vec![0_u8; bytes]);
        for value in (0..=u8::MAX).cycle() {
            memory.fill(value);
            std::hint::black_box(&memory);
            if begun.elapsed() > Duration::from_millis(milliseconds) {
                return;
            }
        }
    }

    /// Waits so many milliseconds without holding anybody up.
    async fn nap(&self, milliseconds: u64) -> Result<()> {
        hulynet_sdk::time::sleep(Duration::from_millis(milliseconds)).await
    }

    /// Never answers, but lets others in.
    async fn wait(&self) {
        std::future::pending().await
    }

    /// Never answers, and lets nobody in.
    async fn hold(&mut self) {
        std::future::pending().await
    }

    /// Asks the same of a container, `width` times each. Answers how
    /// many requests were refused, and the last refusal.
    async fn fork(&self, kind: String, uuid: String, width: u32) -> Result<(u32, String)> {
        let reference = containers::get(&kind, GetOptions::uuid(&uuid)).await?;
        let arguments = (&kind, &uuid, width);
        let mut asked: FuturesUnordered<_> =
            (0..width).map(|_| ask::<(u32, String)>(&reference, "fork", &arguments)).collect();
        let mut refused = (0, String::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok((count, text)) => refused = (refused.0 + count, text),
                Err(error) => refused = (refused.0 + 1, error.message),
            }
        }
        Ok(refused)
    }

    /// Sends itself, which has this name, twice what it was sent.
    async fn breed(&self, uuid: String) -> Result<()> {
        let itself = containers::get("hostile", GetOptions::uuid(&uuid)).await?;
        for _ in 0..2 {
            if itself.send("breed", &(&uuid,)).await.is_err() {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// How many sends to itself were refused.
    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Asks a container without end what that never answers, with so many bytes
    /// each time. Answers how many answers it waits for, and the refusal.
    async fn nag(&self, uuid: String, bytes: usize) -> Result<(u32, String)> {
        let reference = containers::get("hostile", GetOptions::uuid(uuid)).await?;
        let payload = format!("[]{}", " ".repeat(bytes)).into_bytes();
        let mut asked = FuturesUnordered::new();
        loop {
            asked.push(reference.request("wait", payload.clone()));
            if let Some(Some(Err(error))) = asked.next().now_or_never() {
                return Ok((u32::try_from(asked.len()).unwrap_or(u32::MAX), error.message));
            }
        }
    }

    /// Sends to a container again and again. Answers how often, and the refusal.
    async fn pester(&self, uuid: String) -> Result<(u32, String)> {
        let reference = containers::get("hostile", GetOptions::uuid(uuid)).await?;
        Ok(until_refused(async || reference.send("remember", &()).await).await)
    }

    /// Connects to it again and again. The same.
    async fn join(&self, uuid: String) -> Result<(u32, String)> {
        let reference = containers::get("hostile", GetOptions::uuid(uuid)).await?;
        Ok(until_refused(async || reference.connect().await).await)
    }

    /// The same with its documents.
    async fn rummage(&self, context: &Context) -> (u32, String) {
        until_refused(async || documents::workspaces(Some(&context.caller)).await).await
    }

    /// The same with the documents of one workspace.
    async fn reread(&self, context: &Context) -> Result<(u32, String)> {
        documents::create_workspace("own", Some(&context.caller)).await?;
        let workspace = documents::open("own", Some(&context.caller)).await?;
        Ok(until_refused(async || workspace.head().await).await)
    }

    /// Streams without end.
    fn endless(&self) -> Items<String> {
        let streamed = self.streamed.clone();
        Items::produce(async move |sender| {
            loop {
                sender.send("x".repeat(1024)).await?;
                streamed.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// A slow stream that does not end.
    fn trickle(&self) -> Items<String> {
        Items::produce(async |sender| {
            loop {
                sender.send("x".to_owned()).await?;
                hulynet_sdk::time::sleep(Duration::from_millis(10)).await?;
            }
        })
    }

    /// A stream of one item that does not end.
    fn open(&self) -> Items<String> {
        Items::produce(async move |sender| {
            sender.send("x".to_owned()).await?;
            std::future::pending().await
        })
    }

    /// Remembers how many containers wait for this.
    fn remember(&self, context: &Context) {
        self.waiting.store(context.caller.path().len() as u64, Ordering::Relaxed);
    }

    /// What it remembered last.
    fn remembered(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many items it streamed.
    fn streamed(&self) -> u64 {
        self.streamed.load(Ordering::Relaxed)
    }

    /// Asks another container for an endless stream and never reads it.
    async fn hoard(&self, uuid: String) -> Result<()> {
        let reference = containers::get("hostile", GetOptions::uuid(uuid)).await?;
        let _unread = reference.request("endless", Vec::new()).await?;
        std::future::pending().await
    }

    /// The same, but answers, and holds the stream for ever.
    async fn keep(&self, uuid: String) -> Result<()> {
        let reference = containers::get("hostile", GetOptions::uuid(uuid)).await?;
        let unread = reference.request("endless", Vec::new()).await?;
        spawn(async move {
            let _unread = unread;
            std::future::pending().await
        });
        Ok(())
    }

    /// Asks each of these containers for an endless stream, and holds it.
    /// Answers how many it got, and the refusal.
    async fn gather(&self, uuids: Vec<String>) -> Result<(usize, String)> {
        let mut held = Vec::new();
        for uuid in uuids {
            let reference = containers::get("hostile", GetOptions::uuid(uuid)).await?;
            match reference.request("endless", Vec::new()).await {
                Ok(unread) => held.push(unread),
                Err(error) => return Ok((held.len(), error.message)),
            }
        }
        Ok((held.len(), String::new()))
    }

    /// Takes references without end and forgets to release them. Answers how
    /// many it got and what the last refusal said.
    async fn leak(&self) -> (u32, String) {
        let mut held = 0;
        loop {
            match containers::get("echo", GetOptions::uuid(format!("leak-{held}"))).await {
                Ok(reference) => std::mem::forget(reference),
                Err(error) => return (held, error.message),
            }
            held += 1;
        }
    }

    /// Prints a text on stdout and one on stderr.
    fn say(&self, out: String, err: String) {
        println!("{out}");
        eprintln!("{err}");
    }

    /// Says this without ending the line, and fails.
    fn die(&self, words: String) {
        eprint!("{words}");
        std::process::abort();
    }

    /// A variable of its environment.
    fn variable(&self, name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    /// Draws so many random bytes at once and answers how many it got.
    fn draw(&self, bytes: u64) -> usize {
        wasip2::random::random::get_random_bytes(bytes).len()
    }

    /// A random number.
    fn random(&self) -> u64 {
        RandomState::new().hash_one(0)
    }

    /// Prints without end, without ever ending the line.
    fn print(&self) {
        loop {
            print!("x");
        }
    }

    /// Calls back through another container, and answers what that answers.
    async fn around(&self, uuid: String, way: Vec<String>) -> Result<String> {
        pass(&uuid, way, "around").await
    }

    /// The same, letting nobody else in meanwhile.
    async fn around_alone(&mut self, uuid: String, way: Vec<String>) -> Result<String> {
        pass(&uuid, way, "around_alone").await
    }

    /// Asks another container for what that does alone, as this does alone, when
    /// that does the same for somebody else: before, both meet in a third one.
    async fn cross(&mut self, other: String, meeting: String) -> Result<String> {
        let meeting = containers::get("hostile", GetOptions::uuid(&meeting)).await?;
        ask::<()>(&meeting, "meet", &()).await?;
        pass("nobody", vec![other], "around_alone").await
    }

    /// Returns when two have come.
    async fn meet(&self) {
        let first = self.meeting().take();
        if let Some(first) = first {
            // Who gave up meanwhile meets nobody.
            let _ = first.send(());
            return;
        }
        let (sender, second) = oneshot::channel();
        *self.meeting() = Some(sender);
        let _ = second.await;
    }

    /// Tries what no container may do, and answers what it got.
    fn pry(&self) -> Vec<String> {
        let mut got = Vec::new();
        let mut note = |what: &str, got_it: bool| {
            if got_it {
                got.push(what.to_owned());
            }
        };
        note("files", std::fs::read_dir("/").is_ok() || std::fs::read_dir(".").is_ok());
        note("a file", std::fs::write("hostile", b"x").is_ok());
        note("environment", std::env::vars_os().next().is_some());
        note("arguments", std::env::args_os().next().is_some());
        note("listening", std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        note("connecting", std::net::TcpStream::connect("127.0.0.1:22").is_ok());
        note("sending", std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
        got
    }
}

/// Does something again and again. Tells how often, and the refusal.
async fn until_refused<T>(call: impl AsyncFn() -> Result<T>) -> (u32, String) {
    let mut served = 0;
    loop {
        match call().await {
            Ok(_) => served += 1,
            Err(error) => return (served, format!("{:?}: {}", error.kind, error.message)),
        }
    }
}

/// Hands the way on to the next container on it; the last one is `uuid` again.
async fn pass(uuid: &str, mut way: Vec<String>, operation: &str) -> Result<String> {
    if way.is_empty() {
        return Ok(format!("{uuid} was reached"));
    }
    let next = way.remove(0);
    let reference = containers::get("hostile", GetOptions::uuid(&next)).await?;
    ask(&reference, operation, &(next, way)).await
}

async fn ask<T: DeserializeOwned + 'static>(
    reference: &Reference,
    operation: &str,
    arguments: &impl Serialize,
) -> Result<T> {
    let payload = serde_json::to_vec(arguments).map_err(Error::invalid_arguments)?;
    reference.request(operation, payload).await?.value().await
}
