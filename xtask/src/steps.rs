//! Long work, shown as it goes: one line for each step, its time at the end.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs a program as one step. Its last line of output is shown beside the
/// spinner; all of it is printed when the step fails.
///
/// # Errors
/// When the program cannot be started or does not succeed.
pub(crate) fn program(title: &str, command: &mut Command) -> anyhow::Result<()> {
    let started = Instant::now();
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));

    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{title}: cannot start `{name}`; is it installed?"))?;
    let out = child.stdout.take().map(|pipe| collect(pipe, bar.clone()));
    let err = child.stderr.take().map(|pipe| collect(pipe, bar.clone()));
    let status = child.wait().with_context(|| format!("{title}: cannot wait for `{name}`"))?;
    let output = [err, out]
        .into_iter()
        .flatten()
        .filter_map(|reader| reader.join().ok())
        .collect::<String>();
    bar.finish_and_clear();

    if status.success() {
        eprintln!("✓ {title} ({:.1} s)", started.elapsed().as_secs_f64());
        return Ok(());
    }
    eprintln!("{output}");
    bail!("{title} failed: `{name}` ended with {status}; its output is above");
}

/// Runs a program as one step whose output people want to read as it comes.
///
/// # Errors
/// When the program cannot be started or does not succeed.
pub(crate) fn shown(title: &str, command: &mut Command) -> anyhow::Result<()> {
    let started = Instant::now();
    eprintln!("· {title}");
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{title}: cannot start `{name}`; is it installed?"))?;
    if !status.success() {
        bail!("{title} failed: `{name}` ended with {status}");
    }
    eprintln!("✓ {title} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a program in the place of this one: its output is the output.
///
/// # Errors
/// When the program cannot be started or does not succeed.
pub(crate) fn replace(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status =
        command.status().with_context(|| format!("cannot start `{name}`; is it installed?"))?;
    if !status.success() {
        bail!("`{name}` ended with {status}");
    }
    Ok(())
}

fn collect(pipe: impl Read + Send + 'static, bar: ProgressBar) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            bar.set_message(line.trim().to_owned());
            all.push_str(&line);
            all.push('\n');
        }
        all
    })
}
