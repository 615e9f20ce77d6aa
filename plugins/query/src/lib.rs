//! Finds documents: turns a question about a class into the store's filter.
//!
//! Any number of these may run. Whoever asks must be a member of the workspace,
//! which the host checks; what is remembered here, the classes of a workspace,
//! is only used for a caller who passed that check.

mod models;

use std::sync::{Mutex, PoisonError};

use huly_api::{FindRequest, Found, Query};
use huly_model::Hierarchy;
use hulynet_sdk::documents::Workspace;
use hulynet_sdk::prelude::*;
use serde_json::json;

use models::{Model, Models, Step};

/// The query.
#[derive(Debug, Default)]
pub struct Finder {
    models: Mutex<Models>,
}

#[kind]
impl Query for Finder {
    async fn find(
        &self,
        context: &Context,
        workspace: String,
        request: FindRequest,
    ) -> Result<Found> {
        let documents = documents::open(&workspace, Some(&context.caller)).await?;
        let model = self.model(&workspace, &documents).await?;
        let filter = request.filter(&model.hierarchy).map_err(Error::invalid_arguments)?;
        let found = documents.find(&filter, &request.options).await?;
        Ok(Found { total: found.total, documents: found.documents })
    }
}

impl Finder {
    /// The model of a workspace as it is now.
    async fn model(&self, workspace: &str, documents: &Workspace) -> Result<Model> {
        let head = documents.head().await?;
        let step = self.models().check(workspace, head);
        let model = match step {
            Step::Use(model) => return Ok(model),
            Step::Scan { model, entries } => {
                let log = documents.log(model.head, entries).await?;
                let touched =
                    log.iter().any(|entry| model.hierarchy.is_touched_by(&entry.transaction));
                match log.len() == entries as usize && !touched {
                    true => model.at(head),
                    false => load(documents, head).await?,
                }
            }
            Step::Load => load(documents, head).await?,
        };
        self.models().learn(workspace, model.clone());
        Ok(model)
    }

    fn models(&self) -> std::sync::MutexGuard<'_, Models> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the model. The head was read before it: the model is at least as new.
async fn load(documents: &Workspace, head: u64) -> Result<Model> {
    let classes = json!({"_class": {"$in": [
        huly_model::class::CLASS, huly_model::class::MIXIN, huly_model::class::INTERFACE,
    ]}});
    let fields = json!({"projection": {"extends": 1, "implements": 1, "domain": 1}});
    let found = documents.find(&classes, &fields).await?;
    Ok(Model::new(head, Hierarchy::new(&found.documents), found.documents.len()))
}
