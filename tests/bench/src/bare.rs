//! What wasmtime alone takes, measured by a program of its own: this one is built
//! without wasmtime, because most suites need none.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::load::Settings;

/// Microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    /// A start of the kind `echo`, of many.
    pub(crate) started: f64,
    /// Requests to the kind `echo`.
    pub(crate) concurrent: Requests,
    /// Requests to the kind `serial`.
    pub(crate) serial: Requests,
}

/// Microseconds of a request, which nothing else disturbs.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    /// The first one to each of all.
    pub(crate) first: f64,
    /// To one container that has one after the other.
    pub(crate) one: f64,
    /// To one of many that have one each in turn.
    pub(crate) in_turn: f64,
    /// To one that has one now and then.
    pub(crate) seldom: f64,
}

impl Bare {
    /// Measures with so many containers.
    pub(crate) fn measured(settings: &Settings, containers: usize) -> anyhow::Result<Self> {
        eprintln!("· {containers} containers that wasmtime alone starts and asks");
        let mut program = Command::new(std::env::current_exe()?.with_file_name("hulynet-bare"));
        program.arg(&settings.kinds).arg(containers.to_string()).stderr(Stdio::inherit());
        let name = program.get_program().display().to_string();
        let output = program.output().with_context(|| format!("cannot start {name}"))?;
        ensure!(output.status.success(), "{name} failed; its message is above");
        let told: Value = serde_json::from_slice(&output.stdout)?;
        let number = |path: &str| {
            let number = told.pointer(path).and_then(Value::as_f64);
            number.with_context(|| format!("{name} does not tell {path}"))
        };
        let requests = |of: &str| {
            anyhow::Ok(Requests {
                first: number(&format!("/{of}/first"))?,
                one: number(&format!("/{of}/one"))?,
                in_turn: number(&format!("/{of}/in_turn"))?,
                seldom: number(&format!("/{of}/seldom"))?,
            })
        };
        Ok(Self {
            started: number("/started")?,
            concurrent: requests("concurrent")?,
            serial: requests("serial")?,
        })
    }
}
