//! The command line: what can be typed, and the help that teaches it.

mod files;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command as Clap, CommandFactory, FromArgMatches, Parser,
    Subcommand,
};
use clap_complete::Shell;
use hulynet_protocol::{AgentId, Kind, Policy, Selector as LabelSelector, Uuid, WorkspaceId};

pub(crate) use self::files::Files;
use crate::{
    config::{Scope, Setting, TABLE},
    import::Source,
    target::{Exact, Named, Selector},
    units::{Toml, label},
};

const ABOUT: &str = "\
A virtual network for sandboxed containers: a coordinator knows who runs what, agents run containers \
from WebAssembly files, clients ask for them by kind, uuid or labels.";

const AFTER: &str = "\
Examples:
  hulynet up                                   a whole network in one process
  hulynet call echo echo '[\"hello\"]'           ask the shared container of a kind
  hulynet call counter/a add 5                 ask one container, started if needed
  hulynet connect counter/a                    print what it broadcasts
  hulynet list                                 what runs where
  hulynet import git:. --workspace code        a repository's history as tracker documents

Exit codes:
  0  done
  1  the network refused, or the operation failed
  2  wrong usage, configuration or input
  3  nobody answers, or not in time; the message says whether a retry is safe

Settings: flags win over HULYNET_* variables (HULYNET_TIMEOUT=5s), which win over a TOML file
(--config, else ./hulynet.toml, else hulynet/hulynet.toml in the user's configuration directory),
which wins over defaults. 'hulynet config' shows every setting, its value and where it comes from.
With --json, results are JSON on stdout and an error is one JSON object on stderr.";

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "hulynet", version, about = ABOUT, after_help = AFTER, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The TOML file with settings.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a coordinator, an agent and the stores in one process.
    #[command(after_help = "\
The state directory (--dir) is made when it is missing: DIR/plugins for kinds (.wasm files, also while it \
runs), DIR/cache for compiled kinds, DIR/data for documents. Two lines on stdout say when it is ready. \
Ctrl-C or SIGTERM ends it in order, a second one at once.

Examples:
  hulynet up
  hulynet up --plugins target/kinds --grants plugins/grants.toml
  hulynet up --listen 127.0.0.1:0 --agent-listen 127.0.0.1:0 --json     free ports, told as JSON")]
    Up,
    /// Run a coordinator: the registry of agents and containers.
    #[command(after_help = "\
One line on stdout says when it listens: 'coordinator listening on HOST:PORT', or with --json \
{\"coordinator\":\"HOST:PORT\"}.

Examples:
  hulynet coordinator
  hulynet coordinator --listen 0.0.0.0:3737 --accept 127.0.0.1,10.1.0.0/16
                      for this machine and those of a network, without authentication
  hulynet coordinator --listen 0.0.0.0:3737 --secret-file network.secret
                      for who has the same file")]
    Coordinator,
    /// Run an agent: it serves every kind in its plugin directory.
    #[command(after_help = "\
An agent whose coordinator is not there yet waits and joins when it comes. One line on stdout says when it \
listens: 'agent ID listening on HOST:PORT, serving kinds: …', or with --json \
{\"agent\":\"ID\",\"address\":\"HOST:PORT\",\"kinds\":[…]}.

Examples:
  hulynet agent --plugins target/kinds --grants plugins/grants.toml
  hulynet agent --coordinator 10.0.0.1:3737 --listen 0.0.0.0:3738 --advertise 10.0.0.2:3738")]
    Agent,
    /// Find or start a container and show where it runs.
    #[command(after_help = "\
The container is held only while the command runs; one that nobody holds is ended after a while.
--json: {\"kind\",\"uuid\",\"state\",\"agent\",\"address\",\"epoch\",\"holders\",\"labels\"}

Examples:
  hulynet get echo
  hulynet get counter --uuid a
  hulynet get counter --label region=europe")]
    Get(Get),
    /// Send a request to a container and print the answer.
    #[command(after_help = "\
The argument is JSON: an array holds the arguments in order, an object holds them by name, and a single \
text, number or true/false stands for an array of just that. Without it there are no arguments; - reads it \
from standard input. An argument that is itself an array or object stands in an array: '[[1,2]]'.
A JSON answer is printed indented, with --json on one line; anything else as it came. A streamed answer is \
printed piece by piece.

Examples:
  hulynet call echo echo '[\"hello\"]'
  hulynet call counter/a add 5
  hulynet call session/session:ann find '[{\"class\":\"tracker:class:Issue\"}]' --label account=ann --account ann")]
    Call(Call),
    /// Print what a container broadcasts, one JSON line for each event.
    #[command(after_help = "\
An event that is not JSON is printed as a JSON text. Events that may have been missed (the container moved, \
or this program read too slowly) are told on stderr. Ends with Ctrl-C, after --count events, or after a \
--timeout given as a flag (exit code 3 if --count was not reached).

Examples:
  hulynet connect counter/a
  hulynet connect counter/a --count 1 --timeout 10s")]
    Connect(Connect),
    /// List containers.
    #[command(after_help = "\
--json: an array of {\"kind\",\"uuid\",\"state\",\"agent\",\"address\",\"epoch\",\"holders\",\"labels\"}

Examples:
  hulynet list
  hulynet list counter --select 'region in (europe,asia),!spot'")]
    List {
        /// Only those of this kind.
        kind: Option<Kind>,
        /// Only those whose labels meet these conditions: k=v, k!=v, k in (a,b), k notin (a,b), k, !k, separated by commas.
        #[arg(long, value_name = "CONDITIONS")]
        select: Option<LabelSelector>,
    },
    /// Explain one container: where it runs and why there, who holds it, what failed last, what it may use.
    #[command(after_help = "\
Read straight from the coordinator's state, and, while it runs, what it may use from its agent (--json: null when \
that does not answer).
--json: {\"kind\",\"uuid\",\"phase\",\"agent\",\"address\",\"reason\",\"epoch\",\"since_ms\",\"holders\",\"holder_count\",\"waiting\",
         \"ending\",\"next_ms\",\"offered_by\",\"failures\",\"last_failure\",\"labels\",\"limits\"}

Examples:
  hulynet explain counter/a
  hulynet explain a")]
    Explain {
        /// Which one.
        #[arg(value_name = "UUID|KIND/UUID")]
        container: Named,
    },
    /// List agents, or let one of them take no new containers.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
'intake' is open, full (no room until a container ends) or draining (it takes no new containers).
--json: an array of {\"agent\",\"address\",\"kinds\",\"containers\",\"intake\",\"used\",\"failing\",\"labels\"}

Examples:
  hulynet agents
  hulynet agents drain AGENT                    before it is stopped, when nobody is to be disturbed"
    )]
    Agents {
        #[command(subcommand)]
        command: Option<Agents>,
    },
    /// List the kinds that can be asked for.
    #[command(after_help = "\
With --verbose every agent tells about its kinds: state, version and hash, what they ask for and are granted, \
limits, containers. It is asked directly, so it must be reachable from here.
--json: an array of texts; with --verbose an array of {\"agent\",\"kind\",\"state\",\"reason\",\"version\",
         \"description\",\"hash\",\"signer\",\"asked\",\"granted\",\"concurrency\",\"termination\",\"limits\",
         \"containers\",\"newest\"}, where \"newest\" counts the containers of the version that new ones run")]
    Kinds {
        /// Tell everything about them.
        #[arg(long, short)]
        verbose: bool,
    },
    #[command(flatten)]
    Files(Files),
    /// End a container.
    #[command(after_help = "\
A container may answer 'not yet' while it finishes work (exit code 1); --force ends it anyway.
--json: {\"ended\": true}")]
    Terminate {
        /// Which one.
        #[arg(value_name = "KIND/UUID")]
        container: Exact,
        /// Do not let it finish its work.
        #[arg(long)]
        force: bool,
    },
    /// Import a repository's history or a file of transactions into a workspace.
    #[command(after_help = "\
SOURCE:
  git:DIR             each commit of DIR becomes an issue, oldest first: its subject the title, its author the
                      assignee, its message a comment, its files (the first 100) labels; one project for all
  FILE.jsonl[.zst]    a Huly transaction in each line
  FILE.json[.zst]     an array of Huly transactions

Transactions carry ids, so importing again applies nothing twice; after a mistake in the input, what came \
before it stays, and the import can simply be run again. The workspace is made when it is missing.
The account is --account, else 'importer'.
--json: {\"source\",\"workspace\",\"account\",\"transactions\",\"applied\",\"already\",\"seconds\",\"rate\",
         \"classes\": {CLASS: {\"created\",\"updated\",\"removed\"}}}

Examples:
  hulynet import git:. --workspace code
  hulynet import issues.jsonl.zst --workspace tracker --account ann")]
    Import(Import),
    /// Show the effective configuration and where each value comes from.
    #[command(after_help = "\
--json: {\"file\": PATH or null, \"settings\": [{\"key\",\"value\",\"origin\":{\"from\",…},\"default\",\"variable\",\"about\"}]}")]
    Config,
    /// Print a completion script.
    #[command(after_help = "\
Examples:
  hulynet completion bash > ~/.local/share/bash-completion/completions/hulynet
  hulynet completion zsh > \"${fpath[1]}/_hulynet\"")]
    Completion {
        /// For this shell.
        shell: Shell,
    },
}

