//! What each answer of a store means to a run that waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flowlock::step::{Answer, Invalid, Standing, Step};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{Begun, Blocked, Flowlock, Outcome, Pending, Progress};

use super::answers::{answering, word};
use super::ear::Ear;
use super::{Fresh, between};

const PATIENT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_mins(1);

/// A run that waits, and whose claim gets these answers as soon as its turn has come.
fn claims(store: &Fresh, wait: Option<Duration>, answers: Vec<Answer>) -> Pending {
    let flowlock = answering(store, |step| matches!(step, Step::Accept { .. }), answers);
    waits(&flowlock, wait)
}

fn waits(flowlock: &Flowlock, wait: Option<Duration>) -> Pending {
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let mut job = flowlock.job("next").lock("a");
    if let Some(wait) = wait {
        job = job.wait(wait);
    }
    let Begun::Waiting(pending) = job.begin().unwrap() else { panic!("it does not wait") };
    first.commit().unwrap();
    pending
}

fn over(outcome: Outcome) -> Answer {
    let blocked = Blocked { by: Vec::new(), more: false, ahead: 0, retry_after_ms: None };
    Answer::Standing(Standing::Ended { outcome, blocked: Some(blocked) })
}

#[track_caller]
fn is_granted(mut pending: Pending) {
    let Progress::Granted(grant) = pending.wait(PATIENT).unwrap() else { panic!("it still waits") };
    grant.commit().unwrap();
}

#[test]
fn a_claim_that_finds_older_work_asks_again() {
    let store = Fresh::new();
    is_granted(claims(&store, None, vec![Answer::Standing(Standing::AskAgain); 3]));
}

#[test]
fn a_waiting_run_that_the_store_refused_says_so() {
    let store = Fresh::new();
    let mut refused = claims(&store, Some(LONG), vec![over(Outcome::RefusedOutputExists)]);
    assert_eq!(word(&refused.wait(PATIENT).unwrap_err()), "output exists");
    assert_eq!(word(&refused.wait(PATIENT).unwrap_err()), "invalid wait", "that was told");
}

/// A run that waits on a store that has not heard of it for too long, and gives it up so many times.
fn given_up(store: &Fresh, wait: Option<Duration>, times: usize) -> Pending {
    let base = store.open();
    let (to, given_up) = (base.clone(), AtomicUsize::new(0));
    let flowlock = between::through(&base, move |carry_out, step| match step {
        Step::Accept { attempt, .. } if given_up.fetch_add(1, Ordering::SeqCst) < times => {
            let cancel = Step::Cancel { attempt: attempt.clone(), latest_ms: 0 };
            to.store().step(to.namespace(), &cancel)?;
            Ok(over(Outcome::TimedOut))
        }
        _ => carry_out(),
    });
    waits(&flowlock, wait)
}

#[test]
fn a_run_that_the_store_gave_up_waits_anew_once_if_it_set_itself_no_limit() {
    let store = Fresh::new();
    is_granted(given_up(&store, None, 1));
    for (wait, times) in [(None, 2), (Some(LONG), 1)] {
        let mut given_up = given_up(&store, wait, times);
        assert_eq!(word(&given_up.wait(PATIENT).unwrap_err()), "timed out", "{wait:?}");
    }
}

/// A run that the store forgot stands in line anew, and its request gets this answer first.
fn asks_anew(store: &Fresh, answer: Invalid) -> (Pending, Arc<AtomicUsize>) {
    let (forgot, asked) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    let flowlock = store.through(move |carry_out, step| match step {
        Step::Accept { .. } if forgot.fetch_add(1, Ordering::SeqCst) < 2 => Ok(Answer::NotFound),
        Step::Acquire(_) if forgot.load(Ordering::SeqCst) == 1 => {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(Answer::Invalid(answer))
        }
        _ => carry_out(),
    });
    (waits(&flowlock, None), asked)
}

