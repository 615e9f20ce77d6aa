//! An agent of the original network, byte by byte: its connection to the
//! coordinator, and a server of its own that does as it is told.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

pub const DEALER: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";
const ROUTER: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0";

/// One end of a connection after the handshake.
pub struct Line {
    read: OwnedReadHalf,
    pub write: OwnedWriteHalf,
}

impl Line {
    pub async fn open(mut stream: TcpStream, ready: &[u8]) -> Self {
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).await.unwrap();
        stream.write_all(ready).await.unwrap();
        let mut theirs = [0; 66];
        stream.read_exact(&mut theirs).await.unwrap();
        let mut ready = vec![0; theirs[65].into()];
        stream.read_exact(&mut ready).await.unwrap();
        let (read, write) = stream.into_split();
        Self { read, write }
    }

    pub async fn send(&mut self, frames: &[&str]) {
        send(&mut self.write, frames).await;
    }

    /// The next message; `None` when the other side closed.
    pub async fn receive(&mut self) -> Option<Vec<String>> {
        receive(&mut self.read).await
    }

    pub async fn hears(&mut self) -> Vec<String> {
        timeout(LIMIT, self.receive()).await.unwrap().expect("it closed")
    }

    /// Waits for the other side to close. Its pings are answered, so that it
    /// does not close for want of an answer; what else it said is given.
    pub async fn closes(&mut self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let Some(message) = timeout(LIMIT, self.receive()).await.unwrap() {
            if message[0] == "5" {
                self.send(&["6", "home", ""]).await;
            } else {
                all.push(message);
            }
        }
        all
    }
}

async fn send(write: &mut OwnedWriteHalf, frames: &[&str]) {
    let mut bytes = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        bytes.push(2 | u8::from(place + 1 < frames.len()));
        bytes.extend_from_slice(&(frame.len() as u64).to_be_bytes());
        bytes.extend_from_slice(frame.as_bytes());
    }
    // An end of the connection shows when it is read.
    let _ended = write.write_all(&bytes).await;
}

async fn receive(read: &mut OwnedReadHalf) -> Option<Vec<String>> {
    let mut frames = Vec::new();
    loop {
        let flags = read.read_u8().await.ok()?;
        let length = match flags & 2 {
            0 => read.read_u8().await.ok()?.into(),
            _ => read.read_u64().await.ok()?,
        };
        let mut frame = vec![0; length as usize];
        read.read_exact(&mut frame).await.ok()?;
        frames.push(String::from_utf8(frame).unwrap());
        if flags & 1 == 0 {
            return Some(frames);
        }
    }
}

/// The agent's own server.
pub struct Home {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Home {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Who connects next, before the handshake.
    pub async fn next(&self) -> TcpStream {
        timeout(LIMIT, self.listener.accept()).await.unwrap().unwrap().0
    }

    /// Who connects next and says hello; it is welcome.
    pub async fn greets(&self) -> Line {
        let mut line = Line::open(self.next().await, ROUTER).await;
        let hello = line.hears().await;
        assert_eq!((hello[0].as_str(), hello.len()), ("0", 3));
        line.send(&["0", "home", ""]).await;
        line
    }

