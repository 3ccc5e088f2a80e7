//! Who is told of a loss, when, and by which thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use flowlock::step::{Answer, Finished, Refreshed, Step, Unlock};
use flowlock::{Error, Grant, Lost, LostBy, Outcome};

use super::{Fresh, PATIENT, SHORT, soon_lost};

#[test]
fn whoever_is_told_of_a_loss_may_ask_to_be_told_again() {
    let (tell, told) = mpsc::channel();
    let store = Fresh::new();
    let grant = Arc::new(soon_lost(&store.open(), "a"));
    let again = grant.clone();
    grant.on_lost(move |_| again.on_lost(move |by| tell.send(by).unwrap()));
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::Expired));
}

#[test]
fn a_loss_is_told_by_another_thread_even_to_the_one_that_finds_it() {
    let (tell, told) = mpsc::channel();
    let store = Fresh::new();
    let grant = soon_lost(&store.open(), "a");
    let mine = Arc::new(Mutex::new(()));
    let theirs = mine.clone();
    grant.on_lost(move |by| {
        let _both = theirs.lock();
        tell.send(by).unwrap();
    });
    let held = mine.lock().unwrap();
    while grant.lost().is_none() {
        std::hint::spin_loop();
    }
    drop(held);
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::Expired));
}

#[test]
fn a_panic_of_one_who_is_told_of_a_loss_harms_no_other_run() {
    let store = Fresh::new();
    let flowlock = store.open();
    let lasting = flowlock.job("lasting").lock("b").lease(SHORT).acquire().unwrap();
    let grant = soon_lost(&flowlock, "a");
    let (tell, told) = mpsc::channel();
    grant.on_lost(|_| panic!("one panic, as expected"));
    grant.on_lost(move |by| tell.send(by).unwrap());
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::Expired));
    assert_is_renewed(&lasting);
}

#[test]
fn one_who_is_told_of_a_loss_and_never_returns_harms_no_other_run() {
    let store = Fresh::new();
    let flowlock = store.open();
    let lasting = flowlock.job("lasting").lock("b").lease(SHORT).acquire().unwrap();
    let grant = soon_lost(&flowlock, "a");
    let (told, over) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (here, end) = (told.clone(), over.clone());
    grant.on_lost(move |_| {
        here.wait();
        end.wait();
    });
    told.wait();
    assert_is_renewed(&lasting);
    over.wait();
}

/// Watches it for two leases.
fn assert_is_renewed(grant: &Grant) {
    let until = Instant::now() + SHORT * 2;
    while Instant::now() < until {
        assert_eq!(grant.lost(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_that_committed_is_never_called_lost_by_a_refresh_that_was_on_its_way() {
    let committed = Arc::new(Barrier::new(2));
    let answered = Arc::new(Barrier::new(2));
    let (wait, done) = (committed.clone(), answered.clone());
    let first = AtomicUsize::new(0);
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        if !matches!(step, Step::Refresh(_)) || first.fetch_add(1, Ordering::SeqCst) > 0 {
            return carry_out();
        }
        wait.wait();
        let answer = carry_out();
        done.wait();
        answer
    });
    let (tell, told) = mpsc::channel();
    let grant = flowlock.job("job").output("a").lease(SHORT).acquire().unwrap();
    grant.on_lost(move |by| tell.send(by).unwrap());
    // The keeper's refresh is on its way when the barrier's second party is in it: the commit overtakes it.
    std::thread::sleep(SHORT / 2);
    grant.commit().unwrap();
    committed.wait();
    answered.wait();
    assert!(told.recv_timeout(SHORT).is_err());
}

/// A process listens only after a second, so that short runs need not. The next renewal is due after a third of ten
/// minutes.
#[test]
fn what_happened_to_a_run_before_its_process_listened_is_asked_for_once() {
    let store = Fresh::new();
    let flowlock = store.open();
    let grant = flowlock.job("job").lock("a").lease(Duration::from_mins(10)).acquire().unwrap();
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    assert!(flowlock.unlock(grant.run_id(), grant.token(), Unlock::Now).unwrap());
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::By(LostBy::Broken)));
}

/// A store that went back may know a running run only as one that waits, or whose wait has ended.
#[test]
fn a_held_run_that_its_store_does_not_know_as_held_is_lost_with_the_store() {
    let never_began = [Outcome::TimedOut, Outcome::Cancelled, Outcome::RefusedOutputExists];
    let to_commit = never_began
        .map(|outcome| Answer::Finished(Finished::Ended { outcome, late: false }))
        .into_iter()
        .chain([Finished::NotAccepted, Finished::NotFound].map(Answer::Finished));
    let to_renew = [Refreshed::Over(Outcome::TimedOut), Refreshed::NotRunning, Refreshed::NotFound]
        .map(|answer| Answer::Refreshed(vec![answer]));
    let store = Fresh::new();
    for older in to_commit.chain(to_renew) {
        let said = format!("{older:?}");
        let commits = matches!(older, Answer::Finished(_));
        let flowlock = store.through(move |carry_out, step| match step {
            Step::Commit { .. } if commits => Ok(older.clone()),
            Step::Refresh(_) if !commits => Ok(older.clone()),
            _ => carry_out(),
        });
        let grant = flowlock.job("job").output("a").lease(SHORT * 10).fixed_lease().acquire().unwrap();
        let ended = if commits {
            grant.commit().map(drop)
        } else {
            // A renewal by hand takes effect once a second.
            std::thread::sleep(SHORT + Duration::from_millis(10));
            grant.refresh().map(drop)
        };
        let Err(Error::Lost { by: Lost::WithTheStore, .. }) = ended else { panic!("{said}: {ended:?}") };
        // Here the store still has it.
        if commits {
            let run = flowlock.runs().unwrap().remove(0).run;
            flowlock.unlock(&run.attempt.id, run.token.unwrap(), Unlock::Now).unwrap();
        }
    }
}
