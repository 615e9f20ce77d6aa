//! From which addresses a listening socket takes connections. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// What stands for everybody.
const ALL: &str = "all";

/// Everybody, or whose address lies in one of some networks of IP addresses.
///
/// It is written as `all`, or as networks (`10.1.0.0/16`, `fd00::/8`) and
/// single addresses (`127.0.0.1`, `::1`) separated by commas. An address of
/// IPv4 in the form of IPv6 (`::ffff:10.1.2.3`), as a socket for both sees it,
/// is judged as the one of IPv4 that it carries; so `::/0` names nobody of
/// IPv4.
///
/// An address tells where a peer is and not who it is: whoever can send from
/// an admitted one is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// `None` for everybody.
    networks: Option<Vec<IpNet>>,
}

impl Admission {
    /// Whether a peer at this address is let in.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .as_ref()
            .is_none_or(|all| all.iter().any(|network| network.contains(&address)))
    }

    /// Whether all addresses of IPv4, or of IPv6, are let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.networks.as_ref().is_none_or(|all| all.iter().any(|network| network.prefix_len() == 0))
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(networks) = &self.networks else { return f.write_str(ALL) };
        for (place, network) in networks.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(f, "{separator}{network}")?;
        }
        Ok(())
    }
}

impl FromStr for Admission {
    type Err = AdmissionError;

    fn from_str(text: &str) -> Result<Self, AdmissionError> {
        if text.trim().is_empty() {
            return Err(AdmissionError::Nobody);
        }
        if text.trim() == ALL {
            return Ok(Self::default());
        }
        let networks =
            text.split(',').map(|part| network(part.trim())).collect::<Result<_, _>>()?;
        Ok(Self { networks: Some(networks) })
    }
}

/// Why a text is no [`Admission`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// It is empty.
    #[error("it names nobody; name networks, or write all")]
    Nobody,
    /// Not an address, with or without a prefix.
    #[error(
        "{0:?} is not a network such as 10.1.0.0/16 or fd00::/8 nor an address such as 10.1.2.3 or ::1; \
         names of hosts cannot be used, and all stands alone"
    )]
    Address(String),
    /// The prefix is not a number, or longer than an address.
    #[error("{text:?} has no prefix of 0 to {most} bits after its slash")]
    Prefix {
        /// What was written.
        text: String,
        /// The bits of an address.
        most: u8,
    },
    /// The address goes on after the prefix.
    #[error(
        "{text:?} is not the first address of its network; write {network} for the network, or {address} for this address alone"
    )]
    HostBits {
        /// What was written.
        text: String,
        /// The network that it lies in.
        network: IpNet,
        /// The address in it.
        address: IpAddr,
    },
    /// Of IPv4, in the form of IPv6.
    #[error("{text:?} stands for addresses of IPv4; write {network}")]
    Mapped {
        /// What was written.
        text: String,
        /// The same in the form of IPv4.
        network: IpNet,
    },
}

/// The bits of `::ffff:0:0/96`, under which addresses of IPv4 stand in IPv6.
const MAPPED: u8 = 96;

