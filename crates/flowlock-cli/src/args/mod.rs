//! What can be typed: every command and flag, with its help.
#![allow(clippy::doc_markdown, reason = "these comments are the help texts, shown without markup")]

mod admin;
mod look;
mod operate;
mod run;
pub(crate) mod values;

use clap::{Args, Parser, Subcommand};

pub(crate) use admin::{
    Completions, Config, ConfigCommand, Demo, Doctor, Man, Namespaces, NamespacesCommand, NamespacesList,
    NamespacesRm, Trust, Unlock,
};
pub(crate) use look::{Check, Outputs, OutputsCommand, OutputsCreate, OutputsList, OutputsRm, Status, Why};
pub(crate) use operate::{Commit, Keep, OneRun, Verify};
pub(crate) use run::{
    ClaimFlags, DateFlags, IfLocked, IfWritten, OnFail, OnTrouble, RequestFlags, Run, Start,
};

/// Locks what a job reads and writes in one atomic step, and marks outputs as written only if it succeeded.
#[derive(Debug, Parser)]
#[command(name = "flowlock", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  flowlock run -o sales.clean -- ./clean.sh         write sales.clean, alone
  flowlock run -i sales.clean -o report -- ./report read one name, write another
  flowlock run -l backup -- rsync -a src/ dst/      a plain lock, as with flock
  flowlock status                                   who runs, who waits, and why

Exit codes: the command's own, or
  64 usage                66 input missing      69 store unreachable   73 already written
  74 store full, damaged  75 busy               76 outcome unknown     78 configuration
  79 lost                 125 internal error    126 cannot execute     127 not found";

/// Flags that every command takes.
#[derive(Clone, Default, Args)]
pub(crate) struct Global {
    /// Where runs and records are kept, as in sqlite:/srv/flow.db [default: from FLOWLOCK_STORE or configuration]
    #[arg(long, global = true, value_name = "URL", value_parser = values::text(), help_heading = "Store")]
    pub(crate) store: Option<String>,
    /// A separate world of names, such as prod [default: from FLOWLOCK_NAMESPACE or configuration, else default]
    #[arg(long, global = true, value_name = "NS", value_parser = values::text(), help_heading = "Store")]
    pub(crate) namespace: Option<String>,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Talk")]
    pub(crate) quiet: bool,
    /// Say more: log lines while waiting; twice, the library's log
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Talk")]
    pub(crate) verbose: u8,
}

impl std::fmt::Debug for Global {
    /// Without the store: its URL may have a password in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Global").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command once its names are free, and mark its outputs as written if it succeeds
    Run(Box<Run>),
    /// Take names for a build of several steps and print the run id
    Start(Box<Start>),
    /// Renew a started run until this command is ended
    Keep(Keep),
    /// Renew a started run once
    Refresh(OneRun),
    /// End a started run well: mark its outputs as written
    #[command(alias = "stop")]
    Commit(Commit),
    /// End a started run badly: nothing is marked as written
    Fail(OneRun),
    /// Ask whether a run still holds its names
    Verify(Verify),
    /// Show what runs and what waits, and why
    Status(Status),
    /// Say why a run waits or a name is not there
    Why(Why),
    /// List what is written; create or remove records by hand
    Outputs(Outputs),
    /// Test whether names are written (for monitoring)
    Check(Check),
    /// Take the names away from a run that will not give them back
    Unlock(Unlock),
    /// List the namespaces of the store; remove empty ones
    Namespaces(Namespaces),
    /// Examine the store and this machine
    Doctor(Doctor),
    /// Show the settings in force
    Config(Config),
    /// Let a project's flowlock.toml set everything
    Trust(Trust),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
    /// Show flowlock at work in a throw-away store
    Demo(Demo),
}

/// Prints help and versions; says what is wrong with anything else, without the terminal escapes that a
/// mistyped value may have. Answers the exit code.
pub(crate) fn explain(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        // A reader that went away needs no help any more.
        let _ = error.print();
        return crate::exit::OK;
    }
    let text = without_passwords(error.render().to_string());
    let lines: Vec<_> = text.trim_end().lines().map(crate::terminal::shown).collect();
    crate::terminal::add(&lines.join("\n"));
    crate::exit::USAGE
}

/// The parser repeats what was typed where it did not belong; a store's URL among that loses its password.
fn without_passwords(mut text: String) -> String {
    for argument in std::env::args_os() {
        let argument = argument.to_string_lossy();
        // Also the value of a flag, which may be one that takes none.
        let value = argument.split_once('=').filter(|_| argument.starts_with('-')).map(|(_, value)| value);
        for url in [Some(&*argument), value].into_iter().flatten() {
            if url.contains(':') && url.contains(['@', '/']) && !url.starts_with('-') {
                text = text.replace(url, &flowlock::store::without_password(url));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_value_per_flag_and_flags_repeat() {
        let line =
            ["flowlock", "run", "-i", "a", "-i", "b", "-o", "c", "--slot", "g:x:2/3", "--", "cp", "-r", "x"];
        let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else { panic!("run was typed") };
        assert_eq!(run.claims.input, ["a", "b"]);
        assert_eq!(run.claims.output, ["c"]);
        assert_eq!(run.claims.slot[0].name, "g:x");
        assert_eq!(run.command, ["cp", "-r", "x"]);
    }

    #[test]
    fn a_name_may_begin_with_a_dash_after_an_equals_sign() {
        let line = ["flowlock", "run", "--output=-rf", "-i=-x", "--", "true"];
        let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else { panic!("run was typed") };
        assert_eq!((run.claims.output, run.claims.input), (vec!["-rf".to_owned()], vec!["-x".to_owned()]));
    }

    #[test]
    fn stop_is_another_word_for_commit() {
        let cli = Cli::try_parse_from(["flowlock", "stop", "etl.17"]).unwrap();
        assert!(matches!(cli.command, Command::Commit(Commit { run, .. }) if run == "etl.17"));
    }
}
