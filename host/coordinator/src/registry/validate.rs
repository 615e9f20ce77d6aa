//! What a peer sends is checked before it reaches a table.
//!
//! Ids and kinds check themselves when they are decoded; the rest is here.

use std::collections::BTreeSet;

use hulynet_protocol::{
    ErrorKind, GetOptions, Labels, NetworkError, Registration, Selector, limits,
};

use super::errors::invalid;

pub(crate) fn labels(whose: &str, labels: &Labels) -> Result<(), NetworkError> {
    if labels.len() > limits::LABELS {
        return Err(invalid(format!(
            "{whose} has {} labels; at most {} are allowed",
            labels.len(),
            limits::LABELS
        )));
    }
    for (key, value) in labels {
        if key.is_empty() {
            return Err(invalid(format!("a label of {whose} has no key; give it a name")));
        }
        if [key, value].into_iter().any(|text| text.contains(char::is_control)) {
            return Err(invalid(format!(
                "the label {key:?}={value:?} of {whose} contains a control character; labels are \
                 one line of printable text"
            )));
        }
        let longest = key.len().max(value.len());
        if longest > limits::LABEL_BYTES {
            let shown: String = key.chars().take(32).collect();
            return Err(invalid(format!(
                "the label \"{shown}\" of {whose} is {longest} bytes long; at most {} are allowed \
                 for its key and for its value",
                limits::LABEL_BYTES
            )));
        }
    }
    Ok(())
}

pub(crate) fn options(options: &GetOptions) -> Result<(), NetworkError> {
    labels("the request", &options.labels)?;
    labels("near", &options.near)?;
    labels("avoid", &options.avoid)?;
    selector(&options.select)?;
    extra(&options.extra)
}

pub(crate) fn selector(selector: &Selector) -> Result<(), NetworkError> {
    selector.check().map_err(invalid)
}

fn extra(extra: &[u8]) -> Result<(), NetworkError> {
    if extra.len() > limits::EXTRA_BYTES {
        return Err(NetworkError::refused(
            ErrorKind::TooLarge,
            format!(
                "extra is {} bytes long; at most {} are allowed, send larger data as a request",
                extra.len(),
                limits::EXTRA_BYTES
            ),
        ));
    }
    Ok(())
}

pub(crate) fn registration(registration: &Registration) -> Result<(), NetworkError> {
    let agent = &registration.endpoint.agent;
    if let Some(address) = &registration.endpoint.address {
        check_address(address)
            .map_err(|why| invalid(format!("the address of the agent {agent} {why}")))?;
    }
    for (what, count) in [
        ("kinds", registration.kinds.len()),
        ("containers", registration.containers.len() + registration.doubtful.len()),
        ("offers", registration.offers.len()),
    ] {
        if count > limits::LISTED {
            return Err(invalid(format!(
                "the agent {agent} lists {count} {what}; at most {} are allowed",
                limits::LISTED
            )));
        }
    }
    labels(&format!("the agent {agent}"), &registration.labels)?;
    let mut seen = BTreeSet::new();
    for activation in registration.containers.iter().chain(&registration.doubtful) {
        labels(&format!("the container {}", activation.id), &activation.labels)?;
        if !seen.insert(&activation.id.uuid) {
            return Err(invalid(format!(
                "the agent {agent} lists the container {} twice",
                activation.id
            )));
        }
    }
    Ok(())
}

fn check_address(address: &str) -> Result<(), String> {
    let example = "give HOST:PORT, or none when it is reached through the coordinator only";
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(format!("\"{}\" has no port; {example}", address.escape_debug()));
    };
    if host.is_empty() || host.len() > 255 || host.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!("has an unusable host; {example}"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("\"{}\" has an unusable port; {example}", address.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:3738", "[::1]:3738", "agent.example:1"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in ["", "localhost", ":3738", "a:0", "a:65536", "a:x", "a b:1", "\n:1"] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_over_a_limit_are_refused_by_name() {
        let long = Labels::from([("region".to_owned(), "x".repeat(limits::LABEL_BYTES + 1))]);
        let error = labels("the request", &long).unwrap_err();
        assert!(error.message.contains("the label \"region\" of the request is 257 bytes long"));

        let many = (0..=limits::LABELS).map(|n| (n.to_string(), String::new())).collect();
        assert!(labels("the request", &many).unwrap_err().message.contains("has 33 labels"));

        let torn = Labels::from([("region".to_owned(), "a\nb".to_owned())]);
        let error = labels("the request", &torn).unwrap_err();
        assert!(error.message.contains("\"region\"=\"a\\nb\" of the request contains a control"));

        let nameless = Labels::from([(String::new(), "x".to_owned())]);
        assert!(labels("the request", &nameless).unwrap_err().message.contains("has no key"));
    }

    #[test]
    fn extra_over_its_limit_is_refused() {
        assert!(extra(&vec![0; limits::EXTRA_BYTES]).is_ok());
        assert!(extra(&vec![0; limits::EXTRA_BYTES + 1]).unwrap_err().message.contains("65537"));
    }
}