    /// Who connects to a container next.
    pub async fn connects(&self, container: &str) -> Line {
        let mut line = self.greets().await;
        let request = line.hears().await;
        assert_eq!(request[0], "1");
        let asked: Value = serde_json::from_str(&request[2]).unwrap();
        assert_eq!(asked, json!(["cc", { "uuid": container }]));
        line.send(&["2", &request[1], "0"]).await;
        line
    }
}

/// Its connection to the coordinator: serves the kind `ts` and gives every
/// container that is asked for. They answer with what they are asked, but for
/// the operation `stuck`, to which nothing answers.
pub struct Agent {
    pub task: JoinHandle<()>,
    /// Containers that it was asked to end.
    pub ended: mpsc::Receiver<String>,
    stuck: Arc<Notify>,
    tell: mpsc::Sender<String>,
}

impl Agent {
    /// `reference` makes the reference to a container.
    pub async fn join(
        coordinator: SocketAddr,
        name: &str,
        reference: impl Fn(&str) -> String + Send + 'static,
    ) -> Self {
        let stream = TcpStream::connect(coordinator).await.unwrap();
        let mut line = Line::open(stream, DEALER).await;
        let client = format!("client-of-{name}");
        line.send(&["0", &client, r#"{"aliveTimeout":2}"#, ""]).await;
        assert_eq!(line.hears().await[0], "0");
        line.send(&["1", &format!("{client}-0"), &registration(name)]).await;
        let registered = line.hears().await;
        assert_eq!((registered[0].as_str(), registered[2].as_str()), ("2", "[]"));
        let (ends, ended) = mpsc::channel(16);
        let (tell, mut told) = mpsc::channel::<String>(16);
        let stuck = Arc::new(Notify::new());
        let hangs = Arc::clone(&stuck);
        let Line { mut read, mut write } = line;
        let (heard, mut messages) = mpsc::channel(16);
        let reading = tokio::spawn(async move {
            while let Some(frames) = receive(&mut read).await {
                if heard.send(frames).await.is_err() {
                    return;
                }
            }
        });
        let task = tokio::spawn(async move {
            // The connection ends with this task.
            let _reading = Reading(reading);
            let mut pings = tokio::time::interval(Duration::from_millis(300));
            loop {
                let frames = tokio::select! {
                    _ = pings.tick() => {
                        send(&mut write, &["5", "", "", ""]).await;
                        continue;
                    }
                    Some(request) = told.recv() => {
                        send(&mut write, &["1", "later", &request]).await;
                        continue;
                    }
                    Some(frames) = messages.recv() => frames,
                    else => return,
                };
                if frames[0] != "1" {
                    continue;
                }
                let request: Value = serde_json::from_str(&frames[2]).unwrap();
                let arguments = &request[1][1];
                let answer = match request[0].as_str().unwrap() {
                    "gg" => {
                        let uuid = arguments[1]["uuid"].as_str().unwrap();
                        json!([uuid, reference(uuid)])
                    }
                    "ct" => {
                        let _unheard = ends.send(arguments[0].as_str().unwrap().to_owned()).await;
                        json!("")
                    }
                    _ if arguments[1] == "stuck" => {
                        hangs.notify_one();
                        continue;
                    }
                    _ => arguments[2].clone(),
                };
                send(&mut write, &["2", &frames[1], &answer.to_string()]).await;
            }
        });
        Self { task, ended, stuck, tell }
    }

    /// Whose containers are asked through it, at its own server.
    pub async fn routed(coordinator: SocketAddr, name: &str, home: &Home) -> Self {
        let (port, agent) = (home.address.port(), name.to_owned());
        Self::join(coordinator, name, move |uuid| {
            json!({ "kind": 0, "host": "127.0.0.1", "port": port, "agentId": agent, "uuid": uuid })
                .to_string()
        })
        .await
    }

    /// Waits until a request came that it does not answer.
    pub async fn heard_stuck(&self) {
        timeout(LIMIT, self.stuck.notified()).await.unwrap();
    }

    /// It brings the same again.
    pub async fn registers(&self, name: &str) {
        self.tell.send(registration(name)).await.unwrap();
    }

    /// It leaves, and its client stays.
    pub async fn unregisters(&self, name: &str) {
        self.tell.send(json!(["au", { "uuid": name }]).to_string()).await.unwrap();
    }
}

/// What an agent says that brings nothing.
fn registration(name: &str) -> String {
    let agent = json!({ "uuid": name, "containers": [], "kinds": ["ts"], "endpoint": null });
    json!(["ar", agent]).to_string()
}

/// A task that ends when this is dropped.
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}
