//! What must be true of every single step, judged by the states before and after it.

mod endings;
mod grants;
mod outcomes;
mod records;

use flowlock::step::{Answer, Finished, Holders, Standing, Step};
use flowlock::{Bounds, LivenessId, Name, Now, Run, Space, Ticket};

use super::book::Book;
use super::{Verdict, promise};
use crate::oracle::{Scene, Snapshot, clash, fits, holds, on_same_name};

/// One step, as seen from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'m> {
    pub(super) before: &'m Snapshot,
    pub(super) step: &'m Step,
    pub(super) answer: &'m Answer,
    pub(super) now: Now,
    /// Whether nothing was left over or due before it.
    pub(super) settled: bool,
    /// Whether another server took over, and not everything has continued since.
    pub(super) was_taken_over: bool,
    /// How much a step may do.
    pub(super) bounds: Bounds,
    /// Processes that died.
    pub(super) dead: &'m [LivenessId],
}

impl Moment<'_> {
    pub(super) fn earlier(&self, ticket: Ticket) -> Option<&Run> {
        self.before.runs.iter().find(|run| run.ticket == ticket)
    }

    pub(super) fn is_dead(&self, run: &Run) -> bool {
        run.holder.liveness.is_some_and(|liveness| self.dead.contains(&liveness))
    }

    /// Returns whether the step itself is an order to end this run.
    pub(super) fn ends(&self, run: &Run) -> bool {
        let id = &run.attempt.id;
        let is_named = match self.step {
            Step::Commit { who, .. } | Step::Fail(who) => who.run == *id,
            Step::Cancel { attempt, .. } | Step::GiveBack(attempt) => *attempt == run.attempt,
            Step::Accept { attempt, .. } => *attempt == run.attempt && run.revoked,
            Step::Unlock { run, .. } => run == id,
            Step::Create { names, holders, .. } => {
                return self.clears(run, *holders, |name| names.contains(name));
            }
            Step::Remove { names, holders, .. } => {
                let forced = *holders == Holders::Break;
                let removed = |name: &Name| forced || self.before.records.contains_key(name);
                return self.clears(run, *holders, |name| names.contains(name) && removed(name));
            }
            _ => false,
        };
        is_named && self.took_effect()
    }

    /// Returns whether the answer says that the step did something: one that did nothing ends no run.
    fn took_effect(&self) -> bool {
        !matches!(
            self.answer,
            Answer::NotFound
                | Answer::Invalid(_)
                | Answer::Standing(Standing::AskAgain)
                | Answer::Finished(Finished::NotFound | Finished::NotAccepted | Finished::AskAgain)
        )
    }

    /// Returns whether records made or removed by hand need the run's names. Those of a lapsed run are
    /// needed only if anything is made or removed, or will be when the same step is repeated, because a
    /// step ends only so many.
    fn clears(&self, run: &Run, holders: Holders, needs: impl Fn(&Name) -> bool) -> bool {
        let is_late = run.lapsed || run.deadline_ms.is_some_and(|end| end <= self.now.boot_ms);
        let goes_on = match self.answer {
            Answer::Done => true,
            Answer::Refused(blocked) => blocked.by.is_empty() && blocked.retry_after_ms == Some(0),
            _ => false,
        };
        let touches = run.spec.claims.iter().any(|claim| claim.space == Space::Data && needs(&claim.name));
        touches && (holders == Holders::Break || is_late && goes_on)
    }
}

/// Judges one step. The book has the state after it.
pub(super) fn step(book: &mut Book, moment: &Moment<'_>) -> Verdict {
    if std::mem::take(&mut book.rebooted) {
        promise!(book.snapshot.runs.is_empty(), "a reboot left runs: {:?}", book.snapshot.runs);
        outcomes::remember(book, moment);
        return Ok(());
    }
    exclusion(&book.scene(moment.now))?;
    let grants_so_far = book.grants.len();
    grants::judge(book, moment)?;
    endings::judge(book, moment)?;
    records::judge(book, grants_so_far, moment)?;
    outcomes::judge(book, moment)?;
    answer_tells_the_truth(book, moment)
}

/// S1, and slots within their capacity. Lapsed holders count: a conflicting grant would have ended them.
fn exclusion(scene: &Scene<'_>) -> Verdict {
    let holders: Vec<&Run> = scene.holders().collect();
    for (i, one) in holders.iter().enumerate() {
        for claim in &one.spec.claims {
            let others = holders.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| *other);
            let beside: Vec<_> = others.flat_map(|other| on_same_name(other, claim)).collect();
            let conflict = beside.iter().find(|other| clash(claim.mode, other.mode));
            promise!(conflict.is_none(), "S1: {claim:?} of {one:?} is held beside {conflict:?}");
            promise!(fits(claim, &beside), "slots exceed their capacity: {claim:?} beside {beside:?}");
        }
    }
    Ok(())
}

/// Checks that the state in the answer to an acquire or accept is the run's state.
fn answer_tells_the_truth(book: &Book, moment: &Moment<'_>) -> Verdict {
    let attempt = match moment.step {
        Step::Acquire(request) => &request.attempt,
        Step::Accept { attempt, .. } => attempt,
        _ => return Ok(()),
    };
    let run = book.snapshot.runs.iter().find(|run| run.attempt == *attempt);
    let agrees = match (moment.answer, run) {
        (Answer::Standing(Standing::Waiting(waiting)), Some(run)) => {
            waiting.state == run.state && waiting.present == run.present
        }
        (Answer::Standing(Standing::Granted { token }), Some(run)) => {
            run.state == flowlock::State::Granted && run.token == Some(*token)
        }
        (Answer::Standing(Standing::Running(running)), Some(run)) => {
            run.state == flowlock::State::Running && run.token == Some(running.token)
        }
        (Answer::Standing(Standing::AskAgain), Some(run)) => holds(run),
        (Answer::Standing(Standing::Ended { .. }) | Answer::NotFound, None) | (Answer::Invalid(_), _) => true,
        _ => false,
    };
    // A run may be handed its claims, or end, after the answer was made: by the drain at the end of a
    // step.
    let moved_on = run.is_none_or(|run| matches!(run.state, flowlock::State::Granted))
        && matches!(moment.answer, Answer::Standing(Standing::Waiting(_)));
    promise!(agrees || moved_on, "the answer {:?} is not where the run stands: {run:?}", moment.answer);
    Ok(())
}
