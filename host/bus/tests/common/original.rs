//! A peer of the original network, byte by byte.

use std::time::Duration;

use hulynet_bus::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

const READY: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";

/// Its end of a connection.
pub struct Original {
    stream: TcpStream,
    pub name: String,
}

impl Original {
    /// Connects, in pieces as libzmq does, without saying anything.
    pub async fn connect(server: &Server, name: &str) -> Self {
        Self::over(TcpStream::connect(server.local_addr()).await.unwrap(), name).await.unwrap()
    }

    /// The same on a connection of the test's; `None` when the server ends it.
    pub async fn over(mut stream: TcpStream, name: &str) -> Option<Self> {
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10], greeting[11]) = (0xff, 0x7f, 3, 1);
        greeting[12..16].copy_from_slice(b"NULL");
        for piece in [&greeting[..10], &greeting[10..], READY] {
            stream.write_all(piece).await.ok()?;
        }
        let mut answer = [0; 66];
        soon(stream.read_exact(&mut answer)).await.ok()?;
        let mut ready = vec![0; answer[65].into()];
        soon(stream.read_exact(&mut ready)).await.ok()?;
        Some(Self { stream, name: name.to_owned() })
    }

    /// Connects, says hello and reads the answer.
    pub async fn join(server: &Server, name: &str, alive: Duration) -> Self {
        let mut peer = Self::connect(server, name).await;
        peer.hello(alive).await;
        assert_eq!(peer.receive().await[0], "0");
        peer
    }

    pub async fn hello(&mut self, alive: Duration) {
        let (name, alive) = (self.name.clone(), alive.as_secs_f64());
        self.send(&["0", &name, &format!("{{\"aliveTimeout\":{alive}}}"), ""]).await;
    }

    /// Sends a message; an end of the connection shows when it is read.
    pub async fn send(&mut self, frames: &[&str]) {
        let _ended = self.stream.write_all(&message(frames)).await;
    }

    /// The next message.
    pub async fn receive(&mut self) -> Vec<String> {
        soon(self.read()).await.expect("the connection ended")
    }

    /// Reads until the server closes, which it must; what came before.
    pub async fn ends(mut self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let Some(message) = soon(self.read()).await {
            all.push(message);
        }
        all
    }

    async fn read(&mut self) -> Option<Vec<String>> {
        let mut frames = Vec::new();
        loop {
            let flags = self.stream.read_u8().await.ok()?;
            let length = match flags & 2 {
                0 => self.stream.read_u8().await.ok()?.into(),
                _ => self.stream.read_u64().await.ok()?,
            };
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            frames.push(String::from_utf8(frame).unwrap());
            if flags & 1 == 0 {
                return Some(frames);
            }
        }
    }
}

fn message(frames: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        let more = u8::from(place + 1 < frames.len());
        match u8::try_from(frame.len()) {
            Ok(length) => bytes.extend_from_slice(&[more, length]),
            Err(_) => {
                bytes.push(2 | more);
                bytes.extend_from_slice(&(frame.len() as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(frame.as_bytes());
    }
    bytes
}
