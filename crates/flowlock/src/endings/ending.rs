//! [`Ending`]: a run that must be ended, how, and until when that is tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::at_exit::Left;
use crate::handle::StoreHandle;
use crate::id::Attempt;
use crate::spec::Spec;
use crate::step::{Step, Who};
use crate::store::{Limits, StoreError};
use crate::world::later;

/// A request may be on its way for up to 5 minutes, and what it becomes begins only then.
const ON_ITS_WAY: Duration = Duration::from_mins(5);

/// A run that must be ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The attempt.
    pub(super) attempt: Attempt,
    /// What it holds or asks for.
    pub(super) spec: Arc<Spec>,
    how: How,
    begun: Instant,
    /// Whether its caller knows that the store did not answer.
    is_said: bool,
    /// Held as long as the end of the process must wait for it.
    left: Option<Left>,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It gives up the names that it holds.
    Release(Release),
    /// It leaves the queue, or gives back what it was granted meanwhile.
    Withdraw {
        /// The latest arrival of a request without an answer, by the store's lease clock (0: there is
        /// none).
        sent_ms: i64,
        /// When its wait ends; `None` if it waits for ever.
        ends: Option<Instant>,
    },
}

/// How a run gives up the names that it holds, without a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The work failed.
    Failed,
    /// The work did not begin: this is not a failure.
    NotBegun,
}

/// Whether the store answered the last time that the caller asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It did. The end of the process waits until it is told.
    Yes,
    /// It did not, and the caller knows. The end of the process does not wait.
    No,
}

/// Whether a connection still has users. If it has none, nothing tells the store that its waiting runs
/// are alive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connected {
    #[default]
    Yes,
    No,
}

impl Release {
    /// Returns the step that tells the store.
    pub(crate) fn step(self, attempt: &Attempt) -> Step {
        match self {
            Self::Failed => Step::Fail(Who::from(attempt)),
            Self::NotBegun => Step::GiveBack(attempt.clone()),
        }
    }
}

impl Ending {
    pub(crate) fn new(attempt: &Attempt, spec: &Arc<Spec>, how: How, reached: Reached) -> Self {
        let (is_said, left) = match reached {
            Reached::Yes => (false, Some(Left::new())),
            Reached::No => (true, None),
        };
        Self { attempt: attempt.clone(), spec: spec.clone(), how, begun: Instant::now(), is_said, left }
    }

    /// Tells the store.
    pub(super) fn tell(&self, handle: &StoreHandle) -> Result<(), StoreError> {
        match self.how {
            How::Release(release) => {
                let limits = Limits::within(handle.store_timeout);
                handle.step_within(&release.step(&self.attempt), &limits).map(drop)
            }
            How::Withdraw { sent_ms, .. } => {
                handle.withdraw(&self.attempt, sent_ms, &Limits::within(handle.store_timeout))
            }
        }
    }

    /// Returns whether the run is over, or reserves nothing any more, although the store was not told.
    ///
    /// Nobody renews its lease, which began before now. In the queue it is kept by the heartbeats of its
    /// connection, whatever else they are sent for, until its wait ends.
    pub(super) fn is_over(&self, now: Instant, connected: Connected) -> bool {
        let lease_end = later(self.begun, Duration::from_millis(self.spec.lease_ms));
        match self.how {
            How::Withdraw { ends: None, .. } if connected == Connected::Yes => false,
            How::Withdraw { ends: Some(ends), .. } if connected == Connected::Yes => {
                now >= later(lease_end.max(ends), ON_ITS_WAY)
            }
            How::Withdraw { .. } | How::Release(_) => now >= lease_end,
        }
    }

    /// Logs why the store was not told: once, for it may be tried for long.
    pub(super) fn note_failure(&mut self, error: &StoreError) {
        let run = &self.attempt.id;
        if std::mem::replace(&mut self.is_said, true) {
            tracing::debug!(%run, %error, "still could not end the run");
        } else {
            tracing::warn!(%run, %error, "could not end the run yet; trying again until it is over");
        }
        if !error.is_no_refusal() {
            // Time alone may not help, and the process should not wait for it.
            self.left = None;
        }
    }

    #[cfg(test)]
    pub(super) fn is_awaited_at_exit(&self) -> bool {
        self.left.is_some()
    }
}
