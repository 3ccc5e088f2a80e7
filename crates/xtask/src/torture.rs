//! `cargo xtask torture`: random histories of the stores with fresh seeds, the tests with real processes, which kill at
//! random moments, those with servers that crash, freeze and replace each other, and those that bend every input; over and
//! over.

use std::time::{Duration, Instant};

use crate::steps::{Failure, Steps};
use crate::{mutants, repo, tools};

/// Random histories in one round; a round is what a change of mind (Ctrl-C) loses at most.
const HISTORIES: &str = "256";

/// How many times as long as in `cargo xtask test` the machine is hostile to real processes: 16 of them contend for
/// 30 seconds, and power goes out several hundred times.
const EFFORT: &str = "4";

/// How long each parser is fed with bent input in one round, in milliseconds; one second in `cargo xtask test`.
const FUZZED_MS: &str = "30000";
/// Every step of a round is done long before that, unless it hangs.
const HANGS: Duration = Duration::from_mins(40);

/// What `cargo xtask torture` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long to go on; a round that has begun is finished
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The seed of the first round, as an earlier torture printed it
    #[arg(long)]
    seed: Option<u64>,
    /// Instead: change one thing after the other in what decides, and see that a test notices (many hours)
    #[arg(long)]
    mutants: bool,
    /// Of the mutants only part K of N
    #[arg(long, value_name = "K/N", requires = "mutants")]
    shard: Option<String>,
}

/// Goes on until the time is over or something breaks.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.step("tools", tools::install_missing)?;
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    if args.mutants {
        return steps.step("mutants", || mutants::run(args.shard.as_deref()));
    }
    let mut seed = args.seed.unwrap_or_else(fresh_seed);
    for round in 1.. {
        anstream::println!("round {round}; `cargo xtask torture --minutes 0 --seed {seed}` plays it again");
        play(&mut steps, round, seed)?;
        if Instant::now() >= until {
            break;
        }
        seed = seed.wrapping_add(1);
    }
    Ok(())
}

fn play(steps: &mut Steps, round: u64, seed: u64) -> Result<(), Failure> {
    let mut histories = repo::cargo(["test", "--package", "flowlock", "--all-features", "--", "histor"]);
    let mut processes = repo::cargo(["test", "--package", "flowlock-cli", "--all-features"]);
    let mut servers = repo::cargo(["test", "--package", "flowlock", "--all-features", "--test", "main"]);
    servers.args(["--", "servers::"]);
    let mut fuzzing = repo::cargo(["test", "--package", "flowlock", "--package", "flowlock-cli"]);
    fuzzing
        .args(["--all-features", "--", "fuzz::", "altered::"])
        .env("BOLERO_RANDOM_TEST_TIME_MS", FUZZED_MS);
    let all = [
        ("random histories", &mut histories),
        ("real processes", &mut processes),
        ("servers that fail", &mut servers),
        ("bent input", &mut fuzzing),
    ];
    for (what, command) in all {
        command.env("FLOWLOCK_HISTORIES", HISTORIES).env("FLOWLOCK_FAULTS_EFFORT", EFFORT);
        for chance in ["FLOWLOCK_SEED", "FLOWLOCK_FAULTS_SEED", "BOLERO_RANDOM_SEED"] {
            command.env(chance, seed.to_string());
        }
        steps.command_within(&format!("{what}, round {round}, seed {seed}"), command, HANGS)?;
    }
    Ok(())
}

/// Small enough to be typed.
fn fresh_seed() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_millis() as u64 % 1_000_000_000)
}
