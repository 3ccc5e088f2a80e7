//! What a process that holds or waits can rely on, whatever its own code and its store do meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use flowlock::step::{Answer, Finished, Holders, Refreshed, Step, Unlock};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{Acquired, Begun, Error, Flowlock, Grant, Job, Lost, LostBy, Outcome, Progress, Ticket};

use super::{Fresh, between};

const SHORT: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(20);

fn soon_lost(flowlock: &Flowlock, lock: &str) -> Grant {
    flowlock.job("short").lock(lock).lease(SHORT).fixed_lease().acquire().unwrap()
}

fn blocked(job: &Job) -> bool {
    matches!(job.try_acquire().unwrap(), Acquired::Blocked(_))
}

fn unknown() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "the answer was lost")
}

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

/// Its lease ends twice while we look.
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
    // Nor is it a failed attempt: its work never began.
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

/// The answer to the first sending is lost, and before the second somebody commits the same name.
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
    // It ends as any other does, and who asks to be told is told.
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::Expired));
    // Once somebody needed its names it is over, and renews nothing.
    let taker = flowlock.job("taker").lock("a").acquire().unwrap();
    let refused = grant.refresh().unwrap_err();
    assert!(matches!(refused, Error::Lost { .. }), "{refused}");
    assert!(grant.lost().is_some());
    taker.commit().unwrap();
}

#[test]
fn what_was_not_there_is_neither_removed_nor_unlocked() {
    let store = Fresh::new();
    let flowlock = store.open();
    assert!(!flowlock.remove(&["a"], Holders::Respect).unwrap());
    let run = flowlock::RunId::parse("job.1").unwrap();
    assert!(!flowlock.unlock(&run, flowlock::Token(1), Unlock::Now).unwrap());
}

#[test]
fn a_run_that_waits_is_heard_of_though_its_caller_is_busy_elsewhere() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        if matches!(step, Step::Heartbeat { .. }) {
            let _ = tell.lock().unwrap().send(());
        }
        carry_out()
    });
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    // The waiters' thread listens, has nobody to listen for, and sleeps.
    std::thread::sleep(Duration::from_millis(1_500));
    let Begun::Waiting(second) = flowlock.job("second").lock("a").begin().unwrap() else { panic!() };
    told.recv_timeout(Duration::from_secs(8)).unwrap();
    drop((first, second));
}

#[test]
fn a_run_that_only_a_later_page_of_a_heartbeat_speaks_of_is_not_sent_to_ask_for_itself() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        match step {
            Step::Heartbeat { from, .. } if *from != Ticket(0) => tell.lock().unwrap().send(()).unwrap(),
            Step::Accept { .. } => drop(count.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        carry_out()
    });
    let _first = flowlock.job("first").lock("a").acquire().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..=1_000 {
        let Begun::Waiting(run) = flowlock.job("job").lock("a").begin().unwrap() else { panic!() };
        waiting.push(run);
    }
    let last = waiting.last_mut().unwrap();
    // It asks once of its own accord, for what happened before it was listened for.
    assert!(matches!(last.wait(Duration::ZERO).unwrap(), Progress::Waiting));
    assert_eq!(asked.swap(0, Ordering::SeqCst), 1);
    told.recv_timeout(PATIENT).unwrap();
    assert!(matches!(last.wait(Duration::from_millis(200)).unwrap(), Progress::Waiting));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
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
fn a_thousand_waiters_in_one_process_are_served_in_their_order() {
    let store = Fresh::new();
    let flowlock = store.open();
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..1_000 {
        let Begun::Waiting(mut pending) = flowlock.job("next").lock("a").begin().unwrap() else { panic!() };
        let order = order.clone();
        let wait = move || {
            let Progress::Granted(grant) = pending.wait(PATIENT * 10).unwrap() else { panic!() };
            order.lock().unwrap().push(number);
            grant.commit().unwrap();
        };
        waiters.push(std::thread::Builder::new().stack_size(256 * 1024).spawn(wait).unwrap());
    }
    first.commit().unwrap();
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert!(order.lock().unwrap().iter().copied().eq(0..1_000));
}

#[test]
fn the_last_handle_may_go_while_its_threads_are_at_work() {
    let store = Fresh::new();
    for _ in 0..200 {
        let flowlock = store.open();
        let grant = flowlock.job("first").lock("a").lease(SHORT).acquire().unwrap();
        let Begun::Waiting(second) = flowlock.job("second").lock("a").begin().unwrap() else { panic!() };
        drop(flowlock);
        drop(grant);
        drop(second);
    }
    let until = Instant::now() + PATIENT;
    while ["flowlock-waiter", "flowlock-keeper"].iter().any(|name| threads_named(name) > 20) {
        assert!(Instant::now() < until, "threads outlive their connections");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn threads_named(name: &str) -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap();
    names
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
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

/// It listens after a second only, so that short runs need not; the next renewal is a third of ten minutes away.
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

/// A store that went back may know of a run that it let begin no more than that it waits, or waited in vain.
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
