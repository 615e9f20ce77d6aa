//! What a finished program left.

use std::{
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde_json::Value;

/// More than any program needs that ends by itself, imports included.
const LONGEST: Duration = Duration::from_secs(300);

/// Exit code and texts of a finished program.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Output {
    /// Runs a program to its end; one that hangs is killed.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = child.id().to_string();
        let (ended, end) = mpsc::channel::<()>();
        thread::spawn(move || {
            if end.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                // Without an exit code it fails whoever looks at it.
                Command::new("kill").args(["-s", "KILL", &id]).status().unwrap();
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(ended);
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The output of a program that must have succeeded, as one JSON value.
    ///
    /// # Panics
    /// When it failed or wrote something else.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The text of a program that must have succeeded.
    ///
    /// # Panics
    /// When it failed.
    pub fn text(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.out
    }

    /// The message of a program that must have failed with this exit code.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[must_use]
    pub fn refusal(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        &self.err
    }
}
