//! Labels between the contract and the wire.

use hulynet_protocol::{ErrorKind, Labels, NetworkError, limits};

/// Labels for a container.
pub(crate) fn to_guest(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Labels of a container's request.
///
/// # Errors
/// `InvalidArguments` for too many, too long ones, or one key twice.
pub(crate) fn from_guest(labels: Vec<(String, String)>) -> Result<Labels, NetworkError> {
    let invalid = |text: String| Err(NetworkError::refused(ErrorKind::InvalidArguments, text));
    if labels.len() > limits::LABELS {
        return invalid(format!("{} labels; at most {} are allowed", labels.len(), limits::LABELS));
    }
    let mut checked = Labels::new();
    for (key, value) in labels {
        if key.len() > limits::LABEL_BYTES || value.len() > limits::LABEL_BYTES {
            return invalid(format!("a label over {} bytes", limits::LABEL_BYTES));
        }
        if checked.contains_key(&key) {
            return invalid(format!("the label {key:?} is given twice"));
        }
        checked.insert(key, value);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn one_key_twice_is_refused() {
        let error = from_guest(vec![pair("a", "1"), pair("a", "2")]).unwrap_err();
        assert_eq!(error.message, "the label \"a\" is given twice");
    }

    #[test]
    fn labels_are_bounded() {
        assert!(from_guest((0..33).map(|n| pair(&n.to_string(), "")).collect()).is_err());
        assert!(from_guest(vec![pair("a", &"x".repeat(257))]).is_err());
        assert_eq!(from_guest(vec![pair("a", "1")]).unwrap().len(), 1);
    }
}
