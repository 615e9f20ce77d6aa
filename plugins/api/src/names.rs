//! What to ask the network for, and who answers under which name.

use hulynet_sdk::identity::Identity;
use hulynet_sdk::{Error, Result};

/// The kind of a session.
pub const SESSION: &str = "session";
/// The kind of a transactor.
pub const TRANSACTOR: &str = "transactor";
/// The kind of a query.
pub const QUERY: &str = "query";

/// The label that binds a session to its account.
pub const ACCOUNT: &str = "account";
/// The label that binds a transactor to its workspace.
pub const WORKSPACE: &str = "workspace";

/// The uuid of an account's session, which carries the label [`ACCOUNT`].
#[must_use]
pub fn session(account: &str) -> String {
    uuid(SESSION, account)
}

/// The uuid of a workspace's transactor, which carries the label [`WORKSPACE`].
#[must_use]
pub fn transactor(workspace: &str) -> String {
    uuid(TRANSACTOR, workspace)
}

/// What a container of a kind is bound to by a label: the label's value, which
/// the container's uuid must name too. The network keeps one live container of
/// a uuid, so there is one for each value.
///
/// # Errors
/// `application` when the label is missing or the uuid is another one.
pub fn bound_to(kind: &str, label: &str, identity: &Identity) -> Result<String> {
    let Some(value) = identity.labels.get(label) else {
        return Err(Error::application(format!(
            "a {kind} needs the label `{label}`: start it as `{kind}:NAME` with the label `{label}=NAME`"
        )));
    };
    let (uuid, found) = (uuid(kind, value), &identity.id.uuid);
    if *found != uuid {
        return Err(Error::application(format!(
            "the {kind} with the label `{label}={value}` is `{uuid}`, not `{found}`; ask for that one"
        )));
    }
    Ok(value.clone())
}

fn uuid(kind: &str, name: &str) -> String {
    format!("{kind}:{name}")
}

#[cfg(test)]
mod tests {
    use hulynet_sdk::{ContainerId, Epoch};

    use super::*;

    fn identity(uuid: &str, labels: &[(&str, &str)]) -> Identity {
        Identity {
            id: ContainerId { kind: SESSION.into(), uuid: uuid.into() },
            epoch: Epoch { term: 0, counter: 1 },
            agent: "a".into(),
            labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        }
    }

    #[test]
    fn a_container_is_bound_by_its_label_and_its_name_together() {
        let bound = |identity: Identity| bound_to(SESSION, ACCOUNT, &identity);
        assert_eq!(
            bound(identity(&session("alice"), &[(ACCOUNT, "alice")])),
            Ok("alice".to_owned())
        );
        let other = bound(identity(&session("bob"), &[(ACCOUNT, "alice")])).unwrap_err();
        assert_eq!(
            other.message,
            "the session with the label `account=alice` is `session:alice`, not `session:bob`; ask for that one"
        );
        assert!(
            bound(identity(&session("alice"), &[])).unwrap_err().message.contains("`account=NAME`")
        );
    }
}
