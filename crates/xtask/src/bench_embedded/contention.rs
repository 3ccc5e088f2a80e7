//! Sixteen processes want one lock all the time: how evenly they get it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flowlock::Flowlock;

use crate::Trouble;

const PROCESSES: usize = 16;
const LASTING: Duration = Duration::from_secs(10);

/// The most and the least grants that a process got.
pub(crate) fn sixteen(folder: &Path) -> Result<(u32, u32), Trouble> {
    let store = format!("sqlite:{}/contention.db", folder.display());
    Flowlock::open(&store)?.job("first").lock("bone").acquire()?.commit()?;
    let this = std::env::current_exe()?;
    let contend = || Command::new(&this).args(["contender", &store]).stdout(Stdio::piped()).spawn();
    let contenders: Vec<Child> = (0..PROCESSES).map(|_| contend()).collect::<Result<_, _>>()?;
    let mut grants = Vec::new();
    for contender in contenders {
        grants.push(String::from_utf8(contender.wait_with_output()?.stdout)?.trim().parse::<u32>()?);
    }
    Ok((grants.iter().max().copied().unwrap_or_default(), grants.iter().min().copied().unwrap_or_default()))
}

/// One of them, as a process of its own: prints how many grants it got.
pub(crate) fn contend(store: &str) -> Result<(), Trouble> {
    let flowlock = Flowlock::open(store)?;
    let job = flowlock.job("contender").lock("bone");
    let (start, mut grants) = (Instant::now(), 0u32);
    while start.elapsed() < LASTING {
        job.acquire()?.commit()?;
        grants += 1;
    }
    println!("{grants}");
    Ok(())
}
