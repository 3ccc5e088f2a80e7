//! Requests and waits whose end could not be told at once: nobody waits for them any more, and none stays in the line.
//!
//! In each case the process waits for something else too, so that its heartbeats keep whatever the store takes for its
//! waiting runs.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use flowlock::step::{Answer, Invalid, Standing, Step};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{
    Acquired, Begun, Creation, Error, Flowlock, Grant, Job, Lost, Name, OnFail, Pending, Progress,
    RecordState,
};

use super::{Fresh, until};

const PATIENT: Duration = Duration::from_secs(20);
/// The shortest lease: what is tried for no longer than this is soon given up.
const SHORT: Duration = Duration::from_secs(1);
/// So long that only whoever is told of an end frees the names.
const LONG: Duration = Duration::from_hours(1);

/// How a store treats a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Manner {
    /// It answers.
    Answers,
    /// It carries the step out, but its answer is lost.
    IsMute,
    /// It cannot be reached.
    IsAway,
    /// It refuses to cancel a wait, for a reason that time alone does not change.
    Refuses,
}

/// A connection to a store that can be away, and another one that sees what is left there.
struct Line {
    bad: Flowlock,
    good: Flowlock,
    requests: Arc<AtomicU8>,
    endings: Arc<AtomicU8>,
    /// What the process waits for besides.
    _besides: (Grant, Pending),
    _store: Fresh,
}

fn ends(step: &Step) -> bool {
    matches!(step, Step::Fail(_) | Step::Cancel { .. } | Step::GiveBack(_) | Step::Detach(_))
}

fn requests(step: &Step) -> bool {
    matches!(step, Step::Acquire(_) | Step::Accept { .. })
}

fn meets(
    manner: &AtomicU8,
    carry_out: &dyn Fn() -> Result<Answer, StoreError>,
) -> Result<Answer, StoreError> {
    let fails = |kind| Err(StoreError::new(kind, "trouble, as expected"));
    match manner.load(Ordering::SeqCst) {
        manner if manner == Manner::Answers as u8 => carry_out(),
        manner if manner == Manner::IsMute as u8 => {
            carry_out()?;
            fails(StoreErrorKind::Unknown)
        }
        manner if manner == Manner::IsAway as u8 => fails(StoreErrorKind::Unreachable),
        _ => fails(StoreErrorKind::Damaged),
    }
}

impl Line {
    fn new() -> Self {
        let store = Fresh::new();
        let [asked, ended] = [(); 2].map(|()| Arc::new(AtomicU8::new(Manner::Answers as u8)));
        let good = store.open();
        let (is_asked, is_ended) = (asked.clone(), ended.clone());
        let meddle = move |carry_out: &dyn Fn() -> _, step: &Step| match () {
            () if requests(step) => meets(&is_asked, carry_out),
            () if ends(step) => match step {
                Step::Cancel { .. } => meets(&is_ended, carry_out),
                _ if is_ended.load(Ordering::SeqCst) == Manner::Refuses as u8 => carry_out(),
                _ => meets(&is_ended, carry_out),
            },
            () => carry_out(),
        };
        let bad = super::between::through(&good, meddle);
        let elsewhere = good.job("elsewhere").lock("elsewhere").lease(LONG).acquire().unwrap();
        let besides = waits(&bad.job("besides").lock("elsewhere"));
        good.create(&["out"], Creation::default()).unwrap();
        Self { bad, good, requests: asked, endings: ended, _besides: (elsewhere, besides), _store: store }
    }

    fn requests_meet(&self, manner: Manner) {
        self.requests.store(manner as u8, Ordering::SeqCst);
    }

    fn endings_meet(&self, manner: Manner) {
        self.endings.store(manner as u8, Ordering::SeqCst);
    }

    fn is_back(&self) {
        self.requests_meet(Manner::Answers);
        self.endings_meet(Manner::Answers);
    }

