//! Which containers another one may reach: those of its tenant.
//!
//! A container that is started with the label `account=A` belongs to that
//! account, one with `workspace=W` to that workspace. One without either
//! belongs to nobody and serves all. A container may reach those of nobody, of
//! its own account, of its own workspace, and of the workspaces whose member
//! its account is. So nobody comes to another tenant's containers by guessing a
//! name, unless the operator grants that.

use std::sync::Arc;

use hulynet_protocol::{
    AccountId, Activation, Condition, ErrorKind, GetOptions, Labels, NetworkError, WorkspaceId,
};
use hulynet_store::Documents;

use super::labels::{ACCOUNT, WORKSPACE};

/// The container that asks.
pub(super) struct Tenant {
    asking: Arc<Activation>,
    documents: Arc<dyn Documents>,
}

impl Tenant {
    /// `documents` knows who is a member of which workspace.
    pub(super) fn new(asking: Arc<Activation>, documents: Arc<dyn Documents>) -> Self {
        Self { asking, documents }
    }

    /// Checks what is asked for, before anything is started for it.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub(super) async fn check_wanted(&self, wanted: &GetOptions) -> Result<(), NetworkError> {
        self.check(&wanted.labels).await?;
        for requirement in &wanted.select.0 {
            if let Condition::In(values) = &requirement.condition {
                for value in values {
                    self.check_label(&requirement.key, value).await?;
                }
            }
        }
        Ok(())
    }

    /// Checks a container that was found.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub(super) async fn check(&self, labels: &Labels) -> Result<(), NetworkError> {
        for (key, value) in labels {
            self.check_label(key, value).await?;
        }
        Ok(())
    }

    async fn check_label(&self, key: &str, value: &str) -> Result<(), NetworkError> {
        if ![ACCOUNT, WORKSPACE].contains(&key) || self.own(key) == Some(value) {
            return Ok(());
        }
        if key == WORKSPACE && self.is_member(value).await {
            return Ok(());
        }
        let own = match (self.own(WORKSPACE), self.own(ACCOUNT)) {
            (None, None) => "it belongs to nobody".to_owned(),
            (Some(workspace), _) => format!("it belongs to the workspace {workspace}"),
            (None, Some(account)) => format!("it belongs to the account {account}"),
        };
        Err(NetworkError::refused(
            ErrorKind::PermissionDenied,
            format!(
                "the container {} may not reach one with the label {key}={value}: {own}; start it for \
                 that tenant, or grant its kind other-tenants",
                self.asking.id
            ),
        ))
    }

    fn own(&self, key: &str) -> Option<&str> {
        self.asking.labels.get(key).map(String::as_str)
    }

    async fn is_member(&self, workspace: &str) -> bool {
        let account = self.own(ACCOUNT).and_then(|account| AccountId::new(account).ok());
        let (Some(account), Ok(workspace)) = (account, WorkspaceId::new(workspace)) else {
            return false;
        };
        // Only members get them.
        self.documents.open(&workspace, &account).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{ContainerId, Epoch, Kind, Uuid};
    use hulynet_store::SqliteDocuments;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// A container in a network where anna is the only member of `hers`.
    async fn tenant(own: &[(&str, &str)]) -> (Tenant, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let documents = SqliteDocuments::open(directory.path()).unwrap();
        let (hers, anna) = (WorkspaceId::new("hers").unwrap(), AccountId::new("anna").unwrap());
        documents.create_workspace(&hers, &anna).await.unwrap();
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        let asking = Activation { id, epoch: Epoch::default(), labels: labels(own) };
        (Tenant::new(Arc::new(asking), Arc::new(documents)), directory)
    }

    #[tokio::test]
    async fn a_container_reaches_those_of_its_tenant_and_of_nobody() {
        for (own, other, reached) in [
            (&[][..], &[("region", "eu")][..], true),
            (&[], &[("account", "anna")], false),
            (&[], &[("workspace", "hers")], false),
            (&[("account", "anna")], &[("account", "anna"), ("tier", "web")], true),
            (&[("account", "anna")], &[("account", "eve")], false),
            (&[("account", "anna")], &[("workspace", "hers")], true),
            (&[("account", "eve")], &[("workspace", "hers")], false),
            (&[("account", "anna")], &[("workspace", "hers"), ("account", "eve")], false),
            (&[("workspace", "hers")], &[("workspace", "hers")], true),
            (&[("workspace", "his")], &[("workspace", "hers")], false),
        ] {
            let (tenant, _directory) = tenant(own).await;
            let checked = tenant.check(&labels(other)).await;
            assert_eq!(checked.is_ok(), reached, "{own:?} reaches {other:?}: {checked:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_started_for_another_tenant_and_the_refusal_says_for_whom() {
        let (tenant, _directory) = tenant(&[("account", "eve")]).await;
        let select = "workspace in (hers)".parse().unwrap();
        let wanted = GetOptions { select, ..GetOptions::default() };
        let error = tenant.check_wanted(&wanted).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        assert_eq!(
            error.message,
            "the container echo/a may not reach one with the label workspace=hers: it belongs to the \
             account eve; start it for that tenant, or grant its kind other-tenants"
        );
        let wanted =
            GetOptions { labels: labels(&[("workspace", "hers")]), ..GetOptions::default() };
        assert!(tenant.check_wanted(&wanted).await.is_err());
    }
}
