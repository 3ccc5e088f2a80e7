//! One file for each command.

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
mod run;
mod start;
mod status;
mod trust;
mod unlock;
mod why;

use crate::args::{Command, Global, NamespacesCommand, OutputsCommand};
use crate::exit::Failure;

/// Carries out a command; answers the exit code.
pub(crate) fn carry_out(global: &Global, command: Command) -> Result<u8, Failure> {
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
        Command::Outputs(args) => match args.command {
            None => outputs::list(global, &args.list),
            Some(OutputsCommand::List(args)) => outputs::list(global, &args),
            Some(OutputsCommand::Create(args)) => outputs::create(global, &args),
            Some(OutputsCommand::Rm(args)) => outputs::rm(global, &args),
        },
        Command::Check(args) => check::check(global, &args),
        Command::Unlock(args) => unlock::unlock(global, &args),
        Command::Namespaces(args) => match args.command {
            None => namespaces::list(global, &args.list),
            Some(NamespacesCommand::List(args)) => namespaces::list(global, &args),
            Some(NamespacesCommand::Rm(args)) => namespaces::rm(global, &args),
        },
        Command::Doctor(args) => doctor::doctor(global, &args),
        Command::Config(args) => config::config(global, &args),
        Command::Trust(args) => trust::trust(global, &args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
        Command::Demo(_) => demo::demo(),
    }
}
