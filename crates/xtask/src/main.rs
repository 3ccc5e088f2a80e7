//! The project's own commands: `cargo xtask demo | test | bench | torture`, and no third way to do any of it.

mod bench;
mod circles;
mod demo;
mod docs;
mod licences;
mod mutants;
mod paint;
mod repo;
mod shell;
mod steps;
mod test;
mod threads;
mod tools;
mod torture;
mod watchdog;
mod wordings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "flowlock's own commands", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a small pipeline on real weather data: waiting, hand-off, a refusal, a crash, the report
    Demo(demo::Args),
    /// Everything that must hold before a change lands, from formatting to the examples in the docs
    Test(test::Args),
    /// Measure, as ratios against the nearest bare thing, in one run
    Bench(bench::Args),
    /// Random histories and crashes, for as long as you like
    Torture(torture::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Torture(args) => torture::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            paint::failure(&reason.to_string());
            ExitCode::FAILURE
        }
    }
}