#[test]
fn a_run_that_stands_in_line_anew_sends_its_request_again_if_the_clock_was_set() {
    let store = Fresh::new();
    for answer in [Invalid::ArrivedTooLate, Invalid::LatestTooFar] {
        let (pending, asked) = asks_anew(&store, answer);
        is_granted(pending);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    let (mut pending, _) = asks_anew(&store, Invalid::RunIdInUse);
    assert_eq!(word(&pending.wait(PATIENT).unwrap_err()), "run id in use");
    assert_eq!(word(&pending.wait(PATIENT).unwrap_err()), "invalid wait", "that was told");
}

/// What a run says whose wait is over, if the store answers its claim with this; and how often it asked anew.
fn over_and_answered(store: &Fresh, answer: Answer) -> (String, usize) {
    let (end, asked) = (Arc::new(OnceLock::<Instant>::new()), Arc::new(AtomicUsize::new(0)));
    let (ends, counted) = (end.clone(), asked.clone());
    let flowlock = store.through(move |carry_out, step| {
        let is_over = ends.get().is_some_and(|end| *end <= Instant::now());
        match step {
            Step::Accept { .. } if is_over => return Ok(answer.clone()),
            Step::Acquire(_) if is_over => counted.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        carry_out()
    });
    let _holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let job = flowlock.job("next").lock("a").wait(Duration::from_millis(100));
    let Begun::Waiting(mut pending) = job.begin().unwrap() else { panic!("it does not wait") };
    end.set(pending.until().unwrap()).unwrap();
    (word(&pending.wait(PATIENT).unwrap_err()), asked.load(Ordering::SeqCst))
}

#[test]
fn a_run_whose_wait_is_over_stands_in_line_no_more() {
    let store = Fresh::new();
    let clock_was_set = [Invalid::ArrivedTooLate, Invalid::LatestTooFar].map(Answer::Invalid);
    for answer in clock_was_set.into_iter().chain([Answer::NotFound]) {
        assert_eq!(over_and_answered(&store, answer.clone()), ("timed out".into(), 0), "{answer:?}");
    }
}

/// The caller wants its thread back, whether anybody answers or not.
#[test]
fn a_wait_ends_in_time_though_the_store_is_away() {
    // It is back after so many questions: whoever goes on asking does so for seconds.
    const MOST: usize = 200;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let ear = Ear::default();
    let hears = ear.clone();
    let store = Fresh::new();
    let away = move |carry_out: &dyn Fn() -> _, step: &Step| match step {
        Step::Accept { .. } if counted.fetch_add(1, Ordering::SeqCst) < MOST => {
            Err(StoreError::new(StoreErrorKind::Unreachable, "nobody answers"))
        }
        _ => carry_out(),
    };
    let flowlock = store.through_hearing(away, move |open| Ok(hears.on(open()?)));
    let _holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let Begun::Waiting(mut pending) = flowlock.job("next").lock("a").begin().unwrap() else { panic!() };
    let begun = Instant::now();
    while asked.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < PATIENT, "it hears of nothing");
        ear.hears_of(std::slice::from_ref(pending.run_id()));
        assert!(matches!(pending.wait(Duration::from_millis(20)).unwrap(), Progress::Waiting));
    }
    assert!(asked.load(Ordering::SeqCst) < MOST);
}

#[test]
fn a_waiting_run_says_until_when() {
    let store = Fresh::new();
    let flowlock = store.open();
    let _holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let begin = |job: flowlock::Job| match job.begin().unwrap() {
        Begun::Waiting(pending) => pending.until().map(|end| end.saturating_duration_since(Instant::now())),
        Begun::Granted(_) => panic!("it does not wait"),
    };
    assert_eq!(begin(flowlock.job("for ever").lock("a")), None);
    let left = begin(flowlock.job("a minute").lock("a").wait(LONG)).unwrap();
    assert!(left > LONG / 2 && left <= LONG, "{left:?}");
}
