//! What a container prints on stdout and stderr becomes log lines.
//! A line is written when it ends, or the container does, so that the last
//! words of one that traps are not lost. Of a line that is too long only as much
//! is kept as shows that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::log::Gate;
use crate::bindings::huly::network::log::Level;

/// Bytes that are taken at a time.
const WRITE_BYTES: usize = 8 * 1024;

/// A stream of a container's text.
pub(crate) struct Output {
    log: Gate,
    /// However often a container asks for the stream, it has one unfinished line.
    line: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    /// Lines go to the container's log.
    pub(crate) fn new(log: Gate) -> Self {
        Self { log, line: Arc::default() }
    }

    fn line(&self) -> MutexGuard<'_, Vec<u8>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_line(&self, line: &mut Vec<u8>) {
        let line = std::mem::take(line);
        if !line.is_empty() {
            self.log.write(Level::Info, String::from_utf8_lossy(&line).into_owned(), &[]);
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut line = self.line();
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(&mut line),
                byte if line.len() <= self.log.line_bytes() => line.push(byte),
                _ => {}
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.end_line(&mut self.line());
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self { log: self.log.clone(), line: self.line.clone() })
    }
}
