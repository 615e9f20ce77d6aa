//! `hulynet`: the program that runs a network and talks to one.
//!
//! | module | what it does |
//! |---|---|
//! | `cli` | what can be typed, and the help |
//! | `config` | flags, environment, file and defaults become settings |
//! | `commands` | asking a network, and looking at the files of kinds |
//! | `serve` | running one: up, coordinator, agent |
//! | `import` | a repository's history or a file becomes documents |
//! | `policy` | settings of the network's rules |
//! | `failure` | messages and exit codes |

mod cli;
mod commands;
mod config;
mod failure;
mod import;
mod logs;
mod output;
mod policy;
mod serve;
mod shutdown;
mod target;
mod units;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use cli::{Command, CommandLine, Files};
use config::{Layers, Settings};
use failure::Failure;
use mimalloc::MiMalloc;

/// Requests are allocated on one thread and freed on another all the time: with
/// this one the same machine answers a tenth to a fifth more of them than with
/// the system's allocator (`cargo xtask bench bus`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let line = match command_line() {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, json)) => failure.report(json),
    }
}

fn command_line() -> Result<CommandLine, clap::Error> {
    CommandLine::read(&cli::command().try_get_matches()?)
}

/// Carries the command out; a failure comes with whether it is told as JSON.
fn run(line: CommandLine) -> Result<(), (Failure, bool)> {
    let command = line.cli.command;
    if let Command::Completion { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::command(), "hulynet", &mut script);
        return io::stdout().write_all(&script).map_err(|error| (error.into(), false));
    }
    // Before the settings are known, only the flag can tell.
    let json = line.flags.get("json").is_some_and(|json| json == "true");
    let layers = Layers::read(line.flags, env::vars_os(), line.cli.config)
        .map_err(|error| (error.into(), json))?;
    let settings = Settings::resolve(&layers).map_err(|error| (error.into(), json))?;
    execute(&command, &layers, &settings).map_err(|failure| (failure, settings.json))
}

fn execute(command: &Command, layers: &Layers, settings: &Settings) -> Result<(), Failure> {
    logs::begin(settings, command.serves())?;
    for (name, nearest) in layers.misspelt() {
        tracing::warn!("the variable {name} is no setting, did you mean {nearest}?");
    }
    match command {
        Command::Config => return commands::config::config(layers, settings),
        Command::Files(command) => return offline(command, settings),
        _ => {}
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if command.serves() {
        runtime.on_thread_start(hulynet_agent::prepare_thread);
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|cause| Failure::refused(format!("no runtime can be started: {cause}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Up => serve::up(settings).await,
            Command::Coordinator => serve::coordinator(settings).await,
            Command::Agent => serve::agent(settings).await,
            Command::Get(get) => commands::ask::get(settings, get).await,
            Command::Call(call) => commands::ask::call(settings, call).await,
            Command::Connect(connect) => commands::connect::connect(settings, connect).await,
            Command::List { kind, select } => {
                commands::list::containers(settings, kind.as_ref(), select.as_ref()).await
            }
            Command::Explain { container } => commands::explain::explain(settings, container).await,
            Command::Agents { command: None } => commands::list::agents(settings).await,
            Command::Agents { command: Some(command) } => {
                commands::drain::drain(settings, command).await
            }
            Command::Kinds { verbose: false } => commands::list::kinds(settings).await,
            Command::Kinds { verbose: true } => commands::kinds::verbose(settings).await,
            Command::Terminate { container, force } => {
                commands::ask::terminate(settings, &container.0, *force).await
            }
            Command::Import(import) => import::run(settings, import).await,
            // These were carried out above.
            Command::Config | Command::Files(_) | Command::Completion { .. } => Ok(()),
        }
    });
    // What is compiled still is for nobody any more.
    runtime.shutdown_background();
    outcome
}

/// What needs no network.
fn offline(command: &Files, settings: &Settings) -> Result<(), Failure> {
    match command {
        Files::Inspect { file } => commands::inspect::inspect(settings, file),
        Files::Keygen { file } => commands::keys::generate(settings, file),
        Files::Sign { file, key } => commands::keys::sign(settings, file, key),
        Files::Verify { file, key } => commands::keys::verify(settings, file, key),
    }
}
