//! Bytes as they were recorded on the wire, played to a coordinator that
//! listens.

use std::{fs, path::Path, time::Duration};

use hulynet_bus::Bus;
use hulynet_coordinator::{Coordinator, CoordinatorConfig, registry::RegistryConfig};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::recording::Spoken;

const LIMIT: Duration = Duration::from_secs(10);
const GREETING: usize = 64;

/// One direction of a connection, cut into messages of text frames.
#[derive(Default)]
struct Side {
    bytes: Vec<u8>,
    greeted: bool,
}

impl Side {
    /// The next message; commands of the transport are passed over.
    fn next(&mut self) -> Option<Vec<String>> {
        if !self.greeted {
            if self.bytes.len() < GREETING {
                return None;
            }
            let greeting: Vec<u8> = self.bytes.drain(..GREETING).collect();
            assert_eq!((greeting[0], greeting[9], greeting[10]), (0xff, 0x7f, 3));
            assert_eq!(&greeting[12..17], b"NULL\0");
            self.greeted = true;
        }
        let (mut at, mut frames) = (0, Vec::new());
        loop {
            let flags = *self.bytes.get(at)?;
            let (length, body) = if flags & 2 == 0 {
                (usize::from(*self.bytes.get(at + 1)?), at + 2)
            } else {
                let length = self.bytes.get(at + 1..at + 9)?.try_into().unwrap();
                (u64::from_be_bytes(length) as usize, at + 9)
            };
            let frame = self.bytes.get(body..body + length)?;
            at = body + length;
            if flags & 4 != 0 {
                assert!(frame.starts_with(b"\x05READY"));
                self.bytes.drain(..at);
                at = 0;
                continue;
            }
            frames.push(String::from_utf8(frame.to_vec()).unwrap());
            if flags & 1 == 0 {
                self.bytes.drain(..at);
                return Some(frames);
            }
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Plays what clients sent and compares what they are told.
pub async fn play(file: &Path) -> bool {
    let Ok(text) = fs::read_to_string(file) else {
        eprintln!("SKIPPED: {} is not beside the checkout (../shared)", file.display());
        return false;
    };
    let bus = Bus::start("wire").unwrap();
    // Nothing is to be recovered, so no request waits for it.
    let registry = RegistryConfig { recovery_window: Duration::ZERO, ..RegistryConfig::default() };
    let config = CoordinatorConfig {
        listen: "127.0.0.1:0".to_owned(),
        registry,
        ..CoordinatorConfig::default()
    };
    let coordinator = Coordinator::start(config, &bus).await.unwrap();
    let mut stream = TcpStream::connect(coordinator.local_addr()).await.unwrap();
    let (mut recorded, mut ours, mut compared) = (Side::default(), Side::default(), 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let said = bytes(line["hex"].as_str().unwrap());
        if line["dir"] == "c2s" {
            stream.write_all(&said).await.unwrap();
            continue;
        }
        recorded.bytes.extend(said);
        while let Some(expected) = recorded.next() {
            let got = loop {
                match ours.next() {
                    Some(got) => break got,
                    None => {
                        let read = timeout(LIMIT, stream.read_buf(&mut ours.bytes));
                        assert_ne!(read.await.unwrap().unwrap(), 0, "it closed");
                    }
                }
            };
            assert_eq!((expected.len(), got.len()), (3, 3));
            assert_eq!(spoken(&got), spoken(&expected));
            compared += 1;
        }
    }
    assert!(compared >= 4, "{compared} messages are no recording");
    true
}

fn spoken(frames: &[String]) -> Spoken {
    Spoken::new(&frames[0], &frames[1], &frames[2])
}
