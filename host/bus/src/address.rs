//! Addresses as people write them: `HOST:PORT`.

use std::{io, net::SocketAddr};

use tokio::net::lookup_host;

/// Where `HOST:PORT` leads; IPv6 in brackets.
pub(crate) async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let is_formed = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_formed {
        let why = "it is not of the form HOST:PORT, for example 127.0.0.1:3737 or [::1]:3737";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let found: Vec<_> = lookup_host(address).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    Ok(found)
}
