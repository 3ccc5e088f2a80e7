//! Acquire + commit while others of the namespace wait and have lapsed at other names.

use std::path::Path;
use std::time::Instant;

use flowlock::{Flowlock, Job};

use crate::Trouble;
use crate::library;
use crate::others::Others;
use crate::stats::{Comparison, compare_timed};

const TIMES_IN_A_ROUND: u32 = 200;

/// A store with one lapsed run and so many waiting ones, against one without.
pub(crate) fn with_others(folder: &Path, waiting: usize, rounds: u32) -> Result<Comparison, Trouble> {
    let open = |name: &str| Flowlock::open(&format!("sqlite:{}/{name}-{waiting}.db", folder.display()));
    let (busy, quiet) = (open("elsewhere")?, open("nobody")?);
    let others = Others::join(&open("elsewhere")?, waiting)?;
    let (among, alone) = (library::job(&busy)?, library::job(&quiet)?);
    let cycle = |job: &Job| -> Result<_, Trouble> {
        let start = Instant::now();
        job.acquire()?.commit()?;
        Ok(start.elapsed())
    };
    let seen = compare_timed(rounds, TIMES_IN_A_ROUND, || cycle(&among), || cycle(&alone))?;
    others.leave()?;
    Ok(seen)
}
