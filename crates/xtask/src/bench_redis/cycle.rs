//! Acquire + commit of 3 inputs and 2 outputs through the library, against two round trips that do nothing.

use std::sync::Arc;
use std::time::Duration;

use flowlock::store::redis::RedisStore;
use flowlock::{Flowlock, Job, Namespace};
use nix::time::{ClockId, clock_gettime};

use crate::Trouble;
use crate::server::Server;
use crate::stats::{Comparison, compare, percentile};
use crate::steps::{Run, three_in_two_out};

const TIMES_IN_A_ROUND: u32 = 500;

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) comparison: Comparison,
    /// Bytes of the requests of one cycle: the library's, and those of the bare round trips.
    pub(crate) bytes: (u64, u64),
    /// This process's own time on a core for one cycle, of either.
    pub(crate) client: (Duration, Duration),
}

/// Measures at a URL of the server's. Both sides use the one connection of one store.
pub(crate) fn against_two_round_trips(server: &Server, url: &str, rounds: u32) -> Result<Seen, Trouble> {
    let store = Arc::new(RedisStore::open(url, Duration::from_secs(2))?);
    let namespace = Namespace::parse("cycle")?;
    let flowlock = Flowlock::builder().namespace(namespace.clone()).with_store(store.clone());
    let job = job(&flowlock)?;
    let run = Run::new(1, 1, three_in_two_out()?)?;
    let acquire = store.no_op(&namespace, &run.acquire(&store, &namespace)?)?;
    let commit = store.no_op(&namespace, &run.commit())?;
    let mut ours = || -> Result<(), Trouble> { Ok(job.acquire()?.commit().map(drop)?) };
    let mut bare = || -> Result<(), Trouble> {
        acquire()?;
        Ok(commit()?)
    };
    // The first of each brings the script.
    ours()?;
    bare()?;
    let hundred = |work: &mut dyn FnMut() -> Result<(), Trouble>| (0..100).try_for_each(|_| work());
    let bytes =
        (server.bytes_of(|| hundred(&mut ours))? / 100, server.bytes_of(|| hundred(&mut bare))? / 100);
    let client = (own_time(&mut ours)?, own_time(&mut bare)?);
    Ok(Seen { comparison: compare(rounds, TIMES_IN_A_ROUND, ours, bare)?, bytes, client })
}

/// The median of this thread's time on a core.
fn own_time(work: &mut dyn FnMut() -> Result<(), Trouble>) -> Result<Duration, Trouble> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let before = now()?;
        work()?;
        times.push(now()?.saturating_sub(before));
    }
    Ok(percentile(&mut times, 50))
}

/// The job that all cycles run, its inputs being written.
pub(crate) fn job(flowlock: &Flowlock) -> Result<Job, Trouble> {
    let inputs = ["input.1", "input.2", "input.3"];
    flowlock.create(&inputs, flowlock::Creation::default())?;
    let job = inputs.iter().fold(flowlock.job("bench"), |job, input| job.input(*input));
    Ok(job.output("output.1").output("output.2"))
}
