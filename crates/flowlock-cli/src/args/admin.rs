//! Commands of whoever looks after the machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::values;

/// Takes names away.
#[derive(Debug, Args)]
#[command(after_help = UNLOCK_EXAMPLES)]
pub(crate) struct Unlock {
    /// A run id, or a name somebody holds; run: or name: in front says which
    #[arg(value_name = "NAME|RUN", value_parser = values::text())]
    pub(crate) what: String,
    /// Free the names at once, whatever the run's processes still do
    #[arg(long)]
    pub(crate) now: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only if the run holds its names for longer than this
    #[arg(long, value_name = "D", value_parser = values::age)]
    pub(crate) if_older: Option<Duration>,
}

const UNLOCK_EXAMPLES: &str = "\
Examples:
  flowlock unlock sales.clean             shows who holds it, and asks
  flowlock unlock etl.17 --yes --if-older 6h

The run can neither renew nor commit from then on. Its names are free when it acknowledges, or when its
lease ends; with --now at once, although its processes may still be writing.";

/// Lists namespaces, and removes empty ones.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = NAMESPACES_EXAMPLES)]
pub(crate) struct Namespaces {
    #[command(subcommand)]
    pub(crate) command: Option<NamespacesCommand>,
    #[command(flatten)]
    pub(crate) list: NamespacesList,
}

const NAMESPACES_EXAMPLES: &str = "\
Examples:
  flowlock namespaces                       all of them, and how much is in each
  flowlock namespaces rm ci-1234 --yes      remove an empty one";

/// What to do with namespaces.
#[derive(Debug, Subcommand)]
pub(crate) enum NamespacesCommand {
    /// List all namespaces of the store
    List(NamespacesList),
    /// Remove namespaces in which nothing is left
    Rm(NamespacesRm),
}

/// Lists namespaces.
#[derive(Debug, Args)]
pub(crate) struct NamespacesList {
    /// Print JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Removes namespaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits 75 if one has runs or records, or if a run ended in it within the last ten minutes: what became of
it is remembered for so long, so that a repeated commit gets its answer. Records: flowlock outputs rm.")]
pub(crate) struct NamespacesRm {
    /// The namespaces
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    pub(crate) names: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Examines the store.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo flowlock doctor --init-shared --group flow    one store for all users of this group
  flowlock doctor --accept-restore                   after a backup of the store was put back")]
pub(crate) struct Doctor {
    /// Make the shared store's directory, so that all users of the group use one store
    #[arg(long, requires = "group")]
    pub(crate) init_shared: bool,
    /// The group that may use the shared store
    #[arg(long, value_name = "G", requires = "init_shared", value_parser = values::text())]
    pub(crate) group: Option<String>,
    /// Take the store as it is from now on, though it went back or is another one than it was
    #[arg(long)]
    pub(crate) accept_restore: bool,
    /// Print JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Shows settings.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings in force
    Show {
        /// Say where each comes from
        #[arg(long)]
        origin: bool,
        /// Print JSON
        #[arg(long, help_heading = "Talk")]
        json: bool,
    },
}

/// Trusts a project's file.
#[derive(Debug, Args)]
#[command(after_help = TRUST_EXAMPLES)]
pub(crate) struct Trust {
    /// The project's flowlock.toml, or its directory [default: the file that counts here]
    #[arg(value_name = "FILE", conflicts_with = "list")]
    pub(crate) file: Option<PathBuf>,
    /// Trust it no longer
    #[arg(long, conflicts_with = "list")]
    pub(crate) remove: bool,
    /// List what is trusted, and what was changed since
    #[arg(long)]
    pub(crate) list: bool,
    /// Print the list as JSON
    #[arg(long, requires = "list", help_heading = "Talk")]
    pub(crate) json: bool,
}

const TRUST_EXAMPLES: &str = "\
Examples:
  flowlock trust                      the flowlock.toml of this directory, or the nearest above it
  flowlock trust /srv/etl --remove

By itself a project's flowlock.toml may set a namespace, the time zone of names and a sqlite:
store below its own directory. Trusted, all its settings count, until its content changes. Read it
first: with it, its author decides which server is asked, and which files are read for that.";

/// Prints completions.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  flowlock completions bash > ~/.local/share/bash-completion/completions/flowlock"
)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Prints manual pages.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  flowlock man run | man -l -")]
pub(crate) struct Man {
    /// The command whose page to print [default: flowlock itself]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}

/// Shows flowlock at work.
#[derive(Debug, Args)]
pub(crate) struct Demo {}
