//! Where this program listens, and who reaches it there.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use hulynet_bus::Admission;

use crate::{config::Settings, failure::Failure, units::Address};

/// Tells when strangers are served.
pub(super) fn warn_of_strangers(address: &Address, settings: &Settings) {
    if !is_for_strangers(address, &settings.accept) {
        return;
    }
    if settings.secret_file.is_none() {
        tracing::warn!(
            %address,
            "this address is not loopback, all addresses are accepted and there is no authentication: \
             whoever reaches it controls the network; give the network a secret with --secret-file, or \
             name those that may with --accept, such as 10.1.0.0/16"
        );
    } else if settings.accept_original.as_ref().is_some_and(Admission::is_open) {
        tracing::warn!(
            %address,
            "this address is not loopback and peers of the original network are let in from everywhere, \
             without a proof of the secret: whoever reaches it controls the network; name those that \
             may with --accept-original, such as 10.1.0.0/16"
        );
    }
}

fn is_for_strangers(address: &Address, accept: &Admission) -> bool {
    !address.is_local() && accept.is_open()
}

/// Where a program on this machine reaches a listener.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(loopback(address));
    }
    address
}

fn loopback(family: SocketAddr) -> IpAddr {
    if family.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// Refuses settings that keep this program's own agent away from its
/// coordinator, which listens at `address`.
pub(super) fn admits_itself(accept: &Admission, address: SocketAddr) -> Result<(), Failure> {
    let from = source(address).map_err(|error| {
        Failure::refused(format!("the coordinator's own address {address} has no route: {error}"))
    })?;
    if accept.admits(from) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the setting accept ({accept}) keeps this program's own agent away from its coordinator, \
         which it reaches from {from}; add {from} to it"
    )))
}

/// From which address this machine reaches another one; sends nothing.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Typed;

    #[test]
    fn a_listener_on_all_interfaces_is_reached_on_loopback() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
        }
    }

    #[test]
    fn strangers_are_served_where_everybody_is_let_in_beyond_loopback() {
        for (address, accept, strangers) in [
            ("127.0.0.1:1", "all", false),
            ("0.0.0.0:1", "10.0.0.0/8,127.0.0.1", false),
            ("0.0.0.0:1", "all", true),
            ("10.0.0.1:1", "0.0.0.0/0", true),
        ] {
            let (address, accept) = (Address::read(address).unwrap(), accept.parse().unwrap());
            assert_eq!(is_for_strangers(&address, &accept), strangers, "{address} {accept}");
        }
    }

    #[test]
    fn an_agent_that_its_own_coordinator_would_not_let_in_is_told_before_it_waits() {
        let address = "127.0.0.1:3737".parse().unwrap();
        for lets_in in ["all", "127.0.0.0/8", "10.0.0.0/8,127.0.0.1"] {
            assert!(admits_itself(&lets_in.parse().unwrap(), address).is_ok(), "{lets_in}");
        }
        let failure = admits_itself(&"10.0.0.0/8".parse().unwrap(), address).unwrap_err();
        assert!(failure.to_string().contains("add 127.0.0.1"), "{failure}");
    }
}
