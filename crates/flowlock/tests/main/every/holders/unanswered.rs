//! Steps that took effect although their answers were lost.

use std::sync::atomic::{AtomicUsize, Ordering};

use flowlock::step::{Holders, Step, Unlock};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{Begun, Error, Flowlock};

use super::{Fresh, PATIENT, SHORT, between};

fn unknown() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "the answer was lost")
}

#[test]
fn a_run_that_was_granted_without_an_answer_holds_nothing() {
    let lost = AtomicUsize::new(0);
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        let answer = carry_out();
        let first = matches!(step, Step::Acquire(_)) && lost.fetch_add(1, Ordering::SeqCst) < 10;
        if first { Err(unknown()) } else { answer }
    });
    flowlock.create(&["out"], flowlock::Creation::default()).unwrap();
    let job = flowlock.job("job").lock("a").output("out").on_fail(flowlock::OnFail::Incomplete);
    assert!(matches!(job.acquire().unwrap_err(), Error::Store(_)));
    assert!(flowlock.runs().unwrap().is_empty());
    // It is not a failed attempt either: its work never began.
    let seen = flowlock.names(&[flowlock::Name::parse("out").unwrap()]).unwrap();
    let record = seen[0].record.as_ref().unwrap();
    assert_eq!((record.state, record.failure.as_ref()), (flowlock::RecordState::Live, None));
}

#[test]
fn a_waiting_run_whose_claim_was_not_answered_holds_nothing() {
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        let answer = carry_out();
        if matches!(step, Step::Accept { .. }) { Err(unknown()) } else { answer }
    });
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let second = flowlock.job("second").lock("a").wait(SHORT);
    let Begun::Waiting(mut second) = second.begin().unwrap() else { panic!() };
    first.commit().unwrap();
    // It is asked for until its wait is over.
    assert!(matches!(second.wait(PATIENT).unwrap_err(), Error::Store(_)));
    drop(second);
    assert!(flowlock.runs().unwrap().is_empty());
}

#[test]
fn a_commit_whose_first_try_may_count_is_unknown_even_if_the_next_one_is_refused() {
    let tries = AtomicUsize::new(0);
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        if !matches!(step, Step::Commit { .. }) {
            return carry_out();
        }
        let kind = match tries.fetch_add(1, Ordering::SeqCst) {
            0 => StoreErrorKind::Unknown,
            _ => StoreErrorKind::Unusable,
        };
        let _ = carry_out();
        Err(StoreError::new(kind, "trouble"))
    });
    let error = flowlock.job("job").output("a").acquire().unwrap().commit().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
}

#[test]
fn what_was_removed_or_unlocked_by_a_try_without_an_answer_was_there() {
    let store = Fresh::new();
    let lost = AtomicUsize::new(0);
    let flowlock = store.through(move |carry_out, step| {
        let answer = carry_out();
        let first = matches!(step, Step::Remove { .. } | Step::Unlock { .. })
            && lost.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        if first { Err(unknown()) } else { answer }
    });
    flowlock.create(&["a"], flowlock::Creation::default()).unwrap();
    assert!(flowlock.remove(&["a"], Holders::Respect).unwrap());
    let grant = flowlock.job("job").lock("b").acquire().unwrap();
    assert!(flowlock.unlock(grant.run_id(), grant.token(), Unlock::Now).unwrap());
}

/// The step is sent twice because its first answer is lost; in between, another run commits the same name.
fn with_a_commit_in_between(act: impl Fn(&Flowlock), is_meant: fn(&Step) -> bool) {
    let store = Fresh::new();
    let (others, lost) = (store.open(), AtomicUsize::new(0));
    let committing = others.clone();
    let flowlock = between::through(&others, move |carry_out: &dyn Fn() -> _, step: &Step| {
        let answer = carry_out();
        if !is_meant(step) || lost.fetch_add(1, Ordering::SeqCst) > 0 {
            return answer;
        }
        committing.job("writer").output("a").acquire().unwrap().commit().unwrap();
        Err(unknown())
    });
    others.create(&["a"], flowlock::Creation::default()).unwrap();
    act(&flowlock);
    let seen = others.names(&[flowlock::Name::parse("a").unwrap()]).unwrap();
    assert_eq!(seen[0].record.as_ref().unwrap().job.as_str(), "writer");
}

#[test]
fn a_commit_between_two_sendings_of_what_is_done_by_hand_stays() {
    let create = |flowlock: &Flowlock| flowlock.create(&["a"], flowlock::Creation::default()).unwrap();
    with_a_commit_in_between(create, |step| matches!(step, Step::Create { .. }));
    let remove = |flowlock: &Flowlock| assert!(flowlock.remove(&["a"], Holders::Respect).unwrap());
    with_a_commit_in_between(remove, |step| matches!(step, Step::Remove { .. }));
}