    fn runs_of(&self, job: &str) -> usize {
        self.good.runs().unwrap().iter().filter(|seen| seen.run.spec.job.as_str() == job).count()
    }

    /// A job that would spoil its record by failing.
    fn orphan(&self) -> Job {
        self.bad.job("orphan").lock("a").output("out").on_fail(OnFail::Incomplete).lease(SHORT)
    }

    /// Holds what the orphan wants.
    fn holder(&self) -> Grant {
        self.good.job("holder").lock("a").lease(LONG).acquire().unwrap()
    }

    /// Once the store is back, nothing of it is left, and nothing failed.
    #[track_caller]
    fn leaves_nothing(&self) {
        assert_eq!(self.runs_of("orphan"), 1, "there is none to be left");
        self.is_back();
        until("it leaves the line", || self.runs_of("orphan") == 0);
        let seen = self.good.names(&[Name::parse("out").unwrap()]).unwrap();
        let record = seen[0].record.as_ref().unwrap();
        assert_eq!((record.state, record.failure.as_ref()), (RecordState::Live, None));
        assert_eq!(self.runs_of("besides"), 1);
    }
}

fn waits(job: &Job) -> Pending {
    let Begun::Waiting(mut run) = job.begin().unwrap() else { panic!("it does not wait") };
    assert!(matches!(run.wait(Duration::from_millis(50)).unwrap(), Progress::Waiting));
    run
}

/// Longer than the orphan's lease, shorter than a store needs to take its process for silent.
fn a_while_later() {
    std::thread::sleep(SHORT + Duration::from_millis(500));
}

fn is_unknown<T: std::fmt::Debug>(asked: &Result<T, Error>) {
    assert!(matches!(asked, Err(Error::Store(error)) if error.is_unknown()), "{asked:?}");
}

#[test]
fn a_request_whose_answer_and_withdrawal_were_lost_leaves_the_line_when_the_store_is_back() {
    let line = Line::new();
    let _holder = line.holder();
    line.requests_meet(Manner::IsMute);
    line.endings_meet(Manner::IsAway);
    is_unknown(&line.orphan().begin());
    line.leaves_nothing();
}

#[test]
fn a_grant_whose_answer_and_withdrawal_were_lost_is_given_back_when_the_store_is_back() {
    for ask in [
        |job: &Job| is_unknown(&job.acquire()),
        |job: &Job| is_unknown(&job.try_acquire()),
        |job: &Job| is_unknown(&job.with(|_| Ok::<_, Error>(()))),
    ] {
        let line = Line::new();
        line.requests_meet(Manner::IsMute);
        line.endings_meet(Manner::IsAway);
        ask(&line.orphan().lease(LONG));
        line.leaves_nothing();
    }
}

#[test]
fn a_wait_that_could_not_be_cancelled_leaves_the_line_when_the_store_is_back() {
    let line = Line::new();
    let _holder = line.holder();
    let orphan = waits(&line.orphan());
    line.endings_meet(Manner::IsAway);
    assert!(matches!(orphan.cancel(), Err(Error::Store(_))));
    a_while_later();
    line.leaves_nothing();
}

