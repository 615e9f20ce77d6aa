//! An independent recount: the shortest replay that can be right, sharing no
//! line with the network.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};
use serde_json::Value;

/// The class whose documents are also counted by status.
pub(crate) const ISSUE: &str = "tracker:class:Issue";

/// What a workspace must contain after an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recount {
    /// Transactions, where the source consists of them.
    pub(crate) transactions: Option<u64>,
    /// Documents by class.
    pub(crate) documents: BTreeMap<String, u64>,
    /// Issues by status.
    pub(crate) statuses: BTreeMap<String, u64>,
}

impl Recount {
    /// Replays a file of transactions: create sets, update overwrites, remove
    /// removes.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else; the message
    /// names the file and the place in it.
    pub(crate) fn of_file(path: &Path) -> anyhow::Result<Self> {
        let mut live: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
        let mut transactions = 0;
        for transaction in transactions_of(path)? {
            let (place, transaction) = transaction?;
            transactions += 1;
            let text = |key: &str| transaction.get(key).and_then(Value::as_str).map(str::to_owned);
            let missing = |key: &str| {
                format!("{}, {place}: not a Huly transaction: it has no {key}", path.display())
            };
            let status = |key: &str| {
                let holder = transaction.get(key)?;
                holder.get("status").and_then(Value::as_str).map(str::to_owned)
            };
            let id = text("objectId").with_context(|| missing("objectId"))?;
            match text("_class").as_deref() {
                Some("core:class:TxCreateDoc") => {
                    let class = text("objectClass").with_context(|| missing("objectClass"))?;
                    live.insert(id, (class, status("attributes")));
                }
                Some("core:class:TxUpdateDoc") => {
                    if let (Some(document), Some(status)) =
                        (live.get_mut(&id), status("operations"))
                    {
                        document.1 = Some(status);
                    }
                }
                Some("core:class:TxRemoveDoc") => {
                    live.remove(&id);
                }
                // It adds to a document and changes neither number.
                Some("core:class:TxMixin") => {}
                Some(other) => {
                    bail!("{}, {place}: a transaction of the unknown class {other}", path.display())
                }
                None => bail!(missing("_class")),
            }
        }
        let mut recount = Self { transactions: Some(transactions), ..Self::default() };
        for (class, status) in live.into_values() {
            if class == ISSUE {
                *recount.statuses.entry(status.unwrap_or_default()).or_default() += 1;
            }
            *recount.documents.entry(class).or_default() += 1;
        }
        Ok(recount)
    }

    /// Asks git itself what a history contains.
    ///
    /// # Errors
    /// When git or the history is missing.
    pub(crate) fn of_history(directory: &Path) -> anyhow::Result<Self> {
        let commits = lines_of(git(directory, "--format=%H")?).count() as u64;
        let authors = lines_of(git(directory, "--format=%aN <%aE>")?).collect::<BTreeSet<_>>();
        let bodies = git(directory, "--format=%b%x00")?;
        let messages = bodies.split('\0').filter(|body| !body.trim().is_empty()).count() as u64;
        Ok(Self {
            transactions: None,
            documents: BTreeMap::from([
                ("tracker:class:Project".to_owned(), 1),
                (ISSUE.to_owned(), commits),
                ("contact:class:Person".to_owned(), authors.len() as u64),
                ("chunter:class:ChatMessage".to_owned(), messages),
            ]),
            statuses: BTreeMap::from([("tracker:status:Done".to_owned(), commits)]),
        })
    }
}

fn lines_of(text: String) -> impl Iterator<Item = String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn git(directory: &Path, format: &str) -> anyhow::Result<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["log", format])
        .output()
        .context("cannot start `git`; install it to import a history")?;
    if !output.status.success() {
        bail!(
            "git cannot read the history of {}: {}",
            directory.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Transactions, each with its place in the file.
type Transactions = Box<dyn Iterator<Item = anyhow::Result<(String, Value)>>>;

fn transactions_of(path: &Path) -> anyhow::Result<Transactions> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let name = path.to_string_lossy().into_owned();
    let reader: Box<dyn Read> = if name.ends_with(".zst") {
        Box::new(zstd::stream::read::Decoder::new(file)?)
    } else {
        Box::new(file)
    };
    let mut reader = BufReader::new(reader);
    if name.trim_end_matches(".zst").ends_with(".json") {
        let all: Vec<Value> = serde_json::from_reader(&mut reader)
            .with_context(|| format!("{name} is not a JSON array of transactions"))?;
        let place = |(index, value)| Ok((format!("transaction {}", index + 1), value));
        return Ok(Box::new(all.into_iter().enumerate().map(place)));
    }
    Ok(Box::new(reader.lines().enumerate().filter_map(move |(index, line)| {
        let place = format!("line {}", index + 1);
        let wrong = format!("{name}, {place}: not a transaction");
        match line {
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => Some(
                serde_json::from_str(&line)
                    .map(|transaction: Value| (place, transaction))
                    .context(wrong),
            ),
            Err(error) => Some(Err(error).context(wrong)),
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::target;

    #[test]
    fn a_file_of_something_else_is_named_with_the_line() {
        let path = target().join("tmp").join(format!("recount-{}.jsonl", std::process::id()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            format!("{:#}", Recount::of_file(&path).unwrap_err())
        };
        let remove = r#"{"_class": "core:class:TxRemoveDoc", "objectId": "a"}"#;
        let nothing = told(&format!("{remove}\n\n{{}}\n"));
        assert!(
            nothing.contains(".jsonl, line 3: not a Huly transaction: it has no objectId"),
            "{nothing}"
        );
        let class = told(r#"{"objectId": "a", "_class": "x"}"#);
        assert!(class.contains(", line 1: a transaction of the unknown class x"), "{class}");
        let json = told("hello");
        assert!(json.contains(".jsonl, line 1: not a transaction"), "{json}");
        std::fs::remove_file(&path).unwrap();
    }
}
