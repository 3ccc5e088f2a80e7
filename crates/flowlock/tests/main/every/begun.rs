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
}
