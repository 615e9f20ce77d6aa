//! Which containers another one may reach: those of its tenant.
//!
//! A container that is started with the label `account=A` belongs to that
//! account, one with `workspace=W` to that workspace. What such a one starts
//! without naming a tenant belongs to the same one by the label `tenant`, which
//! gives it none of the tenant's rights. One without any of these belongs to
//! nobody and serves all. A container may reach those of nobody, of its own
//! account, of its own workspace, and of the workspaces whose member its account
//! is. So nobody comes to another tenant's containers by guessing a name, or goes
//! around the limits of its own, unless the operator grants that.

use std::sync::Arc;

use hulynet_protocol::{
    ACCOUNT, AccountId, Activation, Condition, ErrorKind, GetOptions, Labels, NetworkError, OWNERS,
    TENANT, WORKSPACE, WorkspaceId, started_for,
};
use hulynet_store::Documents;

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

    /// Has what is started belong to the same tenant, unless one is named. What
    /// is asked for by its uuid is started with the labels alone.
    pub(super) fn bind(&self, wanted: &mut GetOptions) {
        let Some(tenant) = started_for(&self.asking.labels) else { return };
        // What is asked to lack a label is not kept from belonging to somebody.
        let named = |key: &str| {
            wanted.labels.contains_key(key)
                || wanted.uuid.is_none()
                    && wanted.select.0.iter().any(|requirement| {
                        requirement.key == key && matches!(requirement.condition, Condition::In(_))
                    })
        };
        if ![WORKSPACE, ACCOUNT, TENANT].into_iter().any(named) {
            wanted.labels.insert(TENANT.to_owned(), tenant);
        }
    }

    /// Checks what is asked for, before anything is started for it.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub(super) async fn check_wanted(&self, wanted: &GetOptions) -> Result<(), NetworkError> {
        for (key, value) in &wanted.labels {
            self.check_label(key, value).await?;
        }
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
        let is_owned = OWNERS.iter().any(|key| labels.contains_key(*key));
        for (key, value) in labels {
            // For whom one was started says nothing where it has an owner.
            if !(is_owned && key == TENANT) {
                self.check_label(key, value).await?;
            }
        }
        Ok(())
    }

    async fn check_label(&self, key: &str, value: &str) -> Result<(), NetworkError> {
        let own = || started_for(&self.asking.labels);
        let (is_own, workspace) = match key {
            ACCOUNT => (self.own(key) == Some(value), None),
            WORKSPACE => (self.own(key) == Some(value), Some(value)),
            TENANT => (own().as_deref() == Some(value), value.strip_prefix("workspace=")),
            _ => return Ok(()),
        };
        if is_own {
            return Ok(());
        }
        if let Some(workspace) = workspace
            && self.is_member(workspace).await
        {
            return Ok(());
        }
        let own = own().unwrap_or_else(|| "nobody".to_owned());
        Err(NetworkError::refused(
            ErrorKind::PermissionDenied,
            format!(
                "the container {} may not reach one with the label {key}={value}: it belongs to {own}; start it for \
                 that tenant, or say in the agent's grants that what it asks for is shared, or that its \
                 kind gets other-tenants",
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
            (&[("account", "anna")], &[("tenant", "account=anna")], true),
            (&[("account", "anna")], &[("tenant", "workspace=hers")], true),
            (&[("account", "eve")], &[("tenant", "workspace=hers")], false),
            (&[("account", "eve")], &[("tenant", "account=anna")], false),
            (&[("tenant", "account=anna")], &[("tenant", "account=anna")], true),
            (&[("tenant", "account=anna")], &[("account", "anna")], false),
            (&[("tenant", "account=anna")], &[("workspace", "hers")], false),
            (&[("account", "anna")], &[("account", "anna"), ("tenant", "any")], true),
            (&[], &[("tenant", "account=anna")], false),
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
            "the container echo/a may not reach one with the label workspace=hers: it belongs to \
             account=eve; start it for that tenant, or say in the agent's grants that what it asks for \
             is shared, or that its kind gets other-tenants"
        );
        let wanted =
            GetOptions { labels: labels(&[("workspace", "hers")]), ..GetOptions::default() };
        assert!(tenant.check_wanted(&wanted).await.is_err());
    }

    #[tokio::test]
    async fn what_it_starts_belongs_to_its_tenant_unless_it_names_one() {
        for (own, wanted, select, tenant_label) in [
            (
                &[("workspace", "hers"), ("account", "anna")][..],
                &[][..],
                "",
                Some("workspace=hers"),
            ),
            (&[("account", "anna")], &[("region", "eu")], "", Some("account=anna")),
            (&[("tenant", "account=anna")], &[], "", Some("account=anna")),
            (&[("account", "anna")], &[], "!account,workspace notin (w)", Some("account=anna")),
            (&[("account", "anna")], &[("account", "anna")], "", None),
            (&[("account", "anna")], &[], "workspace in (hers)", None),
            (&[], &[("region", "eu")], "", None),
        ] {
            let (tenant, _directory) = tenant(own).await;
            let (labels, select) = (labels(wanted), select.parse().unwrap());
            let mut wanted = GetOptions { labels, select, ..GetOptions::default() };
            tenant.bind(&mut wanted);
            let bound = wanted.labels.get("tenant").map(String::as_str);
            assert_eq!(bound, tenant_label, "{own:?} wants {wanted:?}");
        }
        let (tenant, _directory) = tenant(&[("account", "anna")]).await;
        let (uuid, select) = (Uuid::new("x").ok(), "account in (anna)".parse().unwrap());
        let mut named = GetOptions { uuid, select, ..GetOptions::default() };
        tenant.bind(&mut named);
        assert_eq!(named.labels["tenant"], "account=anna", "conditions say nothing of a uuid");
    }

    #[tokio::test]
    async fn nothing_is_started_for_whom_it_was_not_asked() {
        let (tenant, _directory) = tenant(&[("workspace", "hers")]).await;
        let labels = labels(&[("workspace", "hers"), ("tenant", "account=anna")]);
        let wanted = GetOptions { labels, ..GetOptions::default() };
        assert!(tenant.check_wanted(&wanted).await.is_err());
    }
}
