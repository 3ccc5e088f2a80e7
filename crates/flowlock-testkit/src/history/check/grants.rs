//! Checks every new grant: S4 to S6, the time to accept it, and what an acquire decides.

use flowlock::step::{Answer, Patience, Standing, Step};
use flowlock::{Claims, Mode, Outcome, Parent, Run, State, Ticket};

use super::{Moment, holds};
use crate::history::book::{Book, GrantMade};
use crate::history::request::ends;
use crate::history::{Verdict, promise};
use crate::oracle::{Asker, SILENCE_MS, Scene, clash, fits, on_same_name};

pub(super) fn judge(book: &mut Book, moment: &Moment<'_>) -> Verdict {
    let fresh = new_grants(book, moment);
    for run in &fresh {
        let token = run.token.unwrap_or_default();
        promise!(token > book.last_token, "S4: token {token} after {}", book.last_token);
        book.last_token = token;
        let before = Scene { snapshot: moment.before, ..book.scene(moment.now) };
        let after = book.scene(moment.now);
        inputs_were_there(run, &before, &after)?;
        nobody_was_passed(run, &fresh, &before, &after)?;
        in_time(run, moment, &before, &after)?;
        book.grants.push(GrantMade { token, ticket: run.ticket, claims: run.spec.claims.clone() });
    }
    if let (true, Step::Acquire(request)) = (moment.settled, moment.step) {
        let before = Scene { snapshot: moment.before, ..book.scene(moment.now) };
        let is_new = moment.before.runs.iter().all(|run| run.attempt.id != request.attempt.id)
            && book.find(&request.attempt).is_none_or(|at| book.known[at].ended.is_none());
        if is_new && moment.before.runs.iter().all(|run| !moment.is_dead(run)) {
            decision_is_right(&before, request, moment)?;
        }
    }
    Ok(())
}

/// Returns the grants that were made in this step, in the order of their tokens.
fn new_grants(book: &Book, moment: &Moment<'_>) -> Vec<Run> {
    let is_new = |run: &&Run| {
        holds(run) && moment.earlier(run.ticket).is_none_or(|old| old.token != run.token || !holds(old))
    };
    let mut fresh: Vec<Run> = book.snapshot.runs.iter().filter(is_new).cloned().collect();
    fresh.sort_by_key(|run| run.token);
    fresh
}

/// S5. A record may appear or disappear within the step, but one version existed, and it is the one
/// noted.
fn inputs_were_there(run: &Run, before: &Scene<'_>, after: &Scene<'_>) -> Verdict {
    let inputs = run.spec.claims.iter().filter(|claim| claim.must_exist);
    for (at, input) in inputs.enumerate() {
        let live = before.is_live(&input.name) || after.is_live(&input.name);
        promise!(live, "S5: granted without its input {}: {run:?}", input.name);
        let noted = run.input_versions.get(at).copied();
        let known = [before, after].map(|scene| scene.snapshot.records.get(&input.name).map(|r| r.version));
        promise!(
            noted.is_some() && known.contains(&noted),
            "S5: input {} noted as {noted:?}: {run:?}",
            input.name
        );
    }
    let exists = |scene: &Scene<'_>| scene.output_exists(&run.spec.claims, run.spec.if_written);
    promise!(!(exists(before) && exists(after)), "granted over a record it may not overwrite: {run:?}");
    Ok(())
}

/// S6: no run that was queued before the step, and still is after it, is ahead and in the way.
fn nobody_was_passed(run: &Run, fresh: &[Run], before: &Scene<'_>, after: &Scene<'_>) -> Verdict {
    let is_fresh = |ticket: Ticket| fresh.iter().any(|other| other.ticket == ticket);
    let still = after.truly_queued();
    let ahead: Vec<&Run> = before
        .truly_queued()
        .into_iter()
        .filter(|queued| {
            queued.ticket < run.ticket && still.iter().any(|other| other.ticket == queued.ticket)
        })
        .collect();
    for claim in &run.spec.claims {
        let of_those_ahead: Vec<_> = ahead.iter().flat_map(|other| on_same_name(other, claim)).collect();
        if let Mode::Units { .. } = claim.mode {
            let stood = before.holders().filter(|other| !before.is_lapsed(other));
            let all_along =
                stood.filter(|other| after.run(other.ticket).is_some_and(|now| holds(now) && !now.lapsed));
            let earlier = fresh.iter().filter(|other| other.token < run.token && holds(other));
            let held = all_along.chain(earlier).filter(|other| other.ticket != run.ticket);
            let all: Vec<_> = held
                .flat_map(|other| on_same_name(other, claim))
                .chain(of_those_ahead.iter().copied())
                .collect();
            promise!(
                of_those_ahead.is_empty() || fits(claim, &all),
                "S6: {run:?} took units that {of_those_ahead:?} queued for"
            );
        } else if !before.is_exempt(&run.ancestors, claim) && !after.is_exempt(&run.ancestors, claim) {
            let passed = of_those_ahead.iter().find(|other| clash(claim.mode, other.mode));
            promise!(passed.is_none(), "S6: {run:?} passed {passed:?}");
        }
    }
    promise!(is_fresh(run.ticket), "a grant is judged among its own");
    Ok(())
}

