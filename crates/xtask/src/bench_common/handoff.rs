//! Two processes pass one lock back and forth: from the moment the holder sends its release to the moment the other one's
//! claim is answered. Both read the same monotonic clock.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use flowlock::Flowlock;
use nix::time::{ClockId, clock_gettime};

use super::Trouble;
use super::stats::percentile;

const PASSES: usize = 1500;

/// How long each side holds the lock: long enough for the other to be in the queue.
const HOLD: Duration = Duration::from_millis(4);

/// How long each side does something else before it asks again, so that its next request is not what is measured.
const ELSEWHERE: Duration = Duration::from_millis(1);

/// p50 and p99.
pub(crate) fn between_two_processes(store: &str) -> Result<(Duration, Duration), Trouble> {
    let sides = [player(store)?, player(store)?];
    let mut turns = Vec::new();
    for (side, mut child) in (0..).zip(sides) {
        let lines = child.stdout.take().ok_or("no output to read")?;
        for line in BufReader::new(lines).lines() {
            let line = line?;
            let (granted, released) = line.split_once(' ').ok_or("a line with one time")?;
            turns.push((granted.parse::<u64>()?, released.parse::<u64>()?, side));
        }
        child.wait()?;
    }
    turns.sort_unstable();
    let passes = turns.windows(2).filter(|pair| pair[0].2 != pair[1].2);
    let mut times: Vec<Duration> =
        passes.map(|pair| Duration::from_nanos(pair[1].0.saturating_sub(pair[0].1))).collect();
    if times.len() < PASSES {
        return Err(format!(
            "only {} of {} turns passed from one process to the other",
            times.len(),
            2 * PASSES
        )
        .into());
    }
    Ok((percentile(&mut times, 50), percentile(&mut times, 99)))
}

fn player(store: &str) -> Result<Child, Trouble> {
    let this = std::env::current_exe()?;
    Ok(Command::new(this).args(["player", store]).stdout(Stdio::piped()).spawn()?)
}

/// One side, as a process of its own: prints when each turn was granted and when its release was sent.
pub(crate) fn play(store: &str) -> Result<(), Trouble> {
    let flowlock = Flowlock::open(store)?;
    let job = flowlock.job("player").lock("ball");
    let mut turns = Vec::with_capacity(PASSES);
    for _ in 0..PASSES {
        let grant = job.acquire()?;
        let granted = now()?;
        thread::sleep(HOLD);
        turns.push((granted, now()?));
        grant.commit()?;
        thread::sleep(ELSEWHERE);
    }
    let mut out = std::io::stdout().lock();
    for (granted, released) in turns {
        writeln!(out, "{granted} {released}")?;
    }
    Ok(())
}

fn now() -> Result<u64, Trouble> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}
