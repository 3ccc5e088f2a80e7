//! [`Interrupter`], which ends a wait from another thread.

use std::sync::Arc;

use crate::waiter::Waiter;

/// Makes a thread return from [`Pending::wait`](super::Pending::wait).
///
/// ```
/// use std::time::Duration;
/// use flowlock::{Begun, Flowlock, Progress};
///
/// let flowlock = Flowlock::open("memory:")?;
/// let Begun::Waiting(mut pending) = flowlock.job("report").input("sales").begin()? else { unreachable!() };
/// let interrupter = pending.interrupter();
/// std::thread::spawn(move || interrupter.interrupt()); // e.g. from a signal handler's thread
/// assert!(matches!(pending.wait(Duration::from_secs(60))?, Progress::Waiting));
/// pending.cancel()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Interrupter {
    pub(super) waiter: Arc<Waiter>,
}

impl Interrupter {
    /// Ends the current wait, or the next one, with [`Progress::Waiting`](super::Progress::Waiting).
    pub fn interrupt(&self) {
        self.waiter.update(|state| state.interrupted = true);
    }
}
