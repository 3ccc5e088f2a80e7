//! flowlock on the command line: parse, carry out, report.

mod args;
mod child;
mod commands;
mod dates;
mod door;
mod environment;
mod exit;
mod held;
mod hint;
mod json;
mod log;
mod request;
mod signals;
mod supervise;
mod talk;
mod terminal;
mod times;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(args::explain(&error)),
    };
    log::set_level(cli.global.quiet, cli.global.verbose);
    match commands::carry_out(&cli.global, cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.message.is_empty() {
                terminal::say(&failure.message);
            }
            for line in &failure.details {
                eprintln!("  {}", terminal::shown(line));
            }
            ExitCode::from(failure.code)
        }
    }
}
