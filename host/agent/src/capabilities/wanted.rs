//! Which container another one asks for, checked: it asks only for kinds that
//! its own was granted. Whose containers it reaches is checked by `tenancy`.

use std::collections::BTreeSet;

use hulynet_agent_kinds::{Capability, Terms};
use hulynet_protocol::{
    Activation, Condition, ErrorKind, GetOptions, Kind, NetworkError, Requirement, Selector, Uuid,
};

use super::labels;
use crate::bindings::huly::network::common;

/// What the container `asking` asks for.
///
/// # Errors
/// `InvalidArguments` for what no container can be, `PermissionDenied` for a
/// kind that is not granted.
pub(super) fn wanted(
    asking: &Activation,
    terms: &Terms,
    kind: &str,
    options: common::GetOptions,
) -> Result<(Kind, GetOptions), NetworkError> {
    let kind = Kind::new(kind).map_err(invalid)?;
    if !terms.allow(Capability::Containers, kind.as_str()) {
        return Err(not_granted(asking, &kind));
    }
    let uuid = options.uuid.map(Uuid::new).transpose().map_err(invalid)?;
    let wanted = GetOptions {
        uuid,
        labels: labels::from_guest(options.labels)?,
        select: selector(options.select)?,
        extra: options.extra,
        near: labels::from_guest(options.near)?,
        avoid: labels::from_guest(options.avoid)?,
    };
    Ok((kind, wanted))
}

fn selector(requirements: Vec<common::Requirement>) -> Result<Selector, NetworkError> {
    let requirement = |common::Requirement { key, condition }| {
        let condition = match condition {
            common::Condition::OneOf(values) => Condition::In(BTreeSet::from_iter(values)),
            common::Condition::NoneOf(values) => Condition::NotIn(BTreeSet::from_iter(values)),
            common::Condition::Present => Condition::Present,
            common::Condition::Absent => Condition::Absent,
        };
        Requirement { key, condition }
    };
    let selector = Selector(requirements.into_iter().map(requirement).collect());
    selector.check().map_err(invalid)?;
    Ok(selector)
}

fn not_granted(asking: &Activation, kind: &Kind) -> NetworkError {
    let own = &asking.id;
    NetworkError::refused(
        ErrorKind::PermissionDenied,
        format!(
            "the container {own} may not ask for containers of the kind {kind}; add it to [asks] \
             containers in {0}.toml and to [kind.{0}] containers in the agent's grants, and start the agent again",
            own.kind
        ),
    )
}

fn invalid(why: impl ToString) -> NetworkError {
    NetworkError::refused(ErrorKind::InvalidArguments, why.to_string())
}

#[cfg(test)]
mod tests {
    use hulynet_agent_kinds::{Capabilities, Names};
    use hulynet_protocol::{ContainerId, Epoch, Labels};

    use super::*;

    /// A container of anna's.
    fn asking() -> Activation {
        Activation {
            id: ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() },
            epoch: Epoch::default(),
            labels: Labels::from([("account".to_owned(), "anna".to_owned())]),
        }
    }

    /// It may ask for every kind, of its own tenant.
    fn terms() -> Terms {
        let all: Capabilities = [(Capability::Containers, Names::all())].into_iter().collect();
        Terms { asked: all.clone(), granted: all, ..Terms::default() }
    }

    #[test]
    fn a_kind_that_is_not_granted_is_refused_and_named() {
        let error = wanted(&asking(), &Terms::default(), "query", any()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert!(error.message.contains("containers of the kind query"), "{error}");
    }

    fn pairs(text: &[(&str, &str)]) -> Vec<(String, String)> {
        text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn any() -> common::GetOptions {
        common::GetOptions {
            uuid: None,
            labels: vec![],
            select: vec![],
            extra: vec![],
            near: vec![],
            avoid: vec![],
        }
    }

    fn one_of(key: &str, values: &[&str]) -> common::Requirement {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        common::Requirement { key: key.to_owned(), condition: common::Condition::OneOf(values) }
    }

    fn selecting(requirement: common::Requirement) -> Result<GetOptions, NetworkError> {
        let options = common::GetOptions { select: vec![requirement], ..any() };
        wanted(&asking(), &terms(), "echo", options).map(|(_, options)| options)
    }

    #[test]
    fn every_option_is_passed_on() {
        let absent =
            common::Requirement { key: "spot".to_owned(), condition: common::Condition::Absent };
        let options = common::GetOptions {
            uuid: Some("b".to_owned()),
            labels: pairs(&[("tier", "web")]),
            select: vec![one_of("zone", &["2", "1"]), absent],
            extra: vec![1],
            near: pairs(&[("region", "europe")]),
            avoid: pairs(&[("disk", "slow")]),
        };
        let (kind, wanted) = wanted(&asking(), &terms(), "echo", options).unwrap();
        assert_eq!(kind.as_str(), "echo");
        assert_eq!(wanted.uuid.unwrap().as_str(), "b");
        assert_eq!(wanted.labels["tier"], "web");
        assert_eq!(wanted.select.to_string(), "zone in (1,2),!spot");
        assert_eq!(wanted.extra, [1]);
        assert_eq!(wanted.near["region"], "europe");
        assert_eq!(wanted.avoid["disk"], "slow");
    }

    #[test]
    fn conditions_are_bounded_and_name_a_label() {
        let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (requirement, reason) in [
            (one_of("zone", &many), "lists 33 values"),
            (one_of("", &["1"]), "no key"),
            (one_of("zone", &["x".repeat(257).as_str()]), "257 bytes"),
        ] {
            let error = selecting(requirement).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArguments);
            assert!(error.message.contains(reason), "{error}");
        }
    }
}
