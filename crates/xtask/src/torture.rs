//! `cargo xtask torture`: the random tests, over and over with fresh seeds, and the slow tests that `test` leaves out.

use std::time::{Duration, Instant};

use crate::repo;
use crate::steps::{Failure, Steps};

/// Random histories in one round; a round is what a change of mind (Ctrl-C) loses at most.
const HISTORIES: &str = "4096";

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
        let mut histories =
            repo::cargo(["test", "--release", "--package", "flowlock", "--all-features", "--", "histor"]);
        steps.command(
            &format!("random histories, round {round}"),
            histories.env("FLOWLOCK_HISTORIES", HISTORIES),
        )?;
        let slow = ["test", "--release", "--workspace", "--all-features", "--", "--ignored"];
        steps.command(&format!("slow tests, round {round}"), &mut repo::cargo(slow))?;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(())
}