fn network(text: &str) -> Result<IpNet, AdmissionError> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| AdmissionError::Address(text.to_owned()))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let wrong = || AdmissionError::Prefix { text: text.to_owned(), most };
    let bits = match prefix {
        // Numbers may have a sign elsewhere.
        Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
            prefix.parse().map_err(|_| wrong())?
        }
        Some(_) => return Err(wrong()),
        None => most,
    };
    let network = IpNet::new(address, bits).map_err(|_| wrong())?;
    if let IpAddr::V6(v6) = address
        && let (Some(v4), Some(bits)) = (v6.to_ipv4_mapped(), bits.checked_sub(MAPPED))
    {
        let network = IpNet::new(v4.into(), bits).map_err(|_| wrong())?.trunc();
        return Err(AdmissionError::Mapped { text: text.to_owned(), network });
    }
    if network.trunc() != network {
        let (text, network) = (text.to_owned(), network.trunc());
        return Err(AdmissionError::HostBits { text, network, address });
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(text: &str) -> Admission {
        text.parse().unwrap()
    }

    fn mistake(text: &str) -> String {
        text.parse::<Admission>().unwrap_err().to_string()
    }

    fn admits(admission: &Admission, address: &str) -> bool {
        admission.admits(address.parse().unwrap())
    }

    #[test]
    fn everybody_is_let_in_unless_networks_are_named() {
        for everybody in [Admission::default(), admission("all"), admission(" all ")] {
            assert!(everybody.is_open());
            for address in ["127.0.0.1", "203.0.113.7", "::1", "2001:db8::1", "::ffff:1.2.3.4"] {
                assert!(admits(&everybody, address), "{address}");
            }
        }
    }

    #[test]
    fn only_addresses_in_a_named_network_are_let_in() {
        let some = admission("10.1.0.0/16, 127.0.0.0/8,192.0.2.7, fd00::/8,::1");
        for inside in [
            "10.1.0.0",
            "10.1.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "192.0.2.7",
            "fd00::",
            "fdff:ffff::1",
            "::1",
        ] {
            assert!(admits(&some, inside), "{inside}");
        }
        for outside in [
            "10.0.255.255",
            "10.2.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "0.0.0.0",
            "fc00::1",
            "fe00::",
            "::",
            "::2",
        ] {
            assert!(!admits(&some, outside), "{outside}");
        }
    }

    #[test]
    fn an_address_of_ipv4_in_the_form_of_ipv6_is_the_one_of_ipv4() {
        let some = admission("10.1.0.0/16");
        assert!(admits(&some, "::ffff:10.1.2.3") && !admits(&some, "::ffff:10.2.2.3"));
        // A form that no socket gives, and that was never the same address.
        assert!(!admits(&some, "::10.1.2.3"));
        let ipv6 = admission("::/0");
        assert!(admits(&ipv6, "2001:db8::1") && !admits(&ipv6, "::ffff:10.1.2.3"));
    }

    #[test]
    fn a_network_of_all_addresses_is_as_open_as_all() {
        for open in ["0.0.0.0/0", "10.0.0.0/8,::/0"] {
            assert!(admission(open).is_open(), "{open}");
        }
        for closed in ["0.0.0.0/1", "10.0.0.0/8,::/1", "127.0.0.1", "::1"] {
            assert!(!admission(closed).is_open(), "{closed}");
        }
    }

    #[test]
    fn what_is_shown_can_be_written_again() {
        for (text, shown) in [
            ("all", "all"),
            ("10.1.0.0/16 , fd00::/8", "10.1.0.0/16,fd00::/8"),
            ("127.0.0.1,::1", "127.0.0.1/32,::1/128"),
        ] {
            assert_eq!(admission(text).to_string(), shown);
            assert_eq!(admission(shown), admission(text));
        }
    }

    #[test]
    fn what_is_no_address_is_told() {
        for text in [
            "localhost",
            "10.1.0.0/16,all",
            "10.1/16",
            "10.1.0.256/32",
            "010.1.0.0/16",
            "[::1]",
            "127.0.0.1:80",
            "fe80::1%eth0",
            "/8",
            "10.1.0.0/16,",
            "10.1.0.0/16 10.2.0.0/16",
        ] {
            let mistake = mistake(text);
            assert!(
                mistake.contains("is not a network") || mistake.contains("has no prefix"),
                "{text}: {mistake}"
            );
        }
        assert!(mistake("localhost").starts_with("\"localhost\" is not a network"));
        assert!(mistake("").contains("names nobody") && mistake("  ").contains("write all"));
    }

    #[test]
    fn a_prefix_is_a_number_of_bits_that_an_address_has() {
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/+8"] {
            assert_eq!(
                mistake(text),
                format!("{text:?} has no prefix of 0 to 32 bits after its slash")
            );
        }
        for text in ["fd00::/129", "fd00::/256", "fd00::/8/8"] {
            assert!(mistake(text).contains("0 to 128 bits"), "{text}");
        }
    }

    #[test]
    fn bits_after_the_prefix_are_told_with_both_things_that_may_be_meant() {
        assert_eq!(
            mistake("10.1.2.3/16"),
            "\"10.1.2.3/16\" is not the first address of its network; write 10.1.0.0/16 for the network, or 10.1.2.3 for this address alone"
        );
        assert!(mistake("fd00::1/8").contains("write fd00::/8 for the network, or fd00::1 "));
    }

    #[test]
    fn a_network_of_ipv4_is_not_written_in_the_form_of_ipv6() {
        assert!(mistake("::ffff:10.1.2.3").ends_with("write 10.1.2.3/32"));
        assert!(mistake("::ffff:10.1.2.3/112").ends_with("write 10.1.0.0/16"));
        assert!(mistake("::ffff:0:0/96").ends_with("write 0.0.0.0/0"));
    }
}
