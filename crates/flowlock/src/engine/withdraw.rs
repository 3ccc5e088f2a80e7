//! Withdrawing a request, and giving back a run that has not begun.

use std::sync::Arc;

use super::tables::{Result, Tables};
use super::{Engine, LATEST_AHEAD_MS};
use crate::claim::Claims;
use crate::id::{Attempt, ClientId};
use crate::name::JobName;
use crate::origin::{Holder, Origin};
use crate::run::{LostBy, Outcome, RowKind, State};
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::step::{Acquire, Answer, Cancelled, Patience};

impl<T: Tables> Engine<'_, T> {
    pub(super) fn cancel(&mut self, attempt: &Attempt, latest_ms: i64) -> Result<Cancelled> {
        let Some(mut run) = self.tables.by_attempt(attempt)? else {
            self.put_tombstone(attempt, latest_ms)?;
            return Ok(Cancelled::Withdrawn);
        };
        if run.state.is_waiting() || run.state == State::Granted {
            self.finish(&mut run, Outcome::Cancelled)?;
        }
        Ok(has_begun(run.state))
    }

    /// Ends a run whose work has not begun, even if it is running. This is not a failure.
    pub(super) fn give_back(&mut self, attempt: &Attempt) -> Result<Answer> {
        let Some(mut run) = self.tables.by_attempt(attempt)? else {
            return Ok(Answer::NotFound);
        };
        if run.state == State::Running {
            self.restore_records(&run)?;
        }
        if run.revoked && run.state.is_holding() {
            self.finish(&mut run, Outcome::Lost(LostBy::Broken))?;
        } else if !matches!(run.state, State::Ended(_)) {
            self.finish(&mut run, Outcome::Cancelled)?;
        }
        Ok(Answer::Cancelled(has_begun(run.state)))
    }

    /// Leaves a tombstone: an acquire of this attempt that still arrives must not be granted.
    fn put_tombstone(&mut self, attempt: &Attempt, latest_ms: i64) -> Result<()> {
        let spec = Spec {
            job: JobName::parse("-").map_err(|e| crate::store::StoreError::damaged(e.to_string()))?,
            claims: Claims::default(),
            lease_ms: 0,
            if_written: IfWritten::default(),
            on_fail: OnFail::default(),
            parent: None,
            record_life_ms: None,
            max_runtime_ms: None,
            keep_lapsed_ms: KEEP_LAPSED_MS,
        };
        let holder = Holder { client: ClientId(0), liveness: None, origin: Arc::new(Origin::default()) };
        let latest_ms = latest_ms.min(self.now.boot_ms + LATEST_AHEAD_MS);
        let request = Acquire {
            attempt: attempt.clone(),
            spec: Arc::new(spec),
            holder,
            patience: Patience::Try,
            latest_ms,
        };
        let mut run = self.arrive(&request)?;
        run.kind = RowKind::Tombstone;
        run.state = State::Ended(Outcome::Cancelled);
        run.forget_ms = Some(latest_ms + 1);
        self.note_due(&run);
        self.tables.insert_run(&run)
    }
}

fn has_begun(state: State) -> Cancelled {
    match state {
        State::Running | State::Ended(Outcome::Committed | Outcome::Failed | Outcome::Lost(_)) => {
            Cancelled::TooLate(state)
        }
        _ => Cancelled::Withdrawn,
    }
}
