//! What the operator reads, of the whole test program: tests look for names of
//! their own.

use std::{
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
};

use super::PATIENCE;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged from now on.
pub fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init();
    });
}

/// The log so far.
pub fn log() -> String {
    String::from_utf8(LOG.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
}

/// The log up to where this stands, once it does.
pub async fn logged(text: &str) -> String {
    until(|log| Some(log.split_once(text)?.0.to_owned())).await
}

/// What is told of a container in the line that begins so, once it is.
pub async fn told_of(begins: &str, container: &str) -> String {
    let told = |log: &str| {
        let lines = log.split(begins).skip(1);
        let mut told = lines.filter_map(|line| line.split_once("container="));
        let (details, _) = told.find(|(_, named)| named.starts_with(container))?;
        Some(details.to_owned())
    };
    until(told).await
}

/// What is found in the log, once it is.
async fn until(find: impl Fn(&str) -> Option<String>) -> String {
    let found = async {
        loop {
            if let Some(found) = find(&log()) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it is logged in time")
}
