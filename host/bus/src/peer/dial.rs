//! Makes one connection.

use std::{io, net::SocketAddr};

use tokio::{net::TcpStream, time::timeout};

use super::line::{Line, TIMEOUT};
use crate::{address::resolve, zmtp::Limits};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct DialError {
    /// For people.
    pub(crate) why: String,
    /// Nobody listens there.
    pub(crate) refused: bool,
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        Self { why: error.to_string(), refused }
    }
}

/// Connects to the first address that answers, whose server may send so much.
pub(crate) async fn dial(address: &str, limits: Limits) -> Result<Line, DialError> {
    let late =
        |_| DialError { why: format!("its name was not found within {TIMEOUT:?}"), refused: false };
    let addresses = timeout(TIMEOUT, resolve(address)).await.map_err(late)??;
    let mut failure = DialError { why: String::new(), refused: true };
    for address in addresses {
        match dial_one(address, limits).await {
            Ok(line) => return Ok(line),
            Err(error) => {
                let refused = failure.refused && error.refused;
                failure = DialError { why: error.why, refused };
            }
        }
    }
    Err(failure)
}

async fn dial_one(address: SocketAddr, limits: Limits) -> Result<Line, DialError> {
    let connected = timeout(TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    Line::open(stream, limits).await
}