impl Command {
    /// True for the commands that run until they are ended.
    pub(crate) fn serves(&self) -> bool {
        matches!(self, Self::Up | Self::Coordinator | Self::Agent)
    }
}

/// What is done to one agent.
#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// Let an agent take no new containers.
    #[command(after_help = "\
Its containers end by themselves when nobody holds them, and stay as long as somebody does; 'hulynet agents' \
shows how many are left. It lasts until 'undrain' or the end of the agent's process.
--json: {\"agent\",\"address\",\"kinds\",\"containers\",\"intake\",\"used\",\"failing\",\"labels\"}")]
    Drain {
        /// Which one, as 'hulynet agents' names it.
        agent: AgentId,
    },
    /// Let an agent take containers again.
    #[command(after_help = "--json: as 'drain'")]
    Undrain {
        /// Which one, as 'hulynet agents' names it.
        agent: AgentId,
    },
}

/// Which container.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The kind, and which container of it; without a uuid, labels or conditions the shared one of an agent, the agents in turn.
    #[arg(value_name = "KIND[/UUID]")]
    pub(crate) selector: Selector,
    /// Which container, instead of KIND/UUID.
    #[arg(long)]
    pub(crate) uuid: Option<Uuid>,
    /// One with this label, started with it if there is none; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// One whose labels meet these conditions: k=v, k!=v, k in (a,b), k notin (a,b), k, !k, separated by commas.
    #[arg(long, value_name = "CONDITIONS")]
    pub(crate) select: Option<LabelSelector>,
    /// If it must be started or is the shared one, rather on an agent with this label; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) near: Vec<(String, String)>,
    /// If it must be started or is the shared one, rather on an agent without this label; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) avoid: Vec<(String, String)>,
}

