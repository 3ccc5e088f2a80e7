//! One file for each command: its arguments, and what it does. A new command is a file here, and a line
//! in [`Command`] and in [`carry_out`].
#![allow(clippy::doc_markdown, reason = "the comments of arguments are the help texts, shown without markup")]

mod check;
mod completions;
mod config;
mod confirm;
mod demo;
mod doctor;
mod man;
mod namespaces;
mod operate;
mod outputs;
pub(crate) mod run;
mod start;
mod status;
mod trust;
mod unlock;
mod why;

use std::path::Path;

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Failure;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command once its names are free, and mark its outputs as written if it succeeds
    Run(Box<run::RunArgs>),
    /// Take names for a build of several steps and print the run id
    Start(Box<start::StartArgs>),
    /// Renew a started run until this command is ended
    Keep(operate::KeepArgs),
    /// Renew a started run once
    Refresh(operate::OneRunArgs),
    /// End a started run successfully: mark its outputs as written
    #[command(alias = "stop")]
    Commit(operate::CommitArgs),
    /// End a started run as failed: nothing is marked as written
    Fail(operate::OneRunArgs),
    /// Ask whether a run still holds its names
    Verify(operate::VerifyArgs),
    /// Show what runs and what waits, and why
    Status(status::StatusArgs),
    /// Explain why a run waits or a name is not written
    Why(why::WhyArgs),
    /// List what is written; create or remove records by hand
    Outputs(outputs::OutputsArgs),
    /// Test whether names are written (for monitoring)
    Check(check::CheckArgs),
    /// Take the names away from a run that will not give them back
    Unlock(unlock::UnlockArgs),
    /// List the namespaces of the store; remove empty ones
    Namespaces(namespaces::NamespacesArgs),
    /// Examine the store and this machine
    Doctor(doctor::DoctorArgs),
    /// Show the settings in force
    Config(config::ConfigArgs),
    /// Let a project's flowlock.toml set everything
    Trust(trust::TrustArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man(man::ManArgs),
    /// Show flowlock at work in a throw-away store
    Demo(demo::DemoArgs),
}

impl Command {
    /// Returns the file to which the result is written, also if the command cannot begin.
    pub(crate) fn json_result(&self) -> Option<&Path> {
        match self {
            Command::Run(args) => args.json_result.as_deref(),
            _ => None,
        }
    }
}

/// Carries out a command; returns the exit code. The parser is for commands that print it.
pub(crate) fn carry_out(global: &Global, command: Command, parser: clap::Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => run::run(global, &args),
        Command::Start(args) => start::start(global, &args),
        Command::Keep(args) => operate::keep(global, &args),
        Command::Refresh(args) => operate::refresh(global, &args),
        Command::Commit(args) => operate::commit(global, &args),
        Command::Fail(args) => operate::fail(global, &args),
        Command::Verify(args) => operate::verify(global, &args),
        Command::Status(args) => status::status(global, &args),
        Command::Why(args) => why::why(global, &args),
        Command::Outputs(args) => outputs::outputs(global, &args),
        Command::Check(args) => check::check(global, &args),
        Command::Unlock(args) => unlock::unlock(global, &args),
        Command::Namespaces(args) => namespaces::namespaces(global, &args),
        Command::Doctor(args) => doctor::doctor(global, &args),
        Command::Config(args) => config::config(global, &args),
        Command::Trust(args) => trust::trust(global, &args),
        Command::Completions(args) => completions::completions(parser, &args),
        Command::Man(args) => man::man(parser, &args),
        Command::Demo(_) => demo::demo(),
    }
}
