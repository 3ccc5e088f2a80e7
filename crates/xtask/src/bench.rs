//! `cargo xtask bench`: ratios against the nearest bare thing, measured side by side in one run.

use crate::repo::{self, Profile};
use crate::steps::{Failure, Steps};
use crate::tools;

/// What `cargo xtask bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which store
    #[arg(value_enum, default_value_t = Store::Embedded)]
    store: Store,
    /// Rounds of every comparison; the median counts
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Measure only this part: processes, transactions, elsewhere, handoff, released, contention, waiting; on Redis cycle, script,
    /// steps, elsewhere, handoff, released, queue, idle, records, threads
    #[arg(long, value_name = "PART")]
    only: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Store {
    /// SQLite on this machine's disk and on tmpfs
    Embedded,
    /// A throw-away Redis on this machine
    Redis,
}

/// Builds as users get it, then measures.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.step("tools", tools::install_missing)?;
    steps.command("the command line program", &mut Profile::Release.build_cli())?;
    let bin = Profile::Release.folder();
    let (name, jobs_py) = match args.store {
        Store::Embedded => ("bench-embedded", None),
        Store::Redis => ("bench-redis", Some(tools::jobs_py()?)),
    };
    let build = ["build", "--release", "--package", "xtask", "--features", "bench", "--bin", name];
    steps.command("the benchmark", &mut repo::cargo(build))?;
    let mut bench = std::process::Command::new(bin.join(name));
    bench.arg(bin.join("flowlock")).args(jobs_py).arg(args.rounds.to_string()).args(&args.only);
    steps.command("measuring", &mut bench)
}
