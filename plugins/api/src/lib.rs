//! The operations of the Huly kinds, each as a trait.
//!
//! A kind implements its trait; everybody else uses the client that is made of
//! it ([`SessionClient`], [`TransactorClient`], [`QueryClient`]), in a host
//! program as well as inside another container. [`names`] tells what to ask
//! the network for.

pub mod names;
mod types;

use hulynet_sdk::{Context, Items, Result, interface};
use serde_json::Value;

pub use huly_model::{Applied, FindRequest, Merged, Placed};
pub use hulynet_filter::Found;
pub use types::{Event, Membership, Question, Role};

/// What one account does and sees: its workspaces as one. Only the account
/// itself may ask. Connections receive every [`Event`] of the account's
/// workspaces, those of one workspace in order and without gaps.
#[interface]
pub trait Session {
    /// Makes a workspace that the account owns. Making one's own again is no
    /// error; `permission-denied` when it belongs to somebody else.
    async fn create_workspace(&self, context: &Context, workspace: String) -> Result<()>;

    /// The workspaces of the account.
    async fn workspaces(&self, context: &Context) -> Result<Vec<Membership>>;

    /// Makes another account a member (unless a role says otherwise) of a
    /// workspace that the account owns.
    async fn add_member(
        &self,
        context: &Context,
        workspace: String,
        account: String,
        role: Option<Role>,
    ) -> Result<()>;

    /// Searches workspaces and merges what they find.
    async fn find(&self, context: &Context, request: Question) -> Result<Merged>;

    /// Searches like `find` and answers with one document at a time, so that
    /// an answer may be larger than one payload.
    async fn stream(&self, context: &Context, request: Question) -> Result<Items<Placed>>;

    /// Applies transactions to a workspace, all of them or none; see
    /// [`Transactor::tx`].
    async fn tx(
        &self,
        context: &Context,
        workspace: String,
        transactions: Vec<Value>,
    ) -> Result<Vec<Applied>>;
}

/// What changes one workspace: one batch at a time. Connections receive an
/// [`Event`] for every transaction, after it is durable.
#[interface]
pub trait Transactor {
    /// Applies transactions in order, all of them or none, and answers where
    /// each is in the log. When it answers, they survive a crash.
    ///
    /// A transaction whose id is in the log is not applied again: it is
    /// answered with its sequence number. So a batch may be sent again
    /// whenever its answer was lost.
    ///
    /// `invalid-arguments` for what is no transaction and `application` for
    /// one that the documents do not allow; the message names its index.
    async fn tx(&mut self, context: &Context, transactions: Vec<Value>) -> Result<Vec<Applied>>;
}

/// What searches workspaces, for whoever is a member of them.
#[interface]
pub trait Query {
    /// Searches one workspace.
    async fn find(
        &self,
        context: &Context,
        workspace: String,
        request: FindRequest,
    ) -> Result<Found>;
}
