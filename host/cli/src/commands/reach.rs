//! Reaching the network.

use std::{io, time::Duration};

use hulynet_client::{Client, ErrorKind};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::{
    config::Settings,
    failure::Failure,
    policy,
    units::{Address, Addresses, Typed},
};

/// What to do when no coordinator answers.
const REMEDY: &str = "start one with 'hulynet up' or name another with --coordinator HOST:PORT";

/// Does the work with a client of the network and leaves in order.
pub(crate) async fn with_client<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let client = connect(settings).await?;
    let done = work(&client).await;
    client.close(settings.goodbye_timeout).await;
    done
}

async fn connect(settings: &Settings) -> Result<Client, Failure> {
    let secret = policy::secret(settings)?;
    listening(settings).await?;
    let mut builder = Client::builder()
        .request_timeout(settings.timeout)
        .alive_timeout(settings.alive_timeout)
        .ping_interval(settings.ping_every())
        .hello_timeout(settings.hello_timeout)
        .goodbye_timeout(settings.goodbye_timeout);
    if let Some(secret) = secret {
        builder = builder.secret(secret);
    }
    if let Some(account) = &settings.account {
        builder = builder.account(account.clone());
    }
    builder.connect(settings.coordinator.iter().map(Address::as_str)).await.map_err(|error| {
        match error.kind {
            ErrorKind::Unavailable => Failure::late(format!("{}; {REMEDY}", error.message)),
            _ => error.into(),
        }
    })
}

/// Ends at once with the reason when nobody listens at any of the addresses,
/// or nobody is let in there from here, where a client would go on trying for
/// as long as it may.
pub(crate) async fn listening(settings: &Settings) -> Result<(), Failure> {
    let Settings { coordinator: addresses, timeout: within, .. } = settings;
    let mut causes = Vec::new();
    for address in addresses.iter() {
        match timeout(*within, TcpStream::connect(address.as_str())).await {
            Ok(Ok(server)) => {
                if !is_shut(server, settings.hello_timeout).await {
                    return Ok(());
                }
                causes.push(SHUT.to_owned());
            }
            Ok(Err(error)) => causes.push(cause(&error)),
            Err(_) => causes.push(format!("no answer within {}", within.show())),
        }
    }
    causes.dedup();
    Err(silent(addresses, &causes.join(", ")))
}

/// What it means when a server, which speaks first, ends a connection instead.
const SHUT: &str = "it closes the connection without a word: its setting accept does not admit \
                    this machine's address, it has too many connections, or it only \
                    forwards them and nobody listens behind it";

/// Whether the server ends the connection without a word; one that only takes
/// its time may still speak.
async fn is_shut(mut server: TcpStream, patience: Duration) -> bool {
    matches!(timeout(patience, server.read_u8()).await, Ok(Err(_)))
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

fn silent(addresses: &Addresses, cause: &str) -> Failure {
    Failure::late(format!("no coordinator answers at {addresses} ({cause}); {REMEDY}"))
}
