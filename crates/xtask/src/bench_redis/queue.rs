//! A release while many wait for the name: the server's time for it.

use std::time::Duration;

use flowlock::store::Store as _;
use flowlock::store::redis::RedisStore;
use flowlock::{ClaimsBuilder, Name, Namespace};

use crate::Trouble;
use crate::server::Server;
use crate::stats::percentile;
use crate::steps::{Run, expect_ended, expect_running, expect_waiting};

const RELEASES: u64 = 400;
/// The processes that the runs belong to. All are heard again and again, as their runs come in turn.
const PROCESSES: u64 = 4;

/// The median of many releases while `queued` runs wait for the one lock, its next holder among them.
pub(crate) fn release(server: &Server, queued: u64) -> Result<Duration, Trouble> {
    let line = Line::new(server, queued)?;
    let mut holder = waiter(0)?;
    expect_running(line.store.step(&line.namespace, &holder.acquire(&line.store, &line.namespace)?)?)?;
    for number in 1..=queued {
        line.join(number)?;
    }
    let mut times = Vec::new();
    for number in 0..RELEASES {
        let commit = holder.commit();
        let work = || expect_ended(line.store.step(&line.namespace, &commit)?);
        times.push(server.work_of(work)?.time);
        holder = waiter(number + 1)?;
        expect_running(line.store.step(&line.namespace, &holder.accept())?)?;
        line.join(queued + number + 1)?;
    }
    Ok(percentile(&mut times, 50))
}

struct Line {
    store: RedisStore,
    namespace: Namespace,
}

impl Line {
    fn new(server: &Server, queued: u64) -> Result<Self, Trouble> {
        let store = RedisStore::open(&server.unix(), Duration::from_secs(5))?;
        Ok(Self { store, namespace: Namespace::parse(&format!("queue-{queued}"))? })
    }

    fn join(&self, number: u64) -> Result<(), Trouble> {
        let acquire = waiter(number)?.acquire(&self.store, &self.namespace)?;
        expect_waiting(self.store.step(&self.namespace, &acquire)?)
    }
}

fn waiter(number: u64) -> Result<Run, Trouble> {
    let claims = ClaimsBuilder::default().lock(Name::parse("gate")?).build()?;
    Run::new(number, number % PROCESSES, claims)
}
