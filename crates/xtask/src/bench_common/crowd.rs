//! Many runs of one process that wait for one lock.

use std::thread;

use flowlock::Flowlock;

use super::Trouble;

/// So many threads wait for the lock `gate`, hold it, and let go; returns when the last one has.
pub(crate) fn wait_together(flowlock: &Flowlock, runs: usize) -> Result<(), Trouble> {
    let wait = || flowlock.job("crowd").lock("gate").acquire().and_then(|grant| grant.commit().map(drop));
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..runs).map(|_| scope.spawn(wait)).collect();
        waiters
            .into_iter()
            .try_for_each(|waiter| waiter.join().map_err(|_| "a waiter panicked")?.map_err(Trouble::from))
    })
}
