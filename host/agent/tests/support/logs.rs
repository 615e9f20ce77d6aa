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

/// What is logged between these two texts, once both are there.
pub async fn logged_between(begin: &str, end: &str) -> String {
    let found = async {
        loop {
            let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let log = String::from_utf8(log).unwrap();
            let after = log.split_once(begin).map(|(_, after)| after);
            if let Some((between, _)) = after.and_then(|after| after.split_once(end)) {
                return between.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it is logged in time")
}
