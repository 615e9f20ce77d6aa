//! A repository's history, read with the `git` program.

mod log;
mod transform;

use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use self::{log::Commits, transform::Transform};
use super::step::{Emit, Place, Step, Stop};
use crate::failure::Failure;

/// The most that is kept of what git complains, in bytes.
const COMPLAINT_BYTES: u64 = 4 << 10;

/// Whether there is a repository at all, and the program to read it.
pub(super) fn check(directory: &Path) -> Result<(), Failure> {
    git_directory(directory).map(drop)
}

fn git_directory(directory: &Path) -> Result<PathBuf, Failure> {
    let path = output(directory, &["rev-parse", "--absolute-git-dir"])?;
    Ok(PathBuf::from(path.trim_end_matches('\n')))
}

/// Hands on the project and then the transactions of each commit, oldest
/// first. A shallow clone gives the commits that it has. Of a merge only the
/// message counts: its files belong to the commits that it merges.
pub(super) fn read(directory: &Path, account: &str, emit: Emit<'_>) -> Result<(), Stop> {
    let begun = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let mut transform = Transform::new(&name(&git_directory(directory)?), account, begun);
    send(directory, Place::Project, transform.project(), emit)?;
    if output(directory, &["rev-list", "--all", "--max-count=1"])?.is_empty() {
        return Ok(());
    }
    let mut log = spawn(
        directory,
        &[
            "-c",
            "log.showSignature=false",
            "-c",
            "log.showRoot=true",
            "log",
            "HEAD",
            "--reverse",
            "-z",
            "--name-only",
            "--no-renames",
            "--no-ext-diff",
            "--no-color",
            "--no-notes",
            "--encoding=UTF-8",
            log::FORMAT,
            "--",
        ],
    )?;
    let Some(stdout) = log.stdout.take() else {
        return Err(failed(directory, "it has no output").into());
    };
    // Read beside the output, because git stops when nobody reads either.
    let complaint = log.stderr.take().map(|stderr| thread::spawn(|| complaint(stderr)));
    let handed = commits(directory, Commits::new(BufReader::new(stdout)), &mut transform, emit);
    if handed.is_err() {
        // It may have ended by itself, which is as good.
        log.kill().ok();
    }
    let status = log.wait().map_err(|cause| failed(directory, cause))?;
    handed?;
    if status.success() {
        return Ok(());
    }
    let complaint = complaint.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Err(failed(directory, complaint.trim()).into())
}

fn commits(
    directory: &Path,
    commits: Commits<impl io::BufRead>,
    transform: &mut Transform,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    for commit in commits {
        let commit = commit.map_err(|cause| failed(directory, cause))?;
        for transaction in transform.commit(&commit) {
            send(directory, Place::Commit(commit.hash.clone()), transaction, emit)?;
        }
    }
    Ok(())
}

fn send(
    directory: &Path,
    place: Place,
    transaction: serde_json::Value,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let step = Step::check(place.clone(), transaction)
        .map_err(|cause| failed(directory, format!("{place}: {cause}")))?;
    emit(step)
}

/// What a repository is called: the directory that it stands in.
fn name(git_directory: &Path) -> String {
    let directory =
        if git_directory.ends_with(".git") { git_directory.parent() } else { Some(git_directory) };
    let name = directory
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.strip_suffix(".git").map(str::to_owned).unwrap_or(name)
}

fn spawn(directory: &Path, arguments: &[&str]) -> Result<Child, Failure> {
    Command::new("git")
        .arg("--no-pager")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Failure::usage("the program git is needed to import git:DIR and was not found; install it or add it to PATH"),
            _ => failed(directory, cause),
        })
}

/// The output of a short command.
fn output(directory: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = spawn(directory, arguments)?
        .wait_with_output()
        .map_err(|cause| failed(directory, cause))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(directory, String::from_utf8_lossy(&output.stderr).trim()))
}

fn complaint(stderr: impl Read) -> String {
    let mut text = Vec::new();
    let mut limited = stderr.take(COMPLAINT_BYTES);
    // What was read until it failed is all there is to tell.
    limited.read_to_end(&mut text).ok();
    io::copy(&mut limited.into_inner(), &mut io::sink()).ok();
    String::from_utf8_lossy(&text).into_owned()
}

fn failed(directory: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::usage(format!(
        "cannot read the git history of {}: {cause}; name a directory inside of a repository",
        directory.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn git(directory: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(directory)
            .args([
                "-c",
                "user.name=Ann",
                "-c",
                "user.email=ann@x",
                "-c",
                "init.defaultBranch=main",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    fn steps(directory: &Path) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        let end = read(directory, "me", &mut |step| {
            steps.push(step);
            Ok(())
        });
        match end {
            Ok(()) => Ok(steps),
            Err(Stop::Failed(failure)) => Err(failure.to_string()),
            Err(Stop::Gone) => panic!("gone"),
        }
    }

    #[test]
    fn a_repository_is_called_like_its_directory() {
        for path in ["/a/repo/.git", "/a/repo.git", "/a/repo"] {
            assert_eq!(name(Path::new(path)), "repo");
        }
    }

    #[test]
    fn a_history_with_merges_odd_names_and_empty_messages_is_read_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "-q"]);
        assert_eq!(steps(path).unwrap().len(), 1, "only the project");
        git(path, &["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", ""]);
        fs::write(path.join("a \"b\"\n.txt"), "x").unwrap();
        git(path, &["add", "-A"]);
        git(path, &["commit", "-q", "-m", "subject\n\nbody"]);
        git(path, &["checkout", "-q", "-b", "side", "HEAD~1"]);
        fs::write(path.join("side"), "x").unwrap();
        git(path, &["add", "-A"]);
        git(path, &["commit", "-q", "-m", "side"]);
        git(path, &["checkout", "-q", "main"]);
        git(path, &["merge", "-q", "--no-ff", "-m", "merge", "side"]);

        let steps = steps(path).unwrap();
        let count = |class: &str| {
            steps
                .iter()
                .filter(|step| step.class == class && step.does == super::super::step::Does::Create)
                .count()
        };
        assert_eq!(count("tracker:class:Issue"), 4);
        assert_eq!(count("contact:class:Person"), 1);
        assert_eq!(count("chunter:class:ChatMessage"), 1);
        assert_eq!(count("tags:class:TagReference"), 2);
        assert!(steps.iter().any(|step| step.text.contains(r#""title":"a \"b\"\n.txt""#)));
        assert!(steps[2].text.contains("(no message)"));
    }

    #[test]
    fn what_is_no_repository_is_told_with_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let message = steps(&directory.path().join("missing")).unwrap_err();
        assert!(message.contains("missing"), "{message}");
    }
}
