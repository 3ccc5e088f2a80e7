//! Checks that every run that ended, and every grant that was taken back, had a reason.

use flowlock::step::{Answer, Standing, Step};
use flowlock::{Claim, Claims, Mode, Outcome, Run, State};

use super::{Moment, holds};
use crate::history::book::Book;
use crate::history::{Verdict, promise};
use crate::oracle::{Asker, Scene, clash, fits, on_name_of, waits};

pub(super) fn judge(book: &Book, moment: &Moment<'_>) -> Verdict {
    let before = Scene { snapshot: moment.before, ..book.scene(moment.now) };
    let after = book.scene(moment.now);
    for old in &moment.before.runs {
        let new = after.run(old.ticket);
        if let Some(new) = new.filter(|new| waits(old) && !old.present && new.present) {
            promise!(is_spoken_for(old, moment), "a silent run is back without a word of its own: {new:?}");
        }
        if moment.ends(old) || moment.is_dead(old) {
            continue;
        }
        match new {
            Some(new) if holds(old) && !holds(new) => {
                promise!(old.state == State::Granted, "a running run waits again: {old:?}");
                promise!(
                    was_needed(old, moment, &before, &after),
                    "an unclaimed grant was taken back for nobody: {old:?}"
                );
            }
            Some(new) => promise!(
                old.state != State::Running || new.state == State::Running,
                "a running run is {:?} again",
                new.state
            ),
            None if holds(old) => {
                let revoked_to_the_end = old.revoked && before.is_lapsed(old);
                promise!(
                    revoked_to_the_end
                        || was_unneeded(old, &before)
                        || was_needed(old, moment, &before, &after),
                    "a holder was ended for nobody: {old:?}"
                );
            }
            None => {
                let may_not = before.output_exists(&old.spec.claims, old.spec.if_written)
                    || after.output_exists(&old.spec.claims, old.spec.if_written);
                let abandoned = before.is_abandoned(old);
                promise!(
                    before.is_over(old) || abandoned || may_not,
                    "a waiting run was ended too early: {old:?}"
                );
            }
        }
    }
    Ok(())
}

/// Returns whether the step is the run's own acquire or accept: nothing else brings a silent run back.
fn is_spoken_for(run: &Run, moment: &Moment<'_>) -> bool {
    match moment.step {
        Step::Acquire(request) => request.attempt == run.attempt,
        Step::Accept { attempt, .. } => *attempt == run.attempt,
        _ => false,
    }
}

/// Returns whether the holder was late for so long that it ends by itself.
fn was_unneeded(old: &Run, before: &Scene<'_>) -> bool {
    let kept_for_ms = old.deadline_ms.map_or(0, |deadline| before.now.boot_ms - deadline);
    let long_enough = kept_for_ms >= old.spec.keep_lapsed_ms as i64;
    before.is_lapsed(old) && long_enough && old.given_up_ms.is_some_and(|end| end <= before.now.boot_ms)
}

/// Returns whether the holder's deadline had passed and a run that needs its names was granted, or will
/// be by a later step, because a step ends only so many.
fn was_needed(old: &Run, moment: &Moment<'_>, before: &Scene<'_>, after: &Scene<'_>) -> bool {
    let is_fresh = |run: &&Run| before.run(run.ticket).is_none_or(|earlier| earlier.token != run.token);
    // A run that was granted before the step's own order may have been ended by that order.
    let is_ended = |run: &&Run| moment.ends(run) || moment.is_dead(run) || run.revoked;
    let came_and_went = moment.before.runs.iter().filter(|run| waits(run) && run.present).filter(is_ended);
    // The end of its wait, or its silence, may not have been handled by a sweep yet.
    let is_next =
        |run: &&Run| waits(run) && run.present && after.blocked_by_holders(&Asker::of(run)).is_none();
    let to_be_granted: Vec<&Claims> = came_and_went
        .chain(after.snapshot.runs.iter().filter(is_next))
        .map(|run| &run.spec.claims)
        .chain(refused_for_now(moment))
        .collect();
    let granted = after.holders().filter(is_fresh).map(|run| &run.spec.claims);
    let takers: Vec<&Claims> = granted.chain(to_be_granted.iter().copied()).collect();
    // Lapsed units are taken in the order of their tickets, so later ones still existed.
    let is_gone = |run: &Run| after.run(run.ticket).is_none_or(|now| !holds(now));
    let were_there =
        before.holders().filter(|run| is_gone(run) && (is_ended(run) || run.ticket > old.ticket));
    let held = after.holders().chain(were_there).map(|run| &run.spec.claims);
    let all: Vec<&Claims> = held.chain(to_be_granted.iter().copied()).collect();
    let was_in_the_way = |held: &Claim| {
        let mut taken = takers.iter().flat_map(|claims| on_name_of(claims, held));
        match held.mode {
            Mode::Units { .. } => {
                let units: Vec<_> = all.iter().flat_map(|claims| on_name_of(claims, held)).collect();
                taken.next().is_some() && !fits(held, &units)
            }
            _ => taken.any(|claim| clash(claim.mode, held.mode)),
        }
    };
    before.is_lapsed(old) && old.spec.claims.iter().any(was_in_the_way)
}

/// Returns the claims of a try that is refused only until the last lapsed holder in its way has ended.
fn refused_for_now<'m>(moment: &Moment<'m>) -> Option<&'m Claims> {
    match (moment.step, moment.answer) {
        (
            Step::Acquire(request),
            Answer::Standing(Standing::Ended { outcome: Outcome::RefusedBusy, blocked: Some(blocked) }),
        ) if blocked.retry_after_ms == Some(0) => Some(&request.spec.claims),
        _ => None,
    }
}
