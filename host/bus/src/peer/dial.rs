//! Makes one connection.

use std::{io, net::SocketAddr, time::Duration};

use futures::channel::mpsc;
use tokio::{net::TcpStream, time::timeout};
use zeromq::{DealerSocket, Socket, SocketEvent, SocketOptions};

use crate::address::resolve;

/// Longer than a handshake takes, shorter than people wait.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A connected socket, and what tells when it is not any more.
pub(super) struct Dialed {
    pub(super) socket: DealerSocket,
    pub(super) monitor: mpsc::Receiver<SocketEvent>,
}

/// Connects to the first address that answers; the error is for people.
pub(super) async fn dial(address: &str) -> Result<Dialed, String> {
    let addresses = timeout(TIMEOUT, resolve(address))
        .await
        .map_err(|_| format!("its name was not found within {TIMEOUT:?}"))?
        .map_err(|error| error.to_string())?;
    let mut failure = String::new();
    for address in addresses {
        match dial_one(address).await {
            Ok(dialed) => return Ok(dialed),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn dial_one(address: SocketAddr) -> Result<Dialed, String> {
    // The crate keeps a refusal to itself and tries again until its timeout,
    // so this asks first.
    let probe = timeout(TIMEOUT, TcpStream::connect(address)).await;
    let probe = probe.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    drop(probe.map_err(|error| error.to_string())?);
    let mut options = SocketOptions::default();
    options.connect_timeout(TIMEOUT);
    let mut socket = DealerSocket::with_options(options);
    let monitor = socket.monitor();
    let connected = socket.connect(&format!("tcp://{address}")).await;
    connected.map_err(|error| format!("it does not answer as a server: {error}"))?;
    Ok(Dialed { socket, monitor })
}
