//! Checks that outcomes are final: S8, and tombstones.

use flowlock::step::{Answer, Cancelled, Finished, Refreshed, Standing, Step, Who};
use flowlock::{Attempt, Outcome, State};

use super::Moment;
use crate::history::book::Book;
use crate::history::{Verdict, promise};

pub(super) fn judge(book: &mut Book, moment: &Moment<'_>) -> Verdict {
    for (attempt, said) in said(moment) {
        let Some(at) = book.find(&attempt) else { continue };
        let Some(ended) = book.known[at].ended else { continue };
        let forgotten = matches!(said, Said::Unknown);
        let same = matches!(said, Said::Ended(outcome) if outcome == ended);
        // A refused try is remembered until its request can no longer arrive; then it may be made again.
        let again = ended == Outcome::RefusedBusy;
        promise!(
            forgotten || same || again,
            "S8: {attempt:?} ended {ended:?} and is now said to be {said:?}"
        );
    }
    remember(book, moment);
    Ok(())
}

/// Notes the outcomes in an answer.
pub(super) fn remember(book: &mut Book, moment: &Moment<'_>) {
    for (attempt, said) in said(moment) {
        if let (Said::Ended(outcome), Some(at)) = (said, book.find(&attempt)) {
            book.known[at].ended = Some(outcome);
        } else if let (Said::Alive, Some(at)) = (said, book.find(&attempt)) {
            book.known[at].ended = None;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Ended(Outcome),
    Alive,
    Unknown,
}

/// Returns what the answer says about which attempts.
fn said(moment: &Moment<'_>) -> Vec<(Attempt, Said)> {
    let attempt = |who: &Who| who.nonce.map(|nonce| Attempt { id: who.run.clone(), nonce });
    match (moment.step, moment.answer) {
        (Step::Acquire(request), answer) => vec![(request.attempt.clone(), standing(answer))],
        (Step::Accept { attempt, .. }, answer) => vec![(attempt.clone(), standing(answer))],
        (Step::Refresh(who), Answer::Refreshed(answers)) => who
            .iter()
            .zip(answers)
            .filter_map(|(who, answer)| Some((attempt(who)?, refreshed(*answer))))
            .collect(),
        (Step::Commit { who, .. } | Step::Fail(who), Answer::Finished(finished)) => {
            attempt(who).map(|attempt| (attempt, self::finished(*finished))).into_iter().collect()
        }
        (
            Step::Cancel { attempt, .. } | Step::GiveBack(attempt),
            Answer::Cancelled(Cancelled::TooLate(State::Ended(outcome))),
        ) => vec![(attempt.clone(), Said::Ended(*outcome))],
        (Step::GiveBack(attempt), Answer::Cancelled(Cancelled::Withdrawn)) => {
            vec![(attempt.clone(), Said::Ended(Outcome::Cancelled))]
        }
        _ => Vec::new(),
    }
}

fn standing(answer: &Answer) -> Said {
    match answer {
        Answer::Standing(Standing::Ended { outcome, .. }) => Said::Ended(*outcome),
        Answer::Standing(_) => Said::Alive,
        _ => Said::Unknown,
    }
}

fn refreshed(answer: Refreshed) -> Said {
    match answer {
        Refreshed::Over(outcome) => Said::Ended(outcome),
        Refreshed::NotFound => Said::Unknown,
        _ => Said::Alive,
    }
}

fn finished(answer: Finished) -> Said {
    match answer {
        Finished::Ended { outcome, .. } => Said::Ended(outcome),
        Finished::NotFound => Said::Unknown,
        _ => Said::Alive,
    }
}
