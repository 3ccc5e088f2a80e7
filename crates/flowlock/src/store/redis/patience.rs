//! A wait for a server, in slices, so that an interruption is noticed.

use std::io;
use std::time::Duration;

use crate::store::Limits;

/// How much longer an interrupted wait goes on. A healthy server answers within it, and an answer is
/// worth more than an unknown outcome.
const LAST: Duration = Duration::from_millis(100);
/// The shortest time-out that every system call accepts.
const LEAST: Duration = Duration::from_millis(1);

/// The reason of a wait that ended early.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted while waiting for the store")]
pub(super) struct Interrupted;

/// A wait in progress.
#[derive(Debug)]
pub(super) struct Wait {
    limits: Limits,
    cut: Option<Interrupted>,
}

impl Wait {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), cut: None }
    }

    /// Returns how long to wait before looking again; an error if the wait has ended.
    pub(super) fn next_slice(&mut self) -> io::Result<Duration> {
        loop {
            if self.limits.left().is_zero() {
                return Err(match self.cut {
                    Some(interrupted) => io::Error::new(io::ErrorKind::TimedOut, interrupted),
                    None => io::ErrorKind::TimedOut.into(),
                });
            }
            if let Some(nap) = self.limits.nap() {
                return Ok(nap.max(LEAST));
            }
            self.limits = Limits::within(LAST).no_later_than(self.limits.until);
            self.cut = Some(Interrupted);
        }
    }
}

/// Returns whether the caller itself ended the wait.
pub(super) fn is_interruption(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<Interrupted>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_wait_that_is_interrupted_is_over_in_a_moment_and_says_why() {
        let interrupted = Arc::<AtomicBool>::default();
        let limits = Limits { interrupted: Some(interrupted.clone()), ..Limits::within(LAST * 600) };
        let mut wait = Wait::new(&limits);
        assert!(wait.next_slice().unwrap() < LAST, "it looks up now and then");
        interrupted.store(true, Ordering::Release);
        assert!(wait.next_slice().unwrap() <= LAST);
        std::thread::sleep(LAST);
        assert!(is_interruption(&wait.next_slice().unwrap_err()));
    }

    #[test]
    fn a_wait_that_nobody_can_interrupt_is_one_slice() {
        let whole = Duration::from_mins(1);
        let slice = Wait::new(&Limits::within(whole)).next_slice().unwrap();
        assert!(slice + LAST > whole);
        let over = Wait::new(&Limits::within(Duration::ZERO)).next_slice().unwrap_err();
        assert!(over.kind() == io::ErrorKind::TimedOut && !is_interruption(&over));
    }
}
