//! Many waiting runs of one process are released at once: how long until the last of them has begun.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use flowlock::{Flowlock, Grant};

use super::Trouble;
use super::stats::percentile;
use super::table::{Row, short};

const ROUNDS: usize = 5;

/// A waiting run starts its thread with so little.
const STACK: usize = 256 * 1024;

/// As rows: 60 runs, and 600.
pub(crate) fn rows(holder: &Flowlock, waiters: &Flowlock) -> Result<[Row; 2], Trouble> {
    let row = |runs, what: &'static str, must, aim| -> Result<Row, Trouble> {
        let (p50, longest) = rounds(holder, waiters, runs)?;
        Ok(Row::new(what, format!("**{}**, at most {}", short(p50), short(longest)), must, aim))
    };
    Ok([
        row(60, "60 waiting runs of one process released at once: all have begun after", "0.3 s", "0.1 s")?,
        row(600, "600 of them: the same", "2 s", "0.6 s")?,
    ])
}

/// The median of some rounds, and the longest.
fn rounds(holder: &Flowlock, waiters: &Flowlock, runs: usize) -> Result<(Duration, Duration), Trouble> {
    let times: Result<Vec<_>, _> = (0..ROUNDS).map(|_| one(holder, waiters, runs)).collect();
    let mut times = times?;
    Ok((percentile(&mut times, 50), percentile(&mut times, 100)))
}

/// All wait to share what one holds.
fn one(holder: &Flowlock, waiters: &Flowlock, runs: usize) -> Result<Duration, Trouble> {
    let gate = holder.job("holder").lock("gate").acquire()?;
    let (tell, told) = mpsc::channel::<(Grant, Instant)>();
    let threads = (0..runs).map(|_| {
        let (tell, job) = (tell.clone(), waiters.job("released").lock_shared("gate"));
        let wait = move || match job.acquire() {
            Ok(grant) => drop(tell.send((grant, Instant::now()))),
            Err(error) => eprintln!("a waiting run failed: {error}"),
        };
        thread::Builder::new().stack_size(STACK).spawn(wait)
    });
    let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
    drop(tell);
    while holder.runs()?.len() <= runs {
        thread::sleep(Duration::from_millis(20));
    }
    // Each has asked once of its own accord by then, and sleeps.
    thread::sleep(Duration::from_millis(500));
    let released = Instant::now();
    gate.commit()?;
    let begun: Vec<_> = told.iter().collect();
    if begun.len() < runs {
        return Err(format!("only {} of {runs} runs began", begun.len()).into());
    }
    let last = begun.iter().map(|(_, at)| at.saturating_duration_since(released)).max().unwrap_or_default();
    for (grant, _) in begun {
        grant.commit()?;
    }
    for thread in threads {
        thread.join().map_err(|_| "a waiter panicked")?;
    }
    Ok(last)
}
