//! The server's own time for acquire + commit, against jobs.py with history.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flowlock::{Flowlock, Namespace};

use crate::Trouble;
use crate::cycle;
use crate::server::{Server, Work};
use crate::stats::Comparison;

const CYCLES: u64 = 2_000;
const PREDECESSOR: &str = include_str!("predecessor.py");

/// The server's time per cycle, in rounds that take turns.
pub(crate) fn against_jobs_py(server: &Server, python: &Path, rounds: u32) -> Result<Comparison, Trouble> {
    let flowlock = Flowlock::builder().namespace(Namespace::parse("script")?).open(&server.unix())?;
    let job = cycle::job(&flowlock)?;
    let ours = || (0..CYCLES).try_for_each(|_| Ok(job.acquire()?.commit().map(drop)?));
    let theirs = || predecessor(python, &server.socket(), CYCLES);
    // The first cycles of each bring the scripts.
    job.acquire()?.commit()?;
    predecessor(python, &server.socket(), 1)?;
    let mut seen = Vec::new();
    for _ in 0..rounds {
        seen.push((per_cycle(server.work_of(ours)?)?, per_cycle(server.work_of(theirs)?)?));
    }
    Ok(Comparison::of_rounds(seen))
}

/// Both send two scripts per cycle, and nothing else that takes time.
fn per_cycle(work: Work) -> Result<Duration, Trouble> {
    if work.scripts != 2 * CYCLES {
        return Err(format!("{} calls of scripts in {CYCLES} cycles", work.scripts).into());
    }
    Ok(work.time / CYCLES as u32)
}

fn predecessor(python: &Path, socket: &Path, cycles: u64) -> Result<(), Trouble> {
    let mut command = Command::new(python);
    command.args(["-c", PREDECESSOR]).arg(socket).arg(cycles.to_string());
    let out = command.stdin(Stdio::null()).output()?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("jobs.py: {}", String::from_utf8_lossy(&out.stderr)).into())
}
