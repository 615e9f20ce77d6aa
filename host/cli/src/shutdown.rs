//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at
//! once.

use std::{io, process};

use tokio::signal;
use tokio_util::sync::CancellationToken;

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Becomes cancelled with the first signal. Must be called within a runtime,
/// once.
pub(crate) fn on_signal() -> io::Result<CancellationToken> {
    let asked = CancellationToken::new();
    let mut signals = Signals::new()?;
    let told = asked.clone();
    tokio::spawn(async move {
        signals.next().await;
        told.cancel();
        signals.next().await;
        process::exit(INTERRUPTED);
    });
    Ok(asked)
}

#[cfg(unix)]
struct Signals {
    interrupt: signal::unix::Signal,
    terminate: signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals(signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
