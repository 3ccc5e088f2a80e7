//! Others of a namespace: a run whose lease ended, and runs that wait, all at names of their own.

use std::thread;
use std::time::Duration;

use flowlock::{Begun, Flowlock, Grant, Pending};

use super::Trouble;

/// A lease and, in `LAPSES`, its end.
const SHORT_LEASE: Duration = Duration::from_secs(1);
const LAPSES: Duration = Duration::from_secs(2);

/// They stay until they are told to leave.
pub(crate) struct Others {
    lapsed: Grant,
    holder: Grant,
    waiting: Vec<Pending>,
}

impl Others {
    /// One lapsed run, and so many that wait for a lock which another run holds.
    pub(crate) fn join(flowlock: &Flowlock, waiting: usize) -> Result<Self, Trouble> {
        let lapsed = flowlock.job("lapsed").lock("abandoned").lease(SHORT_LEASE).fixed_lease().acquire()?;
        let holder = flowlock.job("holder").lock("gate").acquire()?;
        let wait = |_| match flowlock.job("waiting").lock("gate").begin()? {
            Begun::Waiting(pending) => Ok(pending),
            Begun::Granted(_) => Err("nobody waits".into()),
        };
        let waiting = (0..waiting).map(wait).collect::<Result<Vec<_>, Trouble>>()?;
        thread::sleep(LAPSES);
        Ok(Self { lapsed, holder, waiting })
    }

    /// Ends them all.
    pub(crate) fn leave(self) -> Result<(), Trouble> {
        for pending in self.waiting {
            pending.cancel()?;
        }
        self.holder.commit()?;
        drop(self.lapsed);
        Ok(())
    }
}
