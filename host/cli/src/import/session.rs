//! The account's session, which brings transactions to its workspaces.

use hulynet_client::{Client, GetOptions, Reference};
use hulynet_protocol::{AccountId, ErrorKind, Labels, NetworkError, Uuid, WorkspaceId};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    apply::{Applied, Workspace},
    step::Step,
};
use crate::failure::Failure;

/// One workspace, through the session of an account.
pub(super) struct Session {
    session: Reference,
    workspace: WorkspaceId,
}

/// The part of a membership that matters here.
#[derive(Deserialize)]
struct Membership {
    workspace: String,
}

impl Session {
    /// Finds or starts the account's session and makes the workspace, unless
    /// the account is a member of it already.
    pub(super) async fn open(
        client: &Client,
        account: &AccountId,
        workspace: &WorkspaceId,
    ) -> Result<Self, Failure> {
        let uuid = Uuid::new(format!("session:{account}"))
            .map_err(|error| Failure::usage(error.to_string()))?;
        let labels = Labels::from([("account".to_owned(), account.to_string())]);
        let session = client
            .get("session", GetOptions { uuid: Some(uuid), labels, ..GetOptions::default() })
            .await?;
        let workspaces: Vec<Membership> =
            read("workspaces", &session.request("workspaces", "").await?)?;
        if !workspaces.iter().any(|membership| membership.workspace == workspace.as_str()) {
            session.request("create_workspace", json!([workspace.as_str()]).to_string()).await?;
        }
        Ok(Self { session, workspace: workspace.clone() })
    }
}

impl Workspace for Session {
    async fn tx(&self, batch: &[Step]) -> Result<Vec<Applied>, NetworkError> {
        read("tx", &self.session.request("tx", payload(&self.workspace, batch)).await?)
    }
}

/// The arguments of `tx`: the workspace and the transactions.
fn payload(workspace: &WorkspaceId, batch: &[Step]) -> String {
    let mut payload = format!("[{},[", json!(workspace.as_str()));
    for (index, step) in batch.iter().enumerate() {
        if index > 0 {
            payload.push(',');
        }
        payload.push_str(&step.text);
    }
    payload.push_str("]]");
    payload
}

fn read<T: DeserializeOwned>(operation: &str, answer: &[u8]) -> Result<T, NetworkError> {
    serde_json::from_slice(answer).map_err(|cause| {
        let message = format!("the session's answer to {operation} is not what this version of hulynet expects: {cause}");
        NetworkError::refused(ErrorKind::Protocol, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::step::{Does, Place};

    #[test]
    fn a_batch_is_the_workspace_and_its_transactions() {
        let step = |text: &str| Step {
            place: Place::Project,
            class: String::new(),
            does: Does::Create,
            text: text.into(),
        };
        let workspace = "a\"b".parse().unwrap();
        let sent: serde_json::Value =
            serde_json::from_str(&payload(&workspace, &[step("{\"_id\":1}"), step("{}")])).unwrap();
        assert_eq!(sent, json!(["a\"b", [{"_id": 1}, {}]]));
    }

    #[test]
    fn an_answer_of_another_shape_is_told_as_that() {
        let answers: Vec<Applied> = read("tx", br#"[{"id":"a","sequence":1,"new":true}]"#).unwrap();
        assert_eq!(answers, [Applied { new: true }]);
        assert_eq!(read::<Vec<Applied>>("tx", b"7").unwrap_err().kind, ErrorKind::Protocol);
    }
}
