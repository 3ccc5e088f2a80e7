//! A lease that ends because the store does not answer, and holders that go on all the same.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use flowlock::step::Step;
use flowlock::store::{StoreError, StoreErrorKind, View};
use flowlock::{Flowlock, Grant, Lost, LostBy};

use super::{Fresh, between, until};

const SHORT: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(20);

/// A store that can be away for refreshes.
struct Line {
    flowlock: Flowlock,
    _store: Fresh,
    away: Arc<AtomicBool>,
}

impl Line {
    fn new() -> Self {
        let away = Arc::new(AtomicBool::new(true));
        let is_away = away.clone();
        let store = Fresh::new();
        let flowlock = store.through(move |carry_out, step| {
            if matches!(step, Step::Refresh(_)) && is_away.load(Ordering::SeqCst) {
                return Err(StoreError::new(StoreErrorKind::Unreachable, "nobody answers"));
            }
            carry_out()
        });
        Self { flowlock, _store: store, away }
    }

    fn comes_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }
}

fn holder(flowlock: &Flowlock) -> Grant {
    flowlock.job("holder").output("a").lease(SHORT).acquire().unwrap()
}

/// What is told of a loss.
fn told(grant: &Grant) -> mpsc::Receiver<Lost> {
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    told
}

#[test]
fn a_lease_that_no_answer_renewed_ends_as_unreachable_with_the_reason() {
    let line = Line::new();
    let grant = holder(&line.flowlock);
    assert_eq!(grant.trouble(), None);
    assert_eq!(told(&grant).recv_timeout(PATIENT), Ok(Lost::Unreachable));
    assert_eq!(grant.trouble().as_deref(), Some("nobody answers"));
    line.comes_back();
    std::thread::sleep(SHORT);
    assert_eq!(grant.lost(), Some(Lost::Unreachable), "once lost, always lost");
    assert!(grant.commit().unwrap().late, "but nobody needed its names");
}

#[test]
fn a_store_that_hangs_is_unreachable_too() {
    let (let_go, hold) = mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        if matches!(step, Step::Refresh(_)) {
            let _ = hold.lock().unwrap().recv_timeout(PATIENT);
        }
        carry_out()
    });
    let grant = holder(&flowlock);
    assert_eq!(told(&grant).recv_timeout(PATIENT), Ok(Lost::Unreachable));
    drop(let_go);
    grant.fail();
}

#[test]
fn who_insists_goes_on_when_the_store_is_back() {
    let line = Line::new();
    let grant = holder(&line.flowlock);
    grant.insist();
    let told = told(&grant);
    until("over", || grant.lost() == Some(Lost::Unreachable));
    assert_eq!(grant.time_left(), Duration::ZERO);
    line.comes_back();
    until("renewed", || grant.lost().is_none());
    assert!(grant.time_left() > Duration::ZERO);
    assert_eq!(grant.trouble(), None);
    std::thread::sleep(SHORT * 2);
    assert_eq!(grant.lost(), None, "it is renewed as before");
    assert!(told.try_recv().is_err(), "nobody was told of a loss that was none");
    assert!(!grant.commit().unwrap().late);
}

#[test]
fn who_insists_is_told_what_the_store_says_when_it_is_back() {
    let line = Line::new();
    let grant = holder(&line.flowlock);
    grant.insist();
    let told = told(&grant);
    until("over", || grant.lost() == Some(Lost::Unreachable));
    let next = line.flowlock.job("next").output("a").acquire().unwrap();
    assert!(told.try_recv().is_err());
    line.comes_back();
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::By(LostBy::Taken)));
    assert!(grant.commit().is_err());
    next.commit().unwrap();
}

#[test]
fn to_insist_makes_no_run_longer_than_it_may_be() {
    let flowlock = Flowlock::open("memory:").unwrap();
    let job = flowlock.job("holder").output("a").lease(SHORT).max_runtime(SHORT * 2);
    let grant = job.acquire().unwrap();
    grant.insist();
    assert_eq!(told(&grant).recv_timeout(PATIENT), Ok(Lost::Expired));
    grant.fail();
}

/// Nothing was done, so nothing is unknown.
#[test]
fn a_look_that_gets_no_answer_says_nothing_of_what_it_may_have_done() {
    let store = Fresh::new();
    let tries = AtomicUsize::new(0);
    let look = move |_: &dyn Fn(&View) -> _, _: &View| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Err(StoreError::new(StoreErrorKind::Unknown, "no answer came")),
        _ => Err(StoreError::new(StoreErrorKind::Unreachable, "nobody answers")),
    };
    let flowlock =
        between::through_looking(&store.open(), |carry_out, _: &Step| carry_out(), |open| open(), look);
    let said = flowlock.runs().unwrap_err().to_string();
    assert!(said.contains("nobody answers") && !said.contains("unknown"), "{said}");
}