/// Checks that a grant comes before the wait ends, and must be accepted within its time.
fn in_time(run: &Run, moment: &Moment<'_>, before: &Scene<'_>, after: &Scene<'_>) -> Verdict {
    let patience = after.patience(run);
    let now = after.now.boot_ms;
    if run.state == State::Granted {
        let was_over = before.run(run.ticket).is_some_and(|old| before.is_over(old));
        promise!(!was_over, "granted after its wait was over: {run:?}");
        // In this very step another process may have taken the run over, or its own return renewed its
        // place.
        let owners = [Some(run), before.run(run.ticket)].into_iter().flatten().map(|run| run.holder.client);
        let claimable =
            owners.map(|owner| after.knowledge.heard.get(&owner).copied().unwrap_or(now) + SILENCE_MS);
        let renewed = match moment.step {
            Step::Acquire(request) if request.attempt == run.attempt => ends(request.patience, now).place_end,
            _ => None,
        };
        let limits: Vec<i64> = match patience.place_end {
            Some(end) => [Some(end.max(now)), renewed].into_iter().flatten().collect(),
            None => claimable.collect(),
        };
        let in_time = run.deadline_ms.is_some_and(|deadline| limits.contains(&deadline));
        promise!(in_time, "to be claimed until one of {limits:?}, not so: {run:?}");
    } else {
        let longest = run.spec.max_runtime_ms.unwrap_or(u64::MAX).min(run.spec.lease_ms);
        let end = now + longest as i64;
        promise!(run.deadline_ms == Some(end), "its lease ends at {end}, not so: {run:?}");
    }
    Ok(())
}

/// Checks that, with nothing left over, an acquire is granted exactly if nothing is in its way; else
/// that the answer is the one the rules give.
fn decision_is_right(scene: &Scene<'_>, request: &flowlock::step::Acquire, moment: &Moment<'_>) -> Verdict {
    let claims = &request.spec.claims;
    let chain = chain(scene, request.spec.parent.as_ref());
    let ancestors = chain[chain.len().saturating_sub(moment.bounds.ancestors)..].to_vec();
    let asker = Asker { ticket: Ticket(u64::MAX), claims, ancestors: &ancestors };
    let missing = !scene.inputs_are_live(claims);
    let taken = scene.blocked_by_holders(&asker).is_some()
        || scene.blocked_by_queue(&asker, &scene.truly_queued()).is_some();
    let waits = if missing { State::AwaitingInput } else { State::Queued };
    let expected = if scene.output_exists(claims, request.spec.if_written) {
        Err(Outcome::RefusedOutputExists)
    } else if !missing && !taken {
        Ok(State::Running)
    } else if request.patience == Patience::Try {
        Err(Outcome::RefusedBusy)
    } else if scene.is_deadlock(&asker) {
        Err(Outcome::RefusedDeadlock)
    } else {
        Ok(waits)
    };
    let got = match moment.answer {
        Answer::Standing(Standing::Waiting(waiting)) => Ok(waiting.state),
        Answer::Standing(Standing::Running(_)) => Ok(State::Running),
        Answer::Standing(Standing::Ended { outcome, .. }) => Err(*outcome),
        other => return Err(format!("a newcomer is answered {other:?}")),
    };
    // In a long queue not all runs are examined: a wait for an ancestor may then be accepted.
    let is_missed =
        expected == Err(Outcome::RefusedDeadlock) && got == Ok(waits) && examines_only_some(scene, moment);
    let is_begun = expected == Ok(State::Running)
        && matches!(got, Ok(State::Queued) | Err(Outcome::RefusedBusy))
        && ends_more_than_one_step_may(scene, claims, moment);
    promise!(
        got == expected || is_missed || is_begun,
        "a newcomer is to be {expected:?}, not {got:?}: {request:?}"
    );
    Ok(())
}

fn examines_only_some(scene: &Scene<'_>, moment: &Moment<'_>) -> bool {
    let queued = scene.truly_queued();
    let together: usize = queued.iter().map(|run| run.spec.claims.len()).sum();
    queued.len() > moment.bounds.examined || together > moment.bounds.claims
}

/// Returns whether more lapsed holders are in the way than one step ends: then they are ended, and
/// nothing is decided yet.
fn ends_more_than_one_step_may(scene: &Scene<'_>, claims: &Claims, moment: &Moment<'_>) -> bool {
    let lapsed = scene.holders().filter(|run| scene.is_lapsed(run));
    let in_the_way: Vec<&Run> =
        lapsed.filter(|run| claims.iter().any(|claim| on_same_name(run, claim).next().is_some())).collect();
    let together: usize = in_the_way.iter().map(|run| run.spec.claims.len()).sum();
    in_the_way.len() > moment.bounds.ends || in_the_way.len() > 1 && together > moment.bounds.claims
}

/// Returns the chain of running parents, the farthest first; empty if the proof of the parent is wrong.
fn chain(scene: &Scene<'_>, parent: Option<&Parent>) -> Vec<Ticket> {
    let is_parent = |run: &&Run| parent == Some(&Parent::from(&run.attempt));
    let found = scene.snapshot.runs.iter().find(is_parent);
    match found.filter(|run| run.state == State::Running) {
        None => Vec::new(),
        Some(run) => run.ancestors.iter().copied().chain([run.ticket]).collect(),
    }
}