#[test]
fn a_wait_that_was_dropped_while_the_store_was_away_for_longer_than_its_lease_leaves_the_line() {
    let line = Line::new();
    let _holder = line.holder();
    let orphan = waits(&line.orphan());
    line.endings_meet(Manner::IsAway);
    drop(orphan);
    a_while_later();
    line.leaves_nothing();
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_wait_whose_future_is_dropped_while_the_store_is_away_leaves_the_line_when_it_is_back() {
    let line = Line::new();
    let _holder = line.holder();
    let job = line.orphan();
    {
        let mut asked = Box::pin(job.acquire_async());
        until("it waits", || poll_once(asked.as_mut()).is_pending() && line.runs_of("orphan") == 1);
        line.endings_meet(Manner::IsAway);
    }
    a_while_later();
    line.leaves_nothing();
}

#[test]
fn an_async_request_whose_answer_was_lost_leaves_the_line_when_the_store_is_back() {
    let line = Line::new();
    let _holder = line.holder();
    line.requests_meet(Manner::IsMute);
    line.endings_meet(Manner::IsAway);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    is_unknown(&runtime.block_on(line.orphan().acquire_async()));
    a_while_later();
    line.leaves_nothing();
}

/// Whatever the store has against it may pass, and meanwhile the heartbeats go on.
#[test]
fn a_wait_whose_withdrawal_is_refused_is_withdrawn_once_it_is_not_refused_any_more() {
    let line = Line::new();
    let _holder = line.holder();
    let orphan = waits(&line.orphan());
    line.endings_meet(Manner::Refuses);
    assert!(matches!(orphan.cancel(), Err(Error::Store(_))));
    a_while_later();
    // What is dropped meanwhile is told all the same, and nobody waits for the one that is refused.
    drop(line.bad.job("other").lock("b").acquire().unwrap());
    until("the other one is over", || line.runs_of("other") == 0);
    assert!(matches!(line.orphan().try_acquire().unwrap(), Acquired::Blocked(_)));
    assert!(!line.bad.flush(LONG), "it is not in vain that it is tried");
    line.leaves_nothing();
}

#[test]
fn a_run_that_could_not_be_ended_frees_its_names_when_the_store_is_back() {
    for end in [Grant::fail, Grant::give_back, drop, |grant: Grant| assert!(grant.detach().is_err())] {
        let line = Line::new();
        let grant = line.bad.job("ended").lock("a").lease(LONG).acquire().unwrap();
        line.endings_meet(Manner::IsAway);
        end(grant);
        assert_eq!(line.runs_of("ended"), 1);
        line.is_back();
        until("its names are free", || line.runs_of("ended") == 0);
    }
}

#[test]
fn a_run_that_could_not_be_failed_at_once_by_a_future_frees_its_names_when_the_store_is_back() {
    let line = Line::new();
    let grant = line.bad.job("ended").lock("a").lease(LONG).acquire().unwrap();
    line.endings_meet(Manner::IsAway);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(grant.fail_async());
    assert_eq!(line.runs_of("ended"), 1);
    line.is_back();
    until("its names are free", || line.runs_of("ended") == 0);
}

/// A task that failed is delivered again, with the same secret, before the store knows of the failure.
#[test]
fn who_comes_back_to_a_run_that_it_failed_is_not_granted_what_is_about_to_end() {
    let line = Line::new();
    let job = line.bad.job("ended").lock("a").run_id("task.1").lease(LONG);
    let come_back = || job.try_or_hold_place(PATIENT, 7);
    let Acquired::Granted(grant) = come_back().unwrap() else { panic!("it is not free") };
    line.endings_meet(Manner::IsAway);
    grant.fail();
    let early = come_back();
    assert!(matches!(&early, Err(Error::Store(error)) if error.is_transient()), "{early:?}");
    line.is_back();
    until("its names are free", || line.runs_of("ended") == 0);
    let late = come_back();
    assert!(matches!(late, Err(Error::Over { .. })), "{late:?}");
}

/// The grant was heard of when its lease was over, and the store is away when it is to be renewed and given back.
#[test]
fn a_wait_whose_grant_came_too_late_ends_and_the_grant_is_given_back_when_the_store_is_back() {
    let store = Fresh::new();
    let good = store.open();
    let is_away = Arc::new(AtomicBool::new(true));
    let away = is_away.clone();
    let bad = super::between::through(&good, move |carry_out, step| {
        let answer = carry_out_unless(
            away.load(Ordering::SeqCst) && (ends(step) || matches!(step, Step::Refresh(_))),
            carry_out,
        );
        if matches!(step, Step::Accept { .. }) && matches!(answer, Ok(Answer::Standing(Standing::Running(_))))
        {
            std::thread::sleep(SHORT * 6 / 5);
        }
        answer
    });
    let holder = good.job("holder").lock("a").acquire().unwrap();
    let mut orphan = waits(&bad.job("orphan").lock("a").lease(SHORT));
    holder.commit().unwrap();
    let ended = orphan.wait(PATIENT);
    assert!(matches!(ended, Err(Error::Store(_) | Error::Lost { by: Lost::Unreachable, .. })), "{ended:?}");
    is_away.store(false, Ordering::SeqCst);
    until("it is given back", || good.runs().unwrap().is_empty());
    assert!(orphan.wait(PATIENT).is_err(), "its grant was given back");
}

fn carry_out_unless(
    fails: bool,
    carry_out: &dyn Fn() -> Result<Answer, StoreError>,
) -> Result<Answer, StoreError> {
    if fails { Err(StoreError::new(StoreErrorKind::Unreachable, "nobody answers")) } else { carry_out() }
}

/// The first sending was on its way for so long that the second one was answered before it.
#[test]
fn a_request_that_was_refused_holds_nothing_though_an_earlier_sending_of_it_arrives_later() {
    let store = Fresh::new();
    let good = store.open();
    let on_its_way = Arc::<Mutex<Option<Step>>>::default();
    let sent = on_its_way.clone();
    let bad = super::between::through(&good, move |carry_out, step| {
        let mut sent = sent.lock().unwrap();
        if matches!(step, Step::Acquire(_)) && sent.is_none() {
            *sent = Some(step.clone());
            return Err(StoreError::new(StoreErrorKind::Unknown, "no answer came"));
        }
        drop(sent);
        carry_out()
    });
    let living = good.job("living").lock("b").run_id("task.1").acquire().unwrap();
    let refused = bad.job("orphan").lock("a").run_id("task.1").begin();
    assert!(matches!(refused, Err(Error::RunIdInUse { .. })), "{refused:?}");
    living.commit().unwrap();
    assert!(bad.flush(PATIENT));
    let late = on_its_way.lock().unwrap().take().unwrap();
    good.store().step(good.namespace(), &late).unwrap();
    assert!(good.runs().unwrap().is_empty(), "nobody waits for it");
}

#[test]
fn a_request_in_which_the_store_panicked_holds_nothing() {
    let store = Fresh::new();
    let good = store.open();
    let panics = AtomicBool::new(true);
    let bad = super::between::through(&good, move |carry_out, step| {
        let answer = carry_out();
        assert!(!(requests(step) && panics.swap(false, Ordering::SeqCst)), "one panic, as expected");
        answer
    });
    let job = bad.job("orphan").lock("a").lease(LONG);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(job.acquire()))).is_err());
    until("it is given back", || good.runs().unwrap().is_empty());
}

/// The store forgot a waiting run, which asked again: that sending has no answer when the id turns out to be taken.
#[test]
fn a_wait_that_asked_again_holds_nothing_though_it_was_refused_then() {
    let store = Fresh::new();
    let good = store.open();
    let holder = good.job("holder").lock("a").acquire().unwrap();
    let is_forgotten = Arc::new(AtomicBool::new(false));
    let forgets = is_forgotten.clone();
    let bad = super::between::through(&good, move |carry_out, step| match step {
        Step::Accept { .. } if forgets.load(Ordering::SeqCst) => Ok(Answer::NotFound),
        Step::Acquire(_) if forgets.load(Ordering::SeqCst) => Ok(Answer::Invalid(Invalid::RunIdInUse)),
        _ => carry_out(),
    });
    let Begun::Waiting(mut orphan) = bad.job("orphan").lock("a").begin().unwrap() else { panic!() };
    is_forgotten.store(true, Ordering::SeqCst);
    let refused = orphan.wait(PATIENT);
    assert!(matches!(refused, Err(Error::RunIdInUse { .. })), "{refused:?}");
    assert!(bad.flush(PATIENT));
    holder.commit().unwrap();
    assert!(good.runs().unwrap().is_empty(), "nobody waits for it");
}
