//! The `flowlock` command: parse, carry out, report.

mod alert;
mod args;
mod child;
mod cli;
mod commands;
mod context;
mod dates;
mod environment;
mod exit;
#[cfg(test)]
mod fuzz;
mod hint;
mod json;
mod last_seen;
mod log;
mod lost_memory;
mod outlet;
mod parent;
mod progress;
mod request;
mod signals;
mod supervise;
mod terminal;
mod times;
mod waiting;
mod watched;
mod zones;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(log::panicked));
    let code = carry_out();
    outlet::finish();
    code
}

fn carry_out() -> ExitCode {
    let handled = signals::outlive_file_size_limits()
        .and_then(|()| signals::end_the_first_process())
        .and_then(|()| Ok(lost_memory::install()?));
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(cli::explain(&error)),
    };
    flowlock::show_time_in(zones::for_people);
    log::set_level(&cli.global);
    if let Err(error) = handled {
        return cannot_begin(&cli.command, exit::Failure::internal("handle signals", &error));
    }
    // A panic has printed what happened and failed the run by unwinding; only the exit code is left.
    let carried_out =
        std::panic::catch_unwind(|| commands::carry_out(&cli.global, cli.command, cli::Cli::command()));
    match carried_out {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(failure)) => report(&failure),
        Err(_) => ExitCode::from(exit::INTERNAL),
    }
}

fn cannot_begin(command: &commands::Command, failure: exit::Failure) -> ExitCode {
    let code = report(&failure);
    if let Some(path) = command.json_result() {
        commands::run::write_failure(path, failure);
    }
    code
}

fn report(failure: &exit::Failure) -> ExitCode {
    if !failure.message.is_empty() {
        terminal::say(&failure.message);
    }
    for line in &failure.details {
        terminal::add(&format!("  {}", terminal::shown(line)));
    }
    ExitCode::from(failure.code)
}