/// A request.
#[derive(Debug, Args)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) get: Get,
    /// The operation.
    pub(crate) operation: String,
    /// The arguments, or - to read them from standard input.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) argument: Option<String>,
}

/// A connection.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) get: Get,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// What becomes of events that are not read in time: disconnect or
    /// drop-oldest.
    #[arg(long, value_name = "WORD", default_value_t)]
    pub(crate) policy: Policy,
}

/// An import.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// git:DIR, FILE.jsonl[.zst] or FILE.json[.zst].
    pub(crate) source: Source,
    /// Where the documents go; made when it is missing.
    #[arg(long, short)]
    pub(crate) workspace: WorkspaceId,
}

/// The whole command line: the commands, each with the flags of the settings
/// that it takes.
pub(crate) fn command() -> Clap {
    const SERVING: &[Scope] = &[
        Scope::Coordinator,
        Scope::Agent,
        Scope::Server,
        Scope::Kinds,
        Scope::Files,
        Scope::Starts,
    ];
    let mut command = Cli::command();
    for setting in TABLE.iter().filter(|setting| setting.scope == Scope::Every) {
        command = command.arg(flag(setting).global(true));
    }
    for (name, scopes) in [
        ("up", SERVING),
        ("coordinator", &[Scope::Coordinator, Scope::Server, Scope::Starts]),
        ("agent", &[Scope::Agent, Scope::Server, Scope::Kinds, Scope::Files, Scope::Starts]),
        ("inspect", &[Scope::Kinds, Scope::Files, Scope::Starts]),
        ("sign", &[Scope::Files]),
        ("verify", &[Scope::Files]),
        ("config", SERVING),
    ] {
        command = command.mut_subcommand(name, |mut subcommand| {
            for setting in TABLE.iter().filter(|setting| scopes.contains(&setting.scope)) {
                let flag = flag(setting);
                let listens = name == "agent" && setting.key == "agent-listen";
                subcommand =
                    subcommand.arg(if listens { flag.visible_alias("listen") } else { flag });
            }
            subcommand
        });
    }
    command
}

