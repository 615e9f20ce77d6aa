//! What is imported, and into which workspace of whom.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    check::Checks,
    network::Network,
    recount::{ISSUE, Recount},
};
use crate::cargo::root;

/// One import.
pub(crate) struct Source {
    /// As the `import` command takes it.
    argument: String,
    workspace: String,
    account: String,
    recount: Recount,
}

impl Source {
    /// The checkout's own history, and the files that the person named.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn all(files: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let checkout = root();
        let mut sources = vec![Self {
            argument: format!("git:{}", checkout.display()),
            workspace: "history".to_owned(),
            account: "alice".to_owned(),
            recount: Recount::of_history(&checkout)?,
        }];
        for (index, file) in files.iter().enumerate() {
            if files.iter().take(index).any(|earlier| earlier == file) {
                bail!("--input {} is given twice; once is enough", file.display());
            }
            let mut workspace = name_of(file)?;
            if sources.iter().any(|source| source.workspace == workspace) {
                workspace = format!("{workspace}-{}", index + 1);
            }
            sources.push(Self {
                argument: file.display().to_string(),
                workspace,
                account: format!("bob{}", index + 1),
                recount: Recount::of_file(file)?,
            });
        }
        Ok(sources)
    }

    /// Imports it while its account listens to the live events.
    pub(crate) fn import(&self, network: &Network, checks: &mut Checks) -> anyhow::Result<()> {
        network.call(&self.account, "create_workspace", &json!([self.workspace]))?;
        let listener = network.listen(&self.account)?;
        let started = Instant::now();
        let result = network.json(&[
            "import",
            &self.argument,
            "--workspace",
            &self.workspace,
            "--account",
            &self.account,
        ])?;
        let applied = result
            .get("applied")
            .and_then(Value::as_u64)
            .with_context(|| format!("the import answered {result}"))?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "✓ imported {applied} transactions from {} into {} ({seconds:.1} s, {:.0}/s)",
            self.argument,
            self.workspace,
            applied as f64 / seconds
        );
        if let Some(transactions) = self.recount.transactions {
            checks.compare(&self.workspace, "transactions applied", transactions, applied);
        }
        checks.compare(&self.workspace, "live events received", applied, listener.count(applied));
        Ok(())
    }

    /// Compares what the workspace contains with the recount.
    pub(crate) fn verify(&self, network: &Network, checks: &mut Checks) -> anyhow::Result<()> {
        for (class, expected) in &self.recount.documents {
            let found = self.total(network, class, &json!({}))?;
            checks.compare(&self.workspace, class, *expected, found);
        }
        for (status, expected) in &self.recount.statuses {
            let found = self.total(network, ISSUE, &json!({ "status": status }))?;
            let what = format!("issues {}", status.trim_start_matches("tracker:status:"));
            checks.compare(&self.workspace, &what, *expected, found);
        }
        Ok(())
    }

    /// Compares what this account sees of the other workspaces with nothing.
    pub(crate) fn verify_isolation(
        &self,
        network: &Network,
        all: &[Self],
        checks: &mut Checks,
    ) -> anyhow::Result<()> {
        let (mut others, mut closed, mut visible) = (0, 0, 0);
        for other in all.iter().filter(|other| other.workspace != self.workspace) {
            others += 1;
            let refused =
                network.refused(&self.account, "find", &other.question(ISSUE, &json!({})))?;
            closed += u64::from(refused);

            let foreign =
                network.call(&other.account, "find", &other.question(ISSUE, &json!({})))?;
            let id = foreign
                .pointer("/documents/0/document/_id")
                .and_then(Value::as_str)
                .with_context(|| format!("{} has no issue to look for", other.workspace))?;
            visible += self.total(network, "core:class:Doc", &json!({ "_id": id }))?;
        }
        let account = &self.account;
        checks.compare(&self.workspace, &format!("workspaces closed to {account}"), others, closed);
        checks.compare(&self.workspace, &format!("foreign issues seen by {account}"), 0, visible);
        Ok(())
    }

    fn question(&self, class: &str, query: &Value) -> Value {
        json!([{
            "workspaces": [self.workspace],
            "class": class,
            "query": query,
            "options": { "limit": 1, "total": true },
        }])
    }

    fn total(&self, network: &Network, class: &str, query: &Value) -> anyhow::Result<u64> {
        let found = network.call(&self.account, "find", &self.question(class, query))?;
        found
            .get("total")
            .and_then(Value::as_u64)
            .with_context(|| format!("find answered {found}, which has no total"))
    }
}

/// A workspace named like the file.
fn name_of(file: &Path) -> anyhow::Result<String> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    match name.as_deref().and_then(|name| name.split('.').next()) {
        Some(stem) if !stem.is_empty() => Ok(stem.to_lowercase()),
        _ => bail!("{} does not name a file", file.display()),
    }
}
