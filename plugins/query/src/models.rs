//! The classes of the workspaces that were asked lately, and how to find out
//! cheaply whether they are still those.

use std::sync::Arc;

use huly_model::{Hierarchy, Recent};

/// How many workspaces' models are remembered; the full model of Huly takes
/// about 100 KiB.
const WORKSPACES: usize = 64;

/// How many log entries are scanned at most.
const SCANNED: u64 = 256;

/// The model of a workspace at one point of its log.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// The last transaction that it takes into account.
    pub(crate) head: u64,
    /// The classes.
    pub(crate) hierarchy: Arc<Hierarchy>,
    /// How many documents define them: what loading them again costs.
    documents: u64,
}

impl Model {
    /// The same classes at a later point of the log.
    pub(crate) fn at(self, head: u64) -> Self {
        Self { head, ..self }
    }

    /// The model that so many documents define.
    pub(crate) fn new(head: u64, hierarchy: Hierarchy, documents: usize) -> Self {
        Self { head, hierarchy: Arc::new(hierarchy), documents: documents as u64 }
    }
}

/// What to do to know the model at a point of the log.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is this.
    Use(Model),
    /// It is this if none of the next entries of the log touches a class.
    Scan {
        /// What is remembered.
        model: Model,
        /// How many entries follow it.
        entries: u32,
    },
    /// Read it.
    Load,
}

/// The models that are remembered.
#[derive(Debug)]
pub(crate) struct Models(Recent<Model>);

impl Default for Models {
    fn default() -> Self {
        Self(Recent::new(WORKSPACES))
    }
}

impl Models {
    /// The cheapest way to the model at this head: to scan the log costs as
    /// much as it grew, to load the model as much as it has documents.
    pub(crate) fn check(&mut self, workspace: &str, head: u64) -> Step {
        let Some(model) = self.0.get(workspace) else { return Step::Load };
        let Some(grown) = head.checked_sub(model.head) else { return Step::Use(model.clone()) };
        match u32::try_from(grown) {
            Ok(0) => Step::Use(model.clone()),
            Ok(entries) if grown <= model.documents.min(SCANNED) => {
                Step::Scan { model: model.clone(), entries }
            }
            _ => Step::Load,
        }
    }

    /// Remembers a model, unless a newer one is remembered.
    pub(crate) fn learn(&mut self, workspace: &str, model: Model) {
        if self.0.get(workspace).is_none_or(|known| known.head < model.head) {
            self.0.insert(workspace, model);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembering(head: u64, documents: usize) -> Models {
        let mut models = Models::default();
        models.learn("w", Model::new(head, Hierarchy::new([]), documents));
        models
    }

    #[test]
    fn an_unknown_workspace_is_loaded_and_one_that_did_not_change_is_not() {
        let mut models = remembering(7, 0);
        assert!(matches!(models.check("other", 7), Step::Load));
        assert!(matches!(models.check("w", 7), Step::Use(model) if model.head == 7));
    }

    #[test]
    fn the_log_is_scanned_while_that_is_cheaper_than_loading() {
        let mut models = remembering(7, 3);
        assert!(matches!(models.check("w", 10), Step::Scan { entries: 3, .. }));
        assert!(matches!(models.check("w", 11), Step::Load));
        assert!(matches!(remembering(7, 0).check("w", 8), Step::Load));
        assert!(matches!(remembering(7, 5_000).check("w", 7 + SCANNED + 1), Step::Load));
    }

    #[test]
    fn a_request_that_was_overtaken_takes_nothing_back() {
        let mut models = remembering(7, 3);
        models.learn("w", Model::new(5, Hierarchy::new([]), 0));
        assert!(matches!(models.check("w", 6), Step::Use(model) if model.head == 7));
    }
}
