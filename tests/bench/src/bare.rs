//! What wasmtime alone takes, measured by a program of its own: this one is built
//! without wasmtime, because most suites need none.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::load::Settings;

/// Containers without an agent, until it is dropped.
pub(crate) struct Bare {
    process: Child,
    out: BufReader<ChildStdout>,
    /// What a start of the kind `echo` took, of many, in microseconds.
    pub(crate) started: f64,
}

/// What a request takes now, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// To the kind `echo`.
    pub(crate) concurrent: f64,
    /// To the kind `serial`.
    pub(crate) serial: f64,
}

/// Which containers are asked, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Each of all for the first time.
    First,
    /// One that has one request after the other.
    One,
    /// One of many that have one each in turn.
    InTurn,
    /// One that has one now and then.
    Seldom,
}

impl Bare {
    /// Starts so many containers.
    pub(crate) fn start(settings: &Settings, containers: usize) -> anyhow::Result<Self> {
        eprintln!("· {containers} containers that wasmtime alone starts");
        let mut program = Command::new(std::env::current_exe()?.with_file_name("hulynet-bare"));
        program.arg(&settings.kinds).arg(containers.to_string());
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = program.get_program().display().to_string();
        let mut process = program.spawn().with_context(|| format!("cannot start {name}"))?;
        let out = BufReader::new(process.stdout.take().context("its output is piped")?);
        let mut bare = Self { process, out, started: 0.0 };
        bare.started = number(&bare.told()?, "started")?;
        Ok(bare)
    }

    /// Asks containers in this order for a moment.
    pub(crate) fn costs(&mut self, order: Order) -> anyhow::Result<Costs> {
        let order = match order {
            Order::First => "first",
            Order::One => "one",
            Order::InTurn => "in_turn",
            Order::Seldom => "seldom",
        };
        writeln!(self.process.stdin.as_ref().context("its input is piped")?, "{order}")?;
        let told = self.told()?;
        Ok(Costs { concurrent: number(&told, "concurrent")?, serial: number(&told, "serial")? })
    }

    fn told(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        ensure!(self.out.read_line(&mut line)? > 0, "hulynet-bare failed; its message is above");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn number(told: &Value, name: &str) -> anyhow::Result<f64> {
    let number = told.get(name).and_then(Value::as_f64);
    number.with_context(|| format!("hulynet-bare does not tell {name}"))
}
