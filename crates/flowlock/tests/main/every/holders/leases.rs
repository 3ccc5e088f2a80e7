//! Leases that end, are renewed late, or are renewed by nobody.

use std::sync::mpsc;
use std::time::Duration;

use flowlock::step::Unlock;
use flowlock::{Error, Lost, LostBy};

use super::{Fresh, PATIENT, SHORT, blocked, soon_lost};

#[test]
fn a_run_that_was_unlocked_is_not_handed_over_and_gives_its_names_up() {
    let store = Fresh::new();
    let flowlock = store.open();
    let job = flowlock.job("build").output("x");
    let grant = job.acquire().unwrap();
    assert!(flowlock.unlock(grant.run_id(), grant.token(), Unlock::WhenAcknowledged).unwrap());
    let refused = grant.detach().unwrap_err();
    assert!(matches!(refused, Error::Lost { by: Lost::By(LostBy::Broken), .. }), "{refused}");
    assert!(!blocked(&job));
}

#[test]
fn nobody_renews_a_detached_run() {
    let store = Fresh::new();
    let flowlock = store.open();
    let detached = flowlock.job("build").lock("a").lease(SHORT).acquire().unwrap().detach().unwrap();
    let next = flowlock.job("next").lock("a").wait(SHORT * 4).acquire().unwrap();
    assert!(matches!(flowlock.refresh(&detached), Err(Error::Lost { .. })));
    next.commit().unwrap();
}

#[test]
fn a_lapsed_run_is_not_called_lost_and_a_late_refresh_says_that_it_was_late() {
    let store = Fresh::new();
    let flowlock = store.open();
    let run = flowlock.job("build").lock("a").lease(SHORT).acquire().unwrap().detach().unwrap();
    std::thread::sleep(SHORT + Duration::from_millis(200));
    assert!(matches!(flowlock.verify(&run), Err(Error::Lapsed { .. })));
    let renewed = flowlock.refresh(&run).unwrap();
    assert!(renewed.late && !renewed.lease_left.is_zero(), "{renewed:?}");
    flowlock.verify(&run).unwrap();
    assert!(!flowlock.refresh(&run).unwrap().late);
}

#[test]
fn a_lease_that_ended_unneeded_begins_anew_when_its_holder_renews_it_late() {
    let store = Fresh::new();
    let flowlock = store.open();
    let grant = soon_lost(&flowlock, "a");
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::Expired));
    assert!(matches!(grant.verify(), Err(Error::Lost { by: Lost::Expired, .. })));
    let renewed = grant.refresh().unwrap();
    assert!(renewed.lease_left > Duration::ZERO, "{renewed:?}");
    assert_eq!(grant.lost(), None);
    grant.verify().unwrap();
    // It ends as any other lease does, and a new callback is called.
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::Expired));
    // Once another run has taken its names it is over, and cannot be renewed.
    let taker = flowlock.job("taker").lock("a").acquire().unwrap();
    let refused = grant.refresh().unwrap_err();
    assert!(matches!(refused, Error::Lost { .. }), "{refused}");
    assert!(grant.lost().is_some());
    taker.commit().unwrap();
}
