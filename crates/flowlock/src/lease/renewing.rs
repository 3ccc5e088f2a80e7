//! Asks the store about grants, and takes in its answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Lease, now_ms};
use crate::error::Lost;
use crate::handle::StoreHandle;
use crate::run::{LostBy, Outcome, Run, State};
use crate::step::{Answer, MOST_REFRESHED, Refreshed, Step, Who};
use crate::store::{Content, Limits, StoreError, View};
use crate::sync::lock;

/// Asks the store about grants: those that the keeper renews are renewed in one call, the others are
/// only looked at.
pub(crate) fn ask(handle: &StoreHandle, grants: &[Arc<Lease>]) -> Result<(), StoreError> {
    let (renewed, looked_at): (Vec<_>, Vec<_>) = grants.iter().cloned().partition(|held| held.is_renewed());
    let renewed = if renewed.is_empty() { Ok(()) } else { refresh(handle, &renewed) };
    looked_at.iter().map(|held| look_at(handle, held)).fold(renewed, Result::and)
}

/// Asks whether a grant still exists. Does not change its lease.
fn look_at(handle: &StoreHandle, held: &Lease) -> Result<(), StoreError> {
    let view = View::Attempt(held.attempt.clone());
    let page = handle.store.view(&handle.namespace, &view).inspect_err(|error| {
        held.note_failure(error);
        // No renewal will ask for it; the next round does.
        held.set_news();
    })?;
    held.take_in_run(match page.content {
        Content::Run(seen) => seen.map(|seen| seen.run),
        _ => None,
    });
    Ok(())
}

/// Refreshes one grant; returns the store's answer.
pub(crate) fn refresh_one(
    handle: &StoreHandle,
    held: &Lease,
    limits: &Limits,
) -> Result<Refreshed, StoreError> {
    let sent_ms = now_ms();
    let step = Step::Refresh(vec![Who::from(&held.attempt)]);
    let answer = handle.store.step_within(&handle.namespace, &step, limits);
    let answer = match answer.inspect_err(|error| held.note_failure(error))? {
        Answer::Refreshed(answers) => answers.first().copied(),
        _ => None,
    };
    let answer =
        answer.ok_or_else(|| StoreError::damaged("the store answered a renewal with something else"))?;
    held.take_in_refresh(answer, sent_ms);
    Ok(answer)
}

/// Refreshes grants, as many in one step as a step may look at.
fn refresh(handle: &StoreHandle, grants: &[Arc<Lease>]) -> Result<(), StoreError> {
    let mut left = grants;
    while !left.is_empty() {
        let (part, behind) = left.split_at(left.len().min(MOST_REFRESHED));
        let sent_ms = now_ms();
        let runs = part.iter().map(|held| Who::from(&held.attempt)).collect();
        let answer = handle.store.step(&handle.namespace, &Step::Refresh(runs)).inspect_err(|error| {
            // Do not ask about the rest: an unreachable store would take its full time for each part.
            for held in left {
                held.note_failure(error);
            }
        })?;
        if let Answer::Refreshed(answers) = answer {
            for (held, answer) in part.iter().zip(answers) {
                held.take_in_refresh(answer, sent_ms);
            }
        }
        left = behind;
    }
    Ok(())
}

impl Lease {
    /// Takes in the state of the run in the store, which was not asked to renew it.
    fn take_in_run(&self, run: Option<Run>) {
        self.note_answer();
        match run {
            None => self.lose(self.if_not_found()),
            Some(run) if run.revoked => self.lose(Lost::By(LostBy::Broken)),
            Some(run) => match run.state {
                State::Running => {}
                State::Ended(outcome) => self.lose(how_lost(outcome)),
                _ => self.lose(Lost::WithTheStore),
            },
        }
    }

    fn note_answer(&self) {
        self.unanswered.store(false, Ordering::Release);
        *lock(&self.trouble) = None;
    }

    /// Takes in the store's answer to a refresh that was sent at `sent_ms`.
    pub(super) fn take_in_refresh(&self, answer: Refreshed, sent_ms: i64) {
        self.note_answer();
        match answer {
            Refreshed::Held { lease_left_ms, late } => {
                self.renewed_late.store(late, Ordering::Release);
                // Answers may overtake each other; none takes back what another one gave.
                self.deadline_ms.fetch_max(sent_ms.saturating_add(lease_left_ms), Ordering::AcqRel);
                self.last_refresh_ms.fetch_max(sent_ms, Ordering::AcqRel);
                self.next_refresh_ms.store(sent_ms + self.length_ms / 3, Ordering::Release);
            }
            Refreshed::MaxRuntime { .. } => {
                self.capped.store(true, Ordering::Release);
            }
            Refreshed::AskAgain => self.next_refresh_ms.store(sent_ms, Ordering::Release),
            Refreshed::Over(outcome) => self.lose(how_lost(outcome)),
            // A run that held its names waits again: only an older store says so.
            Refreshed::NotRunning => self.lose(Lost::WithTheStore),
            Refreshed::NotFound => self.lose(self.if_not_found()),
        }
    }
}

/// Returns what the end of a run means to the holder of its claims.
fn how_lost(outcome: Outcome) -> Lost {
    match outcome {
        Outcome::Lost(by) => Lost::By(by),
        outcome if !outcome.follows_a_grant() => Lost::WithTheStore,
        _ => Lost::Ended,
    }
}
