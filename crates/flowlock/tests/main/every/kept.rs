//! What is kept, whatever else the process and its connection are busy with.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use flowlock::step::{Step, Unlock};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{Acquired, Grant, Lost, LostBy, RunId, State};

use super::Fresh;
use super::ear::Ear;

const PATIENT: Duration = Duration::from_secs(20);

/// Tells of the runs that every refresh asks about, and when.
fn tells_of_refreshes(
    tell: mpsc::Sender<Instant>,
) -> impl Fn(
    &dyn Fn() -> Result<flowlock::step::Answer, StoreError>,
    &Step,
) -> Result<flowlock::step::Answer, StoreError> {
    let tell = Mutex::new(tell);
    move |carry_out, step| {
        if matches!(step, Step::Refresh(_)) {
            let _ = tell.lock().unwrap().send(Instant::now());
        }
        carry_out()
    }
}

/// Whoever watches may sleep a second, but not over the renewal of one who came later.
#[test]
fn a_short_lease_is_renewed_in_time_beside_a_long_one() {
    let (tell, told) = mpsc::channel();
    let store = Fresh::new();
    let flowlock = store.through(tells_of_refreshes(tell));
    let _long = flowlock.job("long").lock("a").lease(Duration::from_hours(1)).acquire().unwrap();
    // For the first second the watching thread sleeps.
    std::thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    let _short = flowlock.job("short").lock("b").lease(Duration::from_secs(1)).acquire().unwrap();
    let asked = told.recv_timeout(PATIENT).unwrap();
    assert!(asked - begun < Duration::from_millis(800), "{:?}", asked - begun);
}

#[test]
fn a_holder_asks_at_once_if_its_process_may_have_missed_something() {
    let (tell, told) = mpsc::channel();
    let ear = Ear::default();
    let hears = ear.clone();
    let store = Fresh::new();
    let flowlock = store.through_hearing(tells_of_refreshes(tell), move |open| Ok(hears.on(open()?)));
    let _holder = flowlock.job("holder").lock("a").lease(Duration::from_hours(1)).acquire().unwrap();
    // What it asks when it begins to listen.
    told.recv_timeout(PATIENT).unwrap();
    ear.misses_something();
    told.recv_timeout(PATIENT).unwrap();
}

/// One renewal that hangs, news of a second run behind it, and of a third that finds no room any more.
#[test]
fn news_of_a_run_waits_for_a_renewal_that_hangs() {
    let hangs = Arc::new(AtomicBool::new(false));
    let stuck = Arc::new(AtomicUsize::new(0));
    let (waits, counts) = (hangs.clone(), stuck.clone());
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        let until = Instant::now() + PATIENT;
        if matches!(step, Step::Refresh(_)) {
            counts.fetch_add(1, Ordering::SeqCst);
            while waits.load(Ordering::SeqCst) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        carry_out()
    });
    let lease = Duration::from_mins(5);
    let by_hand = |name: &str| flowlock.job(name).lock(name).lease(lease).fixed_lease().acquire().unwrap();
    let (second, third) = (by_hand("second"), by_hand("third"));
    let (tell, told) = mpsc::channel();
    third.on_lost(move |by| tell.send(by).unwrap());
    // All are asked about when the process begins to listen; from here on no renewal comes to its end.
    std::thread::sleep(Duration::from_millis(1_500));
    hangs.store(true, Ordering::SeqCst);
    let first = flowlock.job("first").lock("first").lease(Duration::from_secs(3)).acquire().unwrap();
    while stuck.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let unlock = |grant: &Grant| {
        assert!(flowlock.unlock(grant.run_id(), grant.token(), Unlock::WhenAcknowledged).unwrap());
        std::thread::sleep(Duration::from_millis(300));
    };
    unlock(&second);
    unlock(&third);
    hangs.store(false, Ordering::SeqCst);
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::By(LostBy::Broken)));
    drop(first);
}

/// The next try comes with the same secret, and finds it.
#[test]
fn a_held_place_is_kept_though_the_answer_was_lost() {
    let lost = Arc::new(AtomicBool::new(false));
    let loses = lost.clone();
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        let answer = carry_out();
        if matches!(step, Step::Acquire(_)) && loses.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unknown, "the answer was lost"));
        }
        answer
    });
    let holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let job = flowlock.job("placed").lock("a").run_id("placed.1");
    let next_try = || job.try_or_hold_place(Duration::from_secs(30), 7);
    lost.store(true, Ordering::SeqCst);
    assert!(next_try().is_err());
    lost.store(false, Ordering::SeqCst);
    let seen = flowlock.run(&RunId::parse("placed.1").unwrap()).unwrap().unwrap();
    assert_eq!(seen.run.state, State::Queued);
    assert!(matches!(next_try().unwrap(), Acquired::Blocked(_)));
    holder.commit().unwrap();
    assert!(matches!(next_try().unwrap(), Acquired::Granted(_)));
}

