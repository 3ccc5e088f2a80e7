//! Checks that records are written by commits and by hand, all or none, with growing versions: S2 and
//! S3.

use flowlock::step::{Answer, Finished, Refreshed, Standing, Step};
use flowlock::{Name, OnFail, Outcome, Record, RecordState, Run, State, Token};

use super::Moment;
use crate::history::book::{Book, GrantMade};
use crate::history::{Verdict, promise};
use crate::oracle::{Scene, clash, holds, on_same_name};

/// `grants_so_far` were made before this step; later ones are what a commit hands on.
pub(super) fn judge(book: &mut Book, grants_so_far: usize, moment: &Moment<'_>) -> Verdict {
    let expected = expected(&book.grants[..grants_so_far], moment)?;
    let old = |name: &Name| moment.before.records.get(name);
    let written: Vec<Record> = book
        .snapshot
        .records
        .values()
        .filter(|record| old(&record.name).is_none_or(|old| old.version != record.version))
        .cloned()
        .collect();
    let mut names: Vec<Name> = written.iter().map(|record| record.name.clone()).collect();
    names.sort();
    let mut wanted = expected.clone().map(|(names, _)| names).unwrap_or_default();
    wanted.sort();
    promise!(names == wanted, "S3: {names:?} were written, not {wanted:?}");
    for record in &written {
        let last = book.versions.insert(record.name.clone(), record.version).unwrap_or_default();
        promise!(
            record.version > last,
            "the version of {} went from {last} to {}",
            record.name,
            record.version
        );
        promise!(record.state == RecordState::Live, "written, but not live: {record:?}");
        let version = expected.as_ref().and_then(|(_, version)| *version);
        promise!(
            version.is_none_or(|version| version == record.version),
            "S3: not the writer's version: {record:?}"
        );
        book.last_token = book.last_token.max(record.version);
    }
    records_leave_for_a_reason(book, moment)?;
    // During a pause a late holder harms no run, because none could be granted its names.
    if moment.was_taken_over { Ok(()) } else { late_success_harms_nobody(book, moment) }
}

/// A live record stays live until it expires, is removed, or a run begins that promised to replace it.
fn records_leave_for_a_reason(book: &Book, moment: &Moment<'_>) -> Verdict {
    let before = Scene { snapshot: moment.before, ..book.scene(moment.now) };
    let after = book.scene(moment.now);
    for (name, record) in &moment.before.records {
        let is_removed = matches!(moment.step, Step::Remove { names, .. } if names.contains(name));
        let spoils = |run: &Run| {
            run.spec.on_fail == OnFail::Incomplete
                && run.spec.claims.outputs().any(|output| output.name == *name)
        };
        let is_spoiled = matches!(moment.step, Step::Acquire(_) | Step::Accept { .. })
            && after.holders().any(|run| run.state == State::Running && spoils(run));
        let is_live = !before.is_live(name) || after.is_live(name);
        promise!(is_live || is_removed || is_spoiled, "the record is gone for no reason: {record:?}");
    }
    Ok(())
}

/// Names that must be written, and their version if it is known.
type Expected = (Vec<Name>, Option<Token>);

/// Returns which names this step must write, and the version if it is known.
fn expected(grants: &[GrantMade], moment: &Moment<'_>) -> Result<Option<Expected>, String> {
    match (moment.step, moment.answer) {
        (Step::Create { names, .. }, Answer::Done) => Ok(Some((names.clone(), None))),
        (Step::Commit { who, .. }, Answer::Finished(Finished::Ended { outcome: Outcome::Committed, .. })) => {
            let Some(run) = moment.before.runs.iter().find(|run| run.attempt.id == who.run) else {
                return Ok(None); // committed before: the answer is only repeated
            };
            let ours = who.nonce.is_none_or(|nonce| nonce == run.attempt.nonce);
            if !ours {
                return Ok(None);
            }
            promise!(holds(run) && !run.revoked, "S2: a commit without owning: {run:?}");
            let later = grants.iter().find(|grant| {
                Some(grant.token) > run.token
                    && grant.ticket != run.ticket
                    && grant.claims.iter().any(|c| on_same_name(run, c).any(|held| clash(c.mode, held.mode)))
            });
            promise!(later.is_none(), "S2: a commit after a conflicting grant: {run:?}, {later:?}");
            let outputs = run.spec.claims.outputs().map(|claim| claim.name.clone()).collect();
            Ok(Some((outputs, run.token)))
        }
        _ => Ok(None),
    }
}

/// Checks that a late refresh, commit or accept succeeds only if no eligible run waits for the names.
fn late_success_harms_nobody(book: &Book, moment: &Moment<'_>) -> Verdict {
    let before = Scene { snapshot: moment.before, ..book.scene(moment.now) };
    let late: Vec<_> = match (moment.step, moment.answer) {
        (Step::Refresh(who), Answer::Refreshed(answers)) => {
            let late = |answer: &&Refreshed| matches!(answer, Refreshed::Held { late: true, .. });
            who.iter().zip(answers).filter(|(_, answer)| late(answer)).map(|(who, _)| &who.run).collect()
        }
        (
            Step::Commit { who, .. },
            Answer::Finished(Finished::Ended { outcome: Outcome::Committed, late: true }),
        ) => vec![&who.run],
        (Step::Accept { attempt, .. }, Answer::Standing(Standing::Running(_))) => {
            let late =
                |run: &&Run| run.attempt == *attempt && run.state == State::Granted && before.is_lapsed(run);
            before.holders().filter(late).map(|run| &run.attempt.id).collect()
        }
        _ => return Ok(()),
    };
    for run in before.holders().filter(|run| late.contains(&&run.attempt.id)) {
        let wants_the_same = |waiting: &&&Run| {
            let claims = &waiting.spec.claims;
            claims.iter().any(|claim| on_same_name(run, claim).any(|held| clash(claim.mode, held.mode)))
        };
        // A run that is found dead on the way to its grant is not harmed.
        let eligible = before.eligible();
        let harmed = eligible.iter().filter(|waiting| !moment.is_dead(waiting)).find(wants_the_same);
        promise!(harmed.is_none(), "a late success of {run:?} over the eligible {harmed:?}");
    }
    Ok(())
}
