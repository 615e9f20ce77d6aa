//! `import`: a repository's history or a file of transactions becomes the
//! documents of a workspace.
//!
//! A thread reads the source and checks each transaction ([`git`], [`file`]);
//! a bounded channel hands them on; [`apply`] brings them to the account's
//! [`session`] in batches. Neither side holds more than a few batches.

mod apply;
mod batch;
mod file;
mod git;
mod session;
mod source;
mod step;
mod tally;

use std::{
    io,
    time::{Duration, Instant},
};

use hulynet_protocol::AccountId;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;

pub(crate) use self::source::Source;
use self::{
    session::Session,
    step::{Step, Stop},
    tally::Tally,
};
use crate::{cli, commands::reach::with_client, config::Settings, failure::Failure, output};

/// How many transactions may wait between the source and the network.
const AHEAD: usize = 400;

/// Who imports unless an account is named.
const IMPORTER: &str = "importer";

/// `hulynet import`.
pub(crate) async fn run(settings: &Settings, import: &cli::Import) -> Result<(), Failure> {
    let account = match &settings.account {
        Some(account) => account.clone(),
        None => AccountId::new(IMPORTER).map_err(|error| Failure::usage(error.to_string()))?,
    };
    let settings = Settings { account: Some(account.clone()), ..settings.clone() };
    // A source that is not there is told before the network is asked.
    match &import.source {
        Source::Git(directory) => git::check(directory)?,
        Source::File { path, .. } => file::check(path)?,
    }
    let begun = Instant::now();
    let tally = with_client(&settings, async |client| {
        let session = Session::open(client, &account, &import.workspace).await?;
        let mut steps = read(import.source.clone(), account.to_string());
        let bar = bar();
        let mut apply = apply::Import {
            workspace: &session,
            source: import.source.to_string(),
            patience: settings.timeout,
            tally: Tally::default(),
            progress: &|tally| bar.set_position(tally.acknowledged()),
        };
        let end = apply.run(&mut steps).await;
        bar.finish_and_clear();
        end.map(|()| apply.tally)
    })
    .await?;
    Ok(print(&settings, import, &account, &tally, begun.elapsed())?)
}

/// Begins to read the source on a thread of its own. A source that fails says
/// so as its last item.
fn read(source: Source, account: String) -> mpsc::Receiver<Result<Step, Failure>> {
    let (send, receive) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut emit = |step| send.blocking_send(Ok(step)).map_err(|_| Stop::Gone);
        let end = match &source {
            Source::Git(directory) => git::read(directory, &account, &mut emit),
            Source::File { path, form, zstd } => file::read(path, *form, *zstd, &mut emit),
        };
        if let Err(Stop::Failed(failure)) = end {
            // The receiver stops at its own first failure, which is then told.
            drop(send.blocking_send(Err(failure)));
        }
    });
    receive
}

/// Shown on a terminal only.
fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {human_pos} transactions, {per_sec}, {elapsed}");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn print(
    settings: &Settings,
    import: &cli::Import,
    account: &AccountId,
    tally: &Tally,
    took: Duration,
) -> io::Result<()> {
    let rate = tally.rate(took);
    if settings.json {
        let done = json!({
            "source": import.source.to_string(),
            "workspace": import.workspace.as_str(),
            "account": account.as_str(),
            "transactions": tally.acknowledged(),
            "applied": tally.applied(),
            "already": tally.already(),
            "seconds": took.as_secs_f64(),
            "rate": rate,
            "classes": tally.classes(),
        });
        return output::line(&done.to_string());
    }
    output::line(&format!(
        "imported {} into the workspace {} as {account}",
        import.source,
        import.workspace.as_str()
    ))?;
    let row = vec![
        tally.acknowledged().to_string(),
        tally.applied().to_string(),
        tally.already().to_string(),
        format!("{:.1}", took.as_secs_f64()),
        format!("{rate:.0}"),
    ];
    output::table(
        &["transactions", "applied", "already there", "seconds", "per second"],
        vec![row],
        "",
    )?;
    output::table(&["class", "created", "updated", "removed"], tally.rows(), "no document changed")
}
