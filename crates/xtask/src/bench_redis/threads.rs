//! Many threads of one process over its one connection: acquire + commit per second.

use std::thread;
use std::time::{Duration, Instant};

use flowlock::{Flowlock, Namespace};

use crate::Trouble;
use crate::server::Server;

const LASTING: Duration = Duration::from_secs(3);

/// Cycles per second of so many threads, which share their inputs and nothing else.
pub(crate) fn cycles_per_second(server: &Server, threads: usize) -> Result<f64, Trouble> {
    let flowlock = Flowlock::builder().namespace(Namespace::parse("threads")?).open(&server.tcp())?;
    flowlock.create(&["input.1", "input.2", "input.3"], flowlock::Creation::default())?;
    let start = Instant::now();
    let cycles = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn({
                    let flowlock = &flowlock;
                    move || work(flowlock, worker).map_err(|trouble| trouble.to_string())
                })
            })
            .collect();
        let ended =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked".to_owned())?);
        ended.sum::<Result<u32, String>>()
    })?;
    Ok(f64::from(cycles) / start.elapsed().as_secs_f64())
}

fn work(flowlock: &Flowlock, worker: usize) -> Result<u32, Trouble> {
    let job = flowlock.job("bench").input("input.1").input("input.2").input("input.3");
    let job = job.output(format!("output.{worker}.1")).output(format!("output.{worker}.2"));
    let (start, mut cycles) = (Instant::now(), 0);
    while start.elapsed() < LASTING {
        job.acquire()?.commit()?;
        cycles += 1;
    }
    Ok(cycles)
}
