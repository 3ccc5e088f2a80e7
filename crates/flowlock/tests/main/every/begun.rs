//! With how much of its lease work begins, however long its request was on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowlock::step::Step;
use flowlock::{Acquired, Begun, Error, Flowlock, Grant, Job, Lost, Progress};

use super::{Fresh, between};

const PATIENT: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(1);

/// A store of which each answer that grants, and each renewal if they are late too, comes so late.
fn late(store: &Fresh, by: Duration, renewals: Renewals) -> (Flowlock, Arc<AtomicUsize>) {
    let renewed = Arc::new(AtomicUsize::new(0));
    let counts = renewed.clone();
    let meddle = move |carry_out: &dyn Fn() -> _, step: &Step| {
        let answer = carry_out();
        let is_renewal = matches!(step, Step::Refresh(_));
        counts.fetch_add(usize::from(is_renewal), Ordering::SeqCst);
        let grants = matches!(step, Step::Acquire(_) | Step::Accept { .. });
        if grants || (is_renewal && renewals == Renewals::Late) {
            std::thread::sleep(by);
        }
        answer
    };
    (between::through(&store.open(), meddle), renewed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewals {
    AtOnce,
    Late,
}

type Way = fn(&Job) -> Result<Grant, Error>;

/// The three ways to a grant. The last one has to wait for another job of the same process.
const WAYS: [Way; 3] = [
    |job| match job.try_acquire()? {
        Acquired::Granted(grant) => Ok(grant),
        Acquired::Blocked(by) => panic!("{by:?}"),
    },
    Job::acquire,
    |job| {
        let first = job.clone().lease(Duration::from_mins(1)).acquire().unwrap();
        let Begun::Waiting(mut pending) = job.begin()? else { panic!("it does not wait") };
        first.commit().unwrap();
        match pending.wait(PATIENT)? {
            Progress::Granted(grant) => Ok(grant),
            Progress::Waiting => panic!("never granted"),
        }
    },
];

#[test]
fn work_begins_with_most_of_its_lease_however_late_the_grant_was_heard_of() {
    for way in WAYS {
        for by in [LEASE * 4 / 5, LEASE * 6 / 5] {
            for by_hand in [false, true] {
                let store = Fresh::new();
                let (flowlock, renewed) = late(&store, by, Renewals::AtOnce);
                let job = flowlock.job("job").lock("a").lease(LEASE);
                let grant = way(&if by_hand { job.fixed_lease() } else { job }).unwrap();
                assert_eq!(grant.lost(), None);
                assert!(renewed.load(Ordering::SeqCst) >= 1, "{by:?}");
                grant.commit().unwrap();
            }
        }
    }
}

#[test]
fn a_grant_whose_lease_cannot_be_had_is_not_handed_out_and_holds_nothing() {
    for way in WAYS {
        let store = Fresh::new();
        let (flowlock, _) = late(&store, LEASE * 6 / 5, Renewals::Late);
        let ended = way(&flowlock.job("job").lock("a").lease(LEASE)).unwrap_err();
        assert!(matches!(ended, Error::Lost { by: Lost::Expired | Lost::Unreachable, .. }), "{ended:?}");
        let seen = flowlock.runs().unwrap();
        assert!(seen.is_empty(), "{seen:?}");
    }
}

#[test]
fn a_lease_of_which_most_is_left_is_not_renewed_before_work_begins() {
    let store = Fresh::new();
    let (flowlock, renewed) = late(&store, Duration::ZERO, Renewals::AtOnce);
    // Not the third, whose process begins to listen, and asks about what it holds then.
    for way in &WAYS[..2] {
        let grant = way(&flowlock.job("job").lock("a").lease(Duration::from_mins(10))).unwrap();
        assert_eq!(renewed.load(Ordering::SeqCst), 0);
        grant.commit().unwrap();
    }
    // Nor what its longest run time allows, or what comes with a secret. By hand, so that no keeper asks.
    let job = flowlock.job("job").lock("a").lease(Duration::from_mins(10)).fixed_lease();
    let job = job.max_runtime(Duration::from_mins(3));
    job.acquire().unwrap().commit().unwrap();
    come_back(&job.run_id("task.1")).unwrap().commit().unwrap();
    assert_eq!(renewed.load(Ordering::SeqCst), 0);
}

fn come_back(job: &Job) -> Result<Grant, Error> {
    match job.try_or_hold_place(PATIENT, 7)? {
        Acquired::Granted(grant) => Ok(grant),
        Acquired::Blocked(by) => panic!("{by:?}"),
    }
}

/// The store's first answer is lost, and what is left when it is asked again is what the second one says.
#[test]
fn work_begins_with_most_of_its_lease_though_the_first_answer_was_lost() {
    std::thread::scope(|scope| {
        for way in WAYS {
            for away in [LEASE * 4 / 5, LEASE * 6 / 5] {
                scope.spawn(move || begins_though_the_first_answer_was_lost(way, away));
            }
        }
    });
}

fn begins_though_the_first_answer_was_lost(way: Way, away: Duration) {
    let store = Fresh::new();
    let renewed = Arc::new(AtomicUsize::new(0));
    let counts = renewed.clone();
    let flowlock = store.through(move |carry_out, step| {
        counts.fetch_add(usize::from(matches!(step, Step::Refresh(_))), Ordering::SeqCst);
        if matches!(step, Step::Acquire(_) | Step::Accept { .. }) {
            carry_out()?;
            std::thread::sleep(away);
        }
        carry_out()
    });
    let grant = way(&flowlock.job("job").lock("a").lease(LEASE).fixed_lease()).unwrap();
    assert_eq!(grant.lost(), None);
    assert!(renewed.load(Ordering::SeqCst) >= 1, "{away:?}");
    grant.commit().unwrap();
}

/// A task that is delivered again after its worker died.
#[test]
fn who_comes_back_late_in_the_lease_or_after_it_goes_on_with_most_of_a_lease() {
    std::thread::scope(|scope| {
        for after in [LEASE * 4 / 5, LEASE * 6 / 5] {
            scope.spawn(move || comes_back(after, Clone::clone));
            scope.spawn(move || comes_back(after, |job| job.clone().fixed_lease()));
        }
    });
}

fn comes_back(after: Duration, renewed_by: fn(&Job) -> Job) {
    let store = Fresh::new();
    let (flowlock, renewed) = late(&store, Duration::ZERO, Renewals::AtOnce);
    let job = renewed_by(&flowlock.job("job").output("a").run_id("task.1").lease(LEASE));
    let died = come_back(&job).unwrap();
    died.stop_renewing();
    std::thread::sleep(after);
    let grant = come_back(&job).unwrap();
    assert_eq!((grant.lost(), grant.token()), (None, died.token()));
    assert!(renewed.load(Ordering::SeqCst) >= 1, "{after:?}");
    let other = flowlock.job("other").output("a").try_acquire().unwrap();
    assert!(matches!(other, Acquired::Blocked(_)), "granted beside the work");
    grant.commit().unwrap();
    died.commit().unwrap();
}

/// Near the end of the longest run time, one renewal is asked for and brings nothing. After it, nothing begins, and
/// what the earlier process may still be doing is not taken from it.
#[test]
fn who_comes_back_near_the_longest_run_time_asks_once_and_after_it_begins_nothing() {
    let store = Fresh::new();
    let (flowlock, renewed) = late(&store, Duration::ZERO, Renewals::AtOnce);
    let most = LEASE * 2;
    let job = flowlock.job("job").output("a").run_id("task.1").lease(LEASE * 60).max_runtime(most);
    let job = job.fixed_lease();
    let first = come_back(&job).unwrap();
    std::thread::sleep(most * 11 / 20);
    let second = come_back(&job).unwrap();
    assert!(second.time_left() <= most * 9 / 20 && second.lost().is_none(), "{:?}", second.time_left());
    assert_eq!(renewed.load(Ordering::SeqCst), 1);
    std::thread::sleep(second.time_left() + LEASE / 10);
    let ended = come_back(&job).unwrap_err();
    assert!(matches!(ended, Error::Lost { by: Lost::Expired, .. }), "{ended:?}");
    assert_eq!(renewed.load(Ordering::SeqCst), 2);
    assert!(first.commit().unwrap().late);
    second.commit().unwrap();
}
