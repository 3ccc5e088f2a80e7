//! Acquire + commit while others of the namespace wait and have lapsed at other names.

use std::time::{Duration, Instant};

use flowlock::{Flowlock, Job, Namespace};

use crate::Trouble;
use crate::cycle;
use crate::others::Others;
use crate::server::Server;
use crate::stats::{Comparison, compare_timed};

const TIMES_IN_A_ROUND: u32 = 500;

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// A whole cycle, as its process sees it.
    pub(crate) cycle: Comparison,
    /// The server's time for it.
    pub(crate) server: Comparison,
}

/// A namespace with one lapsed run and one waiting run, against one without.
pub(crate) fn with_others(server: &Server, rounds: u32) -> Result<Seen, Trouble> {
    let open = |namespace: &str| -> Result<Flowlock, Trouble> {
        Ok(Flowlock::builder().namespace(Namespace::parse(namespace)?).open(&server.unix())?)
    };
    let (busy, quiet) = (open("elsewhere")?, open("nobody")?);
    let others = Others::join(&open("elsewhere")?, 1)?;
    let (among, alone) = (cycle::job(&busy)?, cycle::job(&quiet)?);
    let whole = |job: &Job| -> Result<Duration, Trouble> {
        let start = Instant::now();
        job.acquire()?.commit()?;
        Ok(start.elapsed())
    };
    let of_server = |job: &Job| -> Result<Duration, Trouble> {
        let work = server.work_of(|| (0..TIMES_IN_A_ROUND).try_for_each(|_| whole(job).map(drop)))?;
        Ok(work.time / TIMES_IN_A_ROUND)
    };
    let seen = Seen {
        cycle: compare_timed(rounds, TIMES_IN_A_ROUND, || whole(&among), || whole(&alone))?,
        server: compare_timed(rounds, 1, || of_server(&among), || of_server(&alone))?,
    };
    others.leave()?;
    Ok(seen)
}
