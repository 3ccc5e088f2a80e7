//! The library's acquire + commit of 3 inputs and 2 outputs, against the bare transactions.

use std::path::Path;

use flowlock::{Flowlock, Job};

use crate::Trouble;
use crate::bare::Bare;
use crate::stats::{Comparison, compare};

const TIMES_IN_A_ROUND: u32 = 200;

/// Measures in a folder; which file system that is, is the caller's choice.
pub(crate) fn against_bare_transactions(folder: &Path, rounds: u32) -> Result<Comparison, Trouble> {
    let flowlock = Flowlock::open(&format!("sqlite:{}/library.db", folder.display()))?;
    let job = job(&flowlock)?;
    let mut bare = Bare::create(&folder.join("bare.db"))?;
    let ours = || -> Result<(), Trouble> {
        job.acquire()?.commit()?;
        Ok(())
    };
    compare(rounds, TIMES_IN_A_ROUND, ours, || bare.acquire_and_commit().map_err(Trouble::from))
}

/// The job that all cycles run, its inputs being written.
pub(crate) fn job(flowlock: &Flowlock) -> Result<Job, Trouble> {
    let inputs = ["input.1", "input.2", "input.3"];
    flowlock.create(&inputs, flowlock::Creation::default())?;
    let job = inputs.iter().fold(flowlock.job("bench"), |job, input| job.input(*input));
    Ok(job.output("output.1").output("output.2"))
}
