//! The commands about the files of kinds, which need no network.

use std::path::PathBuf;

use clap::Subcommand;

/// What is done with the files of a kind.
#[derive(Debug, Subcommand)]
pub(crate) enum Files {
    /// Tell offline whether a file would be served, and what it asks for.
    #[command(after_help = "\
The manifest NAME.toml and the signatures NAME.sig beside NAME.wasm count too. Judged like an agent \
with the same settings would, by its grants, trusted keys and limits, and by the versions that were rolled back as \
its --cache has them; exit code 1 if it would be refused, 2 if it cannot be read or is over --largest-kind.
--json: {\"kind\",\"served\",\"refusals\",\"bytes\",\"hash\",\"version\",\"description\",\"concurrency\",
         \"termination\",\"signer\",\"world\",\"imports\",\"asked\",\"granted\",\"limits\"}

Examples:
  hulynet inspect target/kinds/echo.wasm
  hulynet inspect session.wasm --grants grants.toml")]
    Inspect {
        /// The kind: a .wasm file.
        file: PathBuf,
    },
    /// Make a pair of keys: FILE is the private one, FILE.pub the public one.
    #[command(after_help = "\
The public key is printed too, for --trusted-keys. Whoever has FILE can sign in its owner's name.
--json: {\"public\": KEY}

Example:
  hulynet keygen release.key")]
    Keygen {
        /// Where the private key goes; it must not exist yet.
        file: PathBuf,
    },
    /// Sign a kind and its manifest: adds to the file NAME.sig beside NAME.wasm.
    #[command(after_help = "\
--json: {\"signatures\": PATH}

Example:
  hulynet sign echo.wasm --key release.key")]
    Sign {
        /// The kind: a .wasm file.
        file: PathBuf,
        /// The file of the private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Check that a kind and its manifest are signed by a key.
    #[command(after_help = "\
Exit code 1 if they are not; 2 if a file cannot be read or is too large.
--json: {\"verified\": true}

Example:
  hulynet verify echo.wasm --key release.key.pub")]
    Verify {
        /// The kind: a .wasm file.
        file: PathBuf,
        /// The public key, or its file.
        #[arg(long, value_name = "KEY|FILE")]
        key: String,
    },
}
