//! `cargo xtask torture`: random histories of the stores with fresh seeds, the tests with real processes, which kill at
//! random moments, those with servers that crash, freeze and replace each other, and those that bend every input; over and
//! over.

use std::time::{Duration, Instant};

use crate::repo;
use crate::steps::{Failure, Steps};

/// Random histories in one round; a round is what a change of mind (Ctrl-C) loses at most.
const HISTORIES: &str = "1024";

/// How many times as long as in `cargo xtask test` the machine is hostile to real processes: 16 of them contend for
/// 30 seconds, and power goes out several hundred times.
const EFFORT: &str = "4";

/// How long each parser is fed with bent input in one round, in milliseconds; one second in `cargo xtask test`.
const FUZZED_MS: &str = "30000";

/// What `cargo xtask torture` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long to go on; a round that has begun is finished
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Goes on until the time is over or something breaks.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut steps = Steps::default();
    for round in 1.. {
        let mut histories = repo::cargo(["test", "--package", "flowlock", "--all-features", "--", "histor"]);
        steps.command(
            &format!("random histories, round {round}"),
            histories.env("FLOWLOCK_HISTORIES", HISTORIES),
        )?;
        let mut processes = repo::cargo(["test", "--package", "flowlock-cli", "--all-features"]);
        steps.command(
            &format!("real processes, round {round}"),
            processes.env("FLOWLOCK_FAULTS_EFFORT", EFFORT),
        )?;
        let mut servers = repo::cargo(["test", "--package", "flowlock", "--all-features", "--test", "main"]);
        steps.command(
            &format!("servers that fail, round {round}"),
            servers.args(["--", "servers::"]).env("FLOWLOCK_FAULTS_EFFORT", EFFORT),
        )?;
        let mut fuzzing = repo::cargo(["test", "--package", "flowlock", "--package", "flowlock-cli"]);
        steps.command(
            &format!("bent input, round {round}"),
            fuzzing
                .args(["--all-features", "--", "fuzz::", "altered::"])
                .env("BOLERO_RANDOM_TEST_TIME_MS", FUZZED_MS),
        )?;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(())
}
