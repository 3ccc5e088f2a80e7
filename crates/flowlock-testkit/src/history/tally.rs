//! Counts what happened in the histories: histories without any lapse, hand-over or loss prove nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flowlock::step::{Answer, Finished, Refreshed, Standing, Step};
use flowlock::{LostBy, Outcome, State};

use super::check::Moment;
use crate::oracle::{Scene, holds, waits};

/// How often each thing happened, over all histories of this process.
static TALLY: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// What the smallest sensible set of histories must have seen.
const EXPECTED: [&str; 12] = [
    "granted at once",
    "handed over",
    "lapsed",
    "late success",
    "taken",
    "passed on",
    "refused: busy",
    "refused: output_exists",
    "refused: deadlock",
    "timed out",
    "fell silent",
    "met left-over work",
];

pub(super) fn count(moment: &Moment<'_>, scene: &Scene<'_>) {
    let after = scene.snapshot;
    let before = Scene { snapshot: moment.before, ..*scene };
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut add = |what| *tally.entry(what).or_default() += 1;
    add("steps");
    let unseen = before.truly_queued().iter().any(|run| run.state == State::AwaitingInput);
    if unseen && matches!(moment.step, Step::Acquire(_)) {
        add("newcomer met left-over work");
    }
    for new in &after.runs {
        let old = moment.earlier(new.ticket);
        match (old.map(|old| old.state), new.state) {
            (None, State::Running) => add("granted at once"),
            (Some(State::AwaitingInput | State::Queued), State::Granted) => add("handed over"),
            (Some(State::Granted), State::Queued) => add("passed on"),
            _ => {}
        }
        if old.is_some_and(|old| holds(old) && !old.lapsed) && new.lapsed {
            add("lapsed");
        }
        if old.is_some_and(|old| waits(old) && old.present) && waits(new) && !new.present {
            add("fell silent");
        }
    }
    answered(moment, &mut add);
}

fn answered(moment: &Moment<'_>, add: &mut impl FnMut(&'static str)) {
    match moment.answer {
        Answer::Refused(blocked) if blocked.by.is_empty() => add("met left-over work"),
        Answer::Standing(Standing::AskAgain) | Answer::Finished(Finished::AskAgain) => add("ask again"),
        Answer::Standing(Standing::Ended { outcome, .. }) => outcome_was(*outcome, add),
        Answer::Finished(Finished::Ended { outcome, late }) => {
            outcome_was(*outcome, add);
            if *late && matches!(moment.step, Step::Commit { .. }) {
                add("late success");
            }
        }
        Answer::Refreshed(answers) => {
            for answer in answers {
                match answer {
                    Refreshed::Held { late: true, .. } => add("late success"),
                    Refreshed::AskAgain => add("ask again"),
                    Refreshed::MaxRuntime { .. } => add("reached its longest run time"),
                    Refreshed::Over(outcome) => outcome_was(*outcome, add),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn outcome_was(outcome: Outcome, add: &mut impl FnMut(&'static str)) {
    match outcome {
        Outcome::Committed => add("committed"),
        Outcome::Lost(LostBy::Taken) => add("taken"),
        Outcome::Lost(LostBy::Died) => add("died"),
        Outcome::Lost(LostBy::Broken) => add("broken"),
        Outcome::RefusedOutputExists => add("refused: output_exists"),
        Outcome::RefusedDeadlock => add("refused: deadlock"),
        Outcome::RefusedBusy => add("refused: busy"),
        Outcome::TimedOut => add("timed out"),
        _ => {}
    }
}

/// Panics if the histories never reached something that they are meant to test.
pub(super) fn must_have_seen_everything() {
    let tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{tally:#?}");
    let missing: Vec<_> = EXPECTED.iter().filter(|what| !tally.contains_key(*what)).collect();
    assert!(missing.is_empty(), "the histories never saw {missing:?}: {tally:#?}");
}