/// The flag of a setting. Values stay text: the configuration reads them like
/// those of the environment and the file, with the same messages.
fn flag(setting: &'static Setting) -> Arg {
    let default = if setting.default.is_empty() {
        String::new()
    } else {
        format!(", default: {}", setting.default)
    };
    let help = format!("{} [{}; env: {}{default}]", setting.doc, setting.takes, setting.variable());
    let flag = Arg::new(setting.key)
        .long(setting.key)
        .help(help)
        .action(ArgAction::Set)
        .help_heading("Settings");
    match setting.toml {
        Toml::Switch => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_possible_values(true),
        Toml::Text | Toml::List | Toml::Labels => flag.value_name(value_name(setting)),
    }
}

fn value_name(setting: &Setting) -> &'static str {
    match setting.key {
        "coordinator" => "HOST:PORT,…",
        "accept" | "accept-original" => "NETWORK,…",
        "listen" | "agent-listen" | "advertise" => "HOST:PORT",
        "account" => "ACCOUNT",
        "log" => "LEVEL",
        "log-format" => "text|json",
        "agent-labels" => "NAME=VALUE,…",
        "singletons" => "KIND/UUID,…",
        "placement" => "round-robin|least-loaded",
        "dir" | "plugins" | "cache" | "data" => "DIR",
        "largest-kind" | "container-memory" | "agent-memory" => "SIZE",
        "containers" => "N",
        "grants" | "secret-file" => "FILE",
        "trusted-keys" => "KEY,…",
        _ => "DURATION",
    }
}

/// What was typed: the command, and the settings given as flags.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) cli: Cli,
    pub(crate) flags: BTreeMap<&'static str, String>,
}

impl CommandLine {
    /// Reads the arguments.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let cli = Cli::from_arg_matches(matches)?;
        let deepest = matches.subcommand().map_or(matches, |(_, deepest)| deepest);
        let given = |setting: &Setting| {
            let text = deepest.try_get_one::<String>(setting.key).ok().flatten()?;
            Some((setting.key, text.clone()))
        };
        let flags = TABLE.iter().filter_map(given).collect();
        Ok(Self { cli, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        let arguments = std::iter::once("hulynet").chain(arguments.iter().copied());
        CommandLine::read(&command().try_get_matches_from(arguments)?)
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn settings_are_flags_before_and_after_the_command() {
        for arguments in [["--timeout", "1s", "list"], ["list", "--timeout", "1s"]] {
            assert_eq!(
                read(&arguments).unwrap().flags,
                BTreeMap::from([("timeout", "1s".to_owned())])
            );
        }
        assert_eq!(
            read(&["--json", "list"]).unwrap().flags,
            BTreeMap::from([("json", "true".to_owned())])
        );
        assert_eq!(
            read(&["--json=false", "kinds"]).unwrap().flags,
            BTreeMap::from([("json", "false".to_owned())])
        );
        assert!(read(&["list"]).unwrap().flags.is_empty());
    }

    #[test]
    fn an_agent_listens_where_listen_says() {
        let typed = read(&["agent", "--listen", "127.0.0.1:0"]).unwrap();
        assert_eq!(typed.flags, BTreeMap::from([("agent-listen", "127.0.0.1:0".to_owned())]));
        let typed = read(&["up", "--listen", "a:1", "--agent-listen", "b:2"]).unwrap();
        assert_eq!(typed.flags.len(), 2);
        assert!(read(&["list", "--listen", "a:1"]).is_err());
    }

    #[test]
    fn arguments_of_a_call_may_begin_with_a_hyphen_and_labels_repeat() {
        let typed =
            read(&["call", "counter/a", "add", "-5", "--label", "a=1", "--label", "b=2"]).unwrap();
        let Command::Call(call) = typed.cli.command else { panic!("{:?}", typed.cli.command) };
        assert_eq!(call.argument.as_deref(), Some("-5"));
        assert_eq!(call.get.labels.len(), 2);
        assert!(
            read(&["get", "echo", "--label", "nonsense"])
                .unwrap_err()
                .to_string()
                .contains("NAME=VALUE")
        );
    }
}
