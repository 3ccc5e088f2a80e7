//! What a process that holds or waits can rely on, whatever its own code and its store do meanwhile.

mod crowds;
mod edges;
mod leases;
mod losses;
mod unanswered;

use std::time::Duration;

use flowlock::{Acquired, Flowlock, Grant, Job};

use super::{Fresh, between};

const SHORT: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(20);

fn soon_lost(flowlock: &Flowlock, lock: &str) -> Grant {
    flowlock.job("short").lock(lock).lease(SHORT).fixed_lease().acquire().unwrap()
}

fn blocked(job: &Job) -> bool {
    matches!(job.try_acquire().unwrap(), Acquired::Blocked(_))
}
