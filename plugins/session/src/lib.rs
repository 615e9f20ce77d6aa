//! The session of one account: its workspaces as one.
//!
//! It asks and changes nothing itself: questions go to `query`, transactions
//! to the workspace's transactor, and both act for the account that this
//! container is bound to. What it remembers (held references, which events were
//! passed on) lives as long as the container and can be had again.

mod follow;
mod following;
mod place;
mod references;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use huly_api::{
    Applied, Membership, Merged, Placed, QueryClient, Question, Role, Session, TransactorClient,
    names,
};
use huly_model::Merge;
use huly_model::merge::options_for_each;
use hulynet_sdk::prelude::*;
use serde_json::Value;

use follow::Feed;
use references::{References, retrying};

/// How many workspaces are asked at the same time.
const AT_ONCE: usize = 8;

/// The session of an account.
#[derive(Debug)]
pub struct AccountSession {
    account: String,
    references: Arc<References>,
    feed: Feed,
}

#[kind]
impl Session for AccountSession {
    #[start]
    fn bind() -> Result<Self> {
        let account = names::bound_to(names::SESSION, names::ACCOUNT, &identity())?;
        let references = Arc::new(References::default());
        Ok(Self { account, feed: Feed::new(references.clone()), references })
    }

    #[connect]
    async fn admit(&self, connection: &Connection) -> Result<()> {
        self.only_the_account(&connection.caller)?;
        let workspaces = names_of(documents::workspaces(None).await?);
        self.feed.connect(&connection.id, workspaces).await
    }

    #[disconnect]
    fn leave(&self, connection: &str) {
        self.feed.disconnect(connection);
    }

    /// A moment to follow workspaces that others added the account to, and
    /// those whose transactor could not be reached. A store that does not
    /// answer is no reason to end the session.
    #[ping]
    async fn look_around(&self) {
        if !self.feed.is_wanted() {
            return;
        }
        match documents::workspaces(None).await {
            Ok(workspaces) => self.keep_following(names_of(workspaces)).await,
            Err(error) => log::warn!("the workspaces are not known now: {error}"),
        }
        self.feed.catch_up();
    }

    async fn create_workspace(&self, context: &Context, workspace: String) -> Result<()> {
        self.only_the_account(&context.caller)?;
        documents::create_workspace(&workspace, None).await?;
        self.keep_following(vec![workspace]).await;
        Ok(())
    }

    async fn workspaces(&self, context: &Context) -> Result<Vec<Membership>> {
        self.only_the_account(&context.caller)?;
        let memberships = documents::workspaces(None).await?;
        Ok(memberships.into_iter().map(membership).collect())
    }

    async fn add_member(
        &self,
        context: &Context,
        workspace: String,
        account: String,
        role: Option<Role>,
    ) -> Result<()> {
        self.only_the_account(&context.caller)?;
        let role = match role.unwrap_or(Role::Member) {
            Role::Member => documents::Role::Member,
            Role::Owner => documents::Role::Owner,
        };
        documents::add_member(&workspace, &account, role, None).await
    }

    async fn find(&self, context: &Context, request: Question) -> Result<Merged> {
        self.ask(context, request).await
    }

    async fn stream(&self, context: &Context, request: Question) -> Result<Items<Placed>> {
        self.ask(context, request).await.map(|merged| Items::of(merged.documents))
    }

    async fn tx(
        &self,
        context: &Context,
        workspace: String,
        transactions: Vec<Value>,
    ) -> Result<Vec<Applied>> {
        self.only_the_account(&context.caller)?;
        // Before, so that its own connections learn of these transactions.
        self.keep_following(vec![workspace.clone()]).await;
        retrying(async |attempt| {
            let transactor = self.references.transactor(&workspace, attempt).await?;
            TransactorClient(transactor.with_timeout(context.timeout))
                .tx(transactions.clone())
                .await
        })
        .await
    }
}

impl AccountSession {
    /// A session speaks for its account, so nobody else may speak to it.
    fn only_the_account(&self, caller: &Caller) -> Result<()> {
        if caller.account().as_deref() == Some(self.account.as_str()) {
            return Ok(());
        }
        Err(Error::permission_denied(format!(
            "this is the session of account `{}`; connect as that account",
            self.account
        )))
    }

    /// Follows the workspaces that are not followed. One that cannot be
    /// followed now is tried again at the next occasion; no request fails for
    /// that.
    async fn keep_following(&self, workspaces: Vec<String>) {
        if let Err(error) = self.feed.follow(workspaces).await {
            log::warn!("a workspace is not followed: {error}");
        }
    }

    /// Asks each workspace and merges what they find.
    async fn ask(&self, context: &Context, request: Question) -> Result<Merged> {
        self.only_the_account(&context.caller)?;
        let mut merge = Merge::new(&request.find.options).map_err(Error::invalid_arguments)?;
        let workspaces = match request.workspaces {
            Some(named) => BTreeSet::from_iter(named).into_iter().collect(),
            None => {
                let all = names_of(documents::workspaces(None).await?);
                self.keep_following(all.clone()).await;
                all
            }
        };
        let mut find = request.find;
        find.options = options_for_each(&find.options);
        let find = &find;
        let answers = stream::iter(workspaces).map(|workspace| async move {
            let found = retrying(async |attempt| {
                let query = self.references.query(attempt).await?;
                QueryClient(query.with_timeout(context.timeout))
                    .find(workspace.clone(), find.clone())
                    .await
            });
            found.await.map(|found| (workspace, found))
        });
        let mut answers = answers.buffered(AT_ONCE);
        while let Some((workspace, found)) = answers.try_next().await? {
            merge.add(&workspace, found);
        }
        Ok(merge.finish())
    }
}

fn names_of(memberships: Vec<documents::Membership>) -> Vec<String> {
    memberships.into_iter().map(|membership| membership.workspace).collect()
}

fn membership(membership: documents::Membership) -> Membership {
    let role = match membership.role {
        documents::Role::Member => Role::Member,
        documents::Role::Owner => Role::Owner,
    };
    Membership { workspace: membership.workspace, role }
}

#[cfg(test)]
mod tests {
    use hulynet_sdk::ErrorKind;
    use hulynet_sdk::testing::context;
    use serde_json::json;

    use super::*;

    fn alice() -> AccountSession {
        let references = Arc::new(References::default());
        AccountSession { account: "alice".into(), feed: Feed::new(references.clone()), references }
    }

    #[tokio::test]
    async fn nobody_but_the_account_is_served() {
        let question: Question =
            serde_json::from_value(json!({"class": "core:class:Doc"})).unwrap();
        for caller in [None, Some("bob"), Some("alic"), Some("")] {
            let (session, context) = (alice(), context(caller));
            let refusals = [
                session.create_workspace(&context, "w".into()).await.err(),
                session.workspaces(&context).await.err(),
                session.add_member(&context, "w".into(), "bob".into(), None).await.err(),
                session.find(&context, question.clone()).await.err(),
                session.stream(&context, question.clone()).await.err(),
                session.tx(&context, "w".into(), Vec::new()).await.err(),
            ];
            for refusal in refusals {
                assert_eq!(
                    refusal.map(|error| error.kind),
                    Some(ErrorKind::PermissionDenied),
                    "{caller:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn options_that_cannot_be_used_are_refused_before_anybody_is_asked() {
        let question = json!({"class": "core:class:Doc", "options": {"lookup": {}}});
        let question = serde_json::from_value(question).unwrap();
        let refused = alice().find(&context(Some("alice")), question).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidArguments);
        assert!(refused.message.contains("lookup"), "{refused}");
    }
}
