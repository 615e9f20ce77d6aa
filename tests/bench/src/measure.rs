//! What was measured, for people and for programs.

use std::fmt::Display;

use serde_json::{Value, json};

/// One measured number.
pub(crate) struct Measure {
    /// Its name, dotted: what, then which number.
    pub(crate) name: String,
    /// The number.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The floor's number of the same run.
    pub(crate) floor: Option<f64>,
    /// What is to be reached, if anything is.
    pub(crate) aim: Option<Aim>,
}

/// What a number is to be.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn number(self) -> f64 {
        match self {
            Self::AtMost(number) | Self::AtLeast(number) => number,
        }
    }

    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Measure {
    /// A number of a benchmark, without a floor and an aim.
    pub(crate) fn new(bench: &str, name: impl Display, value: f64, unit: &'static str) -> Self {
        Self { name: format!("{bench}.{name}"), value, unit, floor: None, aim: None }
    }

    /// The same against this floor.
    pub(crate) fn above(self, floor: f64) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// The same with an aim.
    pub(crate) fn at_most(self, aim: f64) -> Self {
        Self { aim: Some(Aim::AtMost(aim)), ..self }
    }

    /// The same with an aim.
    pub(crate) fn at_least(self, aim: f64) -> Self {
        Self { aim: Some(Aim::AtLeast(aim)), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }

    fn met(&self) -> Option<bool> {
        self.aim.map(|aim| aim.is_met(self.value))
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "floor": self.floor,
            "ratio": self.ratio(),
            "aim": self.aim.map(Aim::number),
            "met": self.met(),
        })
    }
}

/// Prints the measures, as a table or as one JSON object per line.
pub(crate) fn print(measures: &[Measure], json: bool) {
    if json {
        for measure in measures {
            println!("{}", measure.json());
        }
        return;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["measure", "value", "unit", "floor", "ratio", "aim", "met"]);
    let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    for measure in measures {
        table.add_row([
            measure.name.clone(),
            number(measure.value),
            measure.unit.to_owned(),
            optional(measure.floor),
            measure.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            optional(measure.aim.map(Aim::number)),
            measure.met().map_or("–", |met| if met { "yes" } else { "no" }).to_owned(),
        ]);
    }
    for column in [1, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    println!("{table}");
}

/// Bytes of a process that are in memory; `None` where the system does not
/// tell. Pages of 4,096 bytes are what all systems that tell have.
pub(crate) fn resident(process: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: f64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096.0)
}

/// Bytes of a process that are in memory, each page counted once however often
/// it is mapped; `None` where the system does not tell.
pub(crate) fn charged(process: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Seconds that a process computed so far, in all of its threads.
#[cfg(target_os = "linux")]
pub(crate) fn computed(process: u32) -> anyhow::Result<f64> {
    use nix::{time, unistd::Pid};

    let clock = time::clock_getcpuclockid(Pid::from_raw(i32::try_from(process)?))?;
    Ok(std::time::Duration::from(time::clock_gettime(clock)?).as_secs_f64())
}

/// Seconds that a process computed so far, which only Linux tells of others.
#[cfg(not(target_os = "linux"))]
pub(crate) fn computed(_process: u32) -> anyhow::Result<f64> {
    anyhow::bail!("this system does not tell what a process computed")
}

/// Three significant digits are what a run can repeat.
fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