/// Two processes have the run: a task that was delivered again while the first worker still lived.
#[test]
fn who_shares_a_run_hears_that_the_other_one_ended_it() {
    let store = Fresh::new();
    let first = store.open();
    // A store in memory is its process's own.
    let second = if first.store().url() == "memory:" { first.clone() } else { store.open() };
    let grant = |flowlock: &flowlock::Flowlock| {
        let job = flowlock.job("print").output("a").run_id("task.1");
        match job.try_or_hold_place(Duration::from_secs(30), 7).unwrap() {
            Acquired::Granted(grant) => grant,
            Acquired::Blocked(by) => panic!("{by:?}"),
        }
    };
    let (one, other) = (grant(&first), grant(&second));
    let committed = other.commit().unwrap();
    // Within a second a refresh repeats the last answer.
    std::thread::sleep(Duration::from_millis(1_100));
    let ended = one.refresh().unwrap_err();
    assert!(matches!(ended, flowlock::Error::Lost { by: Lost::Ended, .. }), "{ended:?}");
    assert_eq!(one.commit().unwrap().version, committed.version);
}

/// It hears nothing, and no renewal is due: only the verify tells that the run was unlocked.
#[test]
fn what_a_verify_finds_out_is_known_to_the_grant() {
    let store = Fresh::new();
    let deaf = || StoreError::new(StoreErrorKind::Unreachable, "nothing is heard");
    let flowlock = store.through_hearing(|carry_out, _| carry_out(), move |_| Err(deaf()));
    let (tell, told) = mpsc::channel();
    let grant = flowlock.job("print").output("a").lease(Duration::from_mins(5)).acquire().unwrap();
    grant.on_lost(move |by| tell.send(by).unwrap());
    assert!(flowlock.unlock(grant.run_id(), grant.token(), Unlock::Now).unwrap());
    let broken = Lost::By(LostBy::Broken);
    let found = grant.verify().unwrap_err();
    assert!(matches!(found, flowlock::Error::Lost { by, .. } if by == broken), "{found:?}");
    assert_eq!(grant.lost(), Some(broken));
    assert_eq!(told.recv_timeout(PATIENT), Ok(broken));
    assert!(matches!(grant.refresh(), Err(flowlock::Error::Lost { by, .. }) if by == broken));
}

/// The same for one whose lease nobody renews: it is only looked at.
#[test]
fn who_renews_by_hand_hears_that_another_one_ended_the_run() {
    let ear = Ear::default();
    let hears = ear.clone();
    let store = Fresh::new();
    let flowlock = store.through_hearing(|carry_out, _| carry_out(), move |open| Ok(hears.on(open()?)));
    let grant = || {
        let job = flowlock.job("print").output("a").run_id("task.1").lease(Duration::from_mins(5));
        match job.fixed_lease().try_or_hold_place(Duration::from_secs(30), 7).unwrap() {
            Acquired::Granted(grant) => grant,
            Acquired::Blocked(by) => panic!("{by:?}"),
        }
    };
    let (one, other) = (grant(), grant());
    let (tell, told) = mpsc::channel();
    one.on_lost(move |by| tell.send(by).unwrap());
    other.commit().unwrap();
    let until = Instant::now() + PATIENT;
    let by = loop {
        assert!(Instant::now() < until, "it hears nothing");
        ear.misses_something();
        if let Ok(by) = told.recv_timeout(Duration::from_millis(50)) {
            break by;
        }
    };
    assert_eq!(by, Lost::Ended);
}

#[test]
fn a_lease_that_is_renewed_by_hand_again_and_again_costs_one_question_a_second() {
    let (tell, told) = mpsc::channel();
    let store = Fresh::new();
    let flowlock = store.through(tells_of_refreshes(tell));
    let begun = Instant::now();
    let grant = flowlock.job("job").lock("a").lease(Duration::from_mins(5)).fixed_lease().acquire().unwrap();
    while told.try_recv().is_err() {
        assert!(begun.elapsed() < PATIENT, "it is not renewed");
        grant.refresh().unwrap();
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "the grant itself was as good as a renewal");
}
