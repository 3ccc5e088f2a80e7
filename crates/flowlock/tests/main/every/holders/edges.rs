//! The longest and shortest durations, ends at the same moment, and names that are not there.

use std::time::Duration;

use flowlock::step::{Holders, Unlock};
use flowlock::{Begun, Error, Flowlock, Progress};

use super::{Fresh, blocked};

#[test]
fn what_was_not_there_is_neither_removed_nor_unlocked() {
    let store = Fresh::new();
    let flowlock = store.open();
    assert!(!flowlock.remove(&["a"], Holders::Respect).unwrap());
    let run = flowlock::RunId::parse("job.1").unwrap();
    assert!(!flowlock.unlock(&run, flowlock::Token(1), Unlock::Now).unwrap());
}

#[test]
fn no_duration_is_too_long_or_too_short() {
    for most in [Duration::MAX, Duration::from_millis(u64::MAX), Duration::from_secs(i64::MAX as u64)] {
        let store = Fresh::new();
        let flowlock = store.open_with(Flowlock::builder().store_timeout(most).commit_wait(most));
        let job = flowlock.job("job").lock("a").output("b").record_life(most).max_runtime(most).wait(most);
        let grant = job.acquire().unwrap();
        assert_eq!(grant.lost(), None);
        grant.refresh().unwrap();
        grant.verify().unwrap();
        let Begun::Waiting(mut second) = job.begin().unwrap() else { panic!() };
        let interrupter = second.interrupter();
        interrupter.interrupt();
        assert!(matches!(second.wait(most).unwrap(), Progress::Waiting));
        grant.commit().unwrap();
        assert!(matches!(second.wait(most).unwrap(), Progress::Granted(_)));
        assert!(flowlock.names(&[flowlock::Name::parse("b").unwrap()]).is_ok());
        assert!(matches!(
            flowlock.job("job").lock("a").lease(most).acquire().unwrap_err(),
            Error::InvalidRequest { what: "duration", .. }
        ));
    }
    let tiny = Duration::from_nanos(1);
    let store = Fresh::new();
    let flowlock = store.open_with(Flowlock::builder().store_timeout(tiny).commit_wait(tiny));
    let job = flowlock.job("job").lock("a").output("b").record_life(tiny).wait(tiny);
    let grant = job.acquire().unwrap();
    assert!(blocked(&job));
    assert!(matches!(job.acquire().unwrap_err(), Error::TimedOut { .. }));
    grant.commit().unwrap();
    let grant = job.max_runtime(tiny).acquire().unwrap();
    assert_eq!(grant.time_left(), Duration::ZERO);
    assert!(grant.commit().unwrap().late);
}

#[test]
fn a_run_that_ends_exactly_when_its_wait_ends_is_granted_or_gone() {
    let store = Fresh::new();
    let flowlock = store.open();
    for round in 0..200_u64 {
        let first = flowlock.job("first").lock("a").acquire().unwrap();
        let wait = Duration::from_micros(1_500 + round * 10);
        let job = flowlock.job("second").lock("a").wait(wait);
        let waiter = std::thread::spawn(move || job.acquire().map(drop));
        std::thread::sleep(Duration::from_millis(2));
        first.commit().unwrap();
        let ended = waiter.join().unwrap();
        assert!(matches!(ended, Ok(()) | Err(Error::TimedOut { .. })), "{ended:?}");
        assert!(flowlock.runs().unwrap().is_empty(), "round {round}");
    }
}

#[test]
fn a_panic_inside_a_closure_fails_the_run_and_forgets_that_we_were_inside() {
    let store = Fresh::new();
    let flowlock = store.open();
    let job = flowlock.job("job").output("a");
    let inside = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        job.with(|_| -> Result<(), Error> { panic!("one panic, as expected") })
    }));
    assert!(inside.is_err());
    let grant = flowlock.job("next").output("a").acquire().unwrap();
    assert_eq!(grant.spec().parent, None);
    assert!(grant.commit().is_ok());
}
