use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Flowlock;
use crate::endings::Reached;
use crate::run::Outcome;
use crate::said::{heard, says};
use crate::store::memory::{MemoryStore, TestWorld};
use crate::waiters::HEARTBEAT;

#[test]
fn a_run_that_was_silent_too_long_comes_back_by_itself() {
    comes_back_after_silence(0);
}

/// An answer explains only some runs; the last of more runs than that only hears that it waits.
#[test]
fn a_run_that_was_silent_too_long_comes_back_though_nobody_explains_why_it_waits() {
    comes_back_after_silence(crate::bounds::MOST_EXPLAINED);
}

/// Like a process that was stopped, and continues while the name that it waits for is still held.
fn comes_back_after_silence(others: usize) {
    let world = Arc::new(TestWorld::default());
    let store = Arc::new(MemoryStore::with_world(world.clone()));
    let [ours, theirs] = [(); 2].map(|()| Flowlock::with_store(store.clone()));
    let first = theirs.job("first").lock("a").lease(Duration::from_hours(1)).acquire().unwrap();
    let waits = |job: &str| match ours.job(job).lock("a").begin().unwrap() {
        Begun::Waiting(run) => run,
        Begun::Granted(_) => panic!("{job} got what the first one holds"),
    };
    let mut second = waits("second");
    assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    let others: Vec<_> = (0..others).map(|_| waits("other")).collect();
    world.advance(Duration::from_secs(11));
    // Any step of another process finds that it was silent.
    theirs.job("third").lock("b").acquire().unwrap().commit().unwrap();
    let is_present = || theirs.run(second.run_id()).unwrap().unwrap().run.present;
    assert!(!is_present());
    // Makes the next heartbeat due now. Those that were explained longest ago come first.
    lock(&second.waiter.state).explained = Instant::now();
    lock(&others.last().unwrap_or(&second).waiter.state).look_again = Some(Instant::now());
    ours.connection.waiters().unwrap().hurry();
    let until = Instant::now() + Duration::from_secs(4);
    while !lock(&second.waiter.state).news {
        assert!(Instant::now() < until, "it was not told to ask for itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    assert!(theirs.run(second.run_id()).unwrap().unwrap().run.present);
    first.commit().unwrap();
    let Progress::Granted(grant) = second.wait(Duration::from_secs(4)).unwrap() else { panic!() };
    grant.commit().unwrap();
}

/// The second one waits for what the first one has.
fn second_of(flowlock: &Flowlock) -> (Grant, Pending) {
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    match flowlock.job("second").lock("a").begin().unwrap() {
        Begun::Waiting(second) => (first, second),
        Begun::Granted(_) => panic!("it got what the first one holds"),
    }
}

fn takes_news(pending: &Pending) {
    let until = Instant::now() + Duration::from_secs(20);
    while !std::mem::take(&mut lock(&pending.waiter.state).news) {
        assert!(Instant::now() < until, "it is told nothing");
        std::thread::yield_now();
    }
}

#[test]
fn who_leaves_the_line_waits_for_the_store_but_for_none_that_is_away_and_not_long_once_interrupted() {
    let interrupted = Arc::new(AtomicBool::new(false));
    let builder = Flowlock::builder().store_timeout(Duration::from_secs(7));
    let flowlock = builder.interrupted_by(interrupted.clone()).open("memory:").unwrap();
    let (_first, mut second) = second_of(&flowlock);
    assert_eq!(second.patience_to_leave(), Duration::from_secs(7));
    assert_eq!(second.reached(), Reached::Yes);
    second.away = true;
    assert_eq!(second.patience_to_leave(), Duration::ZERO);
    assert_eq!(second.reached(), Reached::No);
    interrupted.store(true, Ordering::Relaxed);
    assert_eq!(second.patience_to_leave(), Duration::from_secs(1));
}

/// Its own wait has no end.
#[test]
fn a_request_that_waits_for_names_ends_when_its_caller_is_interrupted() {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flowlock = Flowlock::builder().interrupted_by(interrupted.clone()).open("memory:").unwrap();
    let _first = flowlock.job("first").lock("a").acquire().unwrap();
    let is_alone = || flowlock.runs().is_ok_and(|runs| runs.len() == 1);
    let waits = [
        |job: crate::Job| job.acquire().map(drop),
        |job: crate::Job| job.with(|_| Ok(())),
        #[cfg(feature = "async")]
        |job: crate::Job| {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(job.acquire_async())
                .map(drop)
        },
    ];
    for wait in waits {
        let job = flowlock.job("second").lock("a");
        let waits = std::thread::spawn(move || wait(job));
        while is_alone() {
            std::thread::yield_now();
        }
        interrupted.store(true, Ordering::Relaxed);
        let error = waits.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("interrupted while waiting"), "{error}");
        interrupted.store(false, Ordering::Relaxed);
        assert!(flowlock.flush(Duration::from_secs(20)) && is_alone());
    }
}

/// Without the thread that listens, a run asks every 5 s by itself.
#[test]
fn whom_nobody_tells_anything_asks_by_itself_when_its_time_has_come() {
    let flowlock = Flowlock::open("memory:").unwrap();
    let (_first, mut second) = second_of(&flowlock);
    // It is told that the thread listens, and then that it does no more.
    takes_news(&second);
    let waiters = second.connection.waiters().unwrap();
    waiters.close(Duration::from_secs(20));
    assert!(!waiters.is_listening());
    takes_news(&second);
    let asked = Instant::now();
    second.asked = asked;
    assert_eq!(second.looks_for_itself(), Some(asked + HEARTBEAT));
    second.asked = asked.checked_sub(HEARTBEAT).unwrap();
    assert!(second.wait_for_news(asked + Duration::from_secs(3)), "it is time");
}

#[test]
fn that_a_run_still_waits_is_said_after_a_second_and_not_at_every_look() {
    let flowlock = Flowlock::open("memory:").unwrap();
    let (_first, mut second) = second_of(&flowlock);
    let look = |second: &mut Pending| {
        says(&heard(|| drop(second.wait(Duration::ZERO).unwrap())), "INFO still waiting")
    };
    assert!(!look(&mut second));
    second.next_log = Instant::now();
    assert!(look(&mut second));
    assert!(!look(&mut second));
}

#[cfg(feature = "async")]
#[test]
fn a_waker_that_is_replaced_may_ask_for_the_run_when_it_is_dropped() {
    struct Asks(Arc<Waiter>);
    impl std::task::Wake for Asks {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Asks {
        fn drop(&mut self) {
            drop(lock(&self.0.state));
        }
    }
    let flowlock = Flowlock::open("memory:").unwrap();
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(second) = flowlock.job("second").lock("a").begin().unwrap() else { panic!() };
    let until = Instant::now() + Duration::from_secs(20);
    // It is told once that the thread listens, and then nothing more.
    while !second.take_news_or_register(Waker::noop()) {
        assert!(Instant::now() < until, "nobody listens");
        std::thread::yield_now();
    }
    let (done, is_done) = std::sync::mpsc::channel();
    let asking = std::thread::spawn(move || {
        let waker = Waker::from(Arc::new(Asks(second.waiter.clone())));
        assert!(!second.take_news_or_register(&waker));
        drop(waker);
        assert!(!second.take_news_or_register(Waker::noop()));
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(()));
    asking.join().unwrap();
    first.commit().unwrap();
}

/// Like a process that was stopped for longer than a store keeps the place of a silent process.
#[test]
fn a_run_that_waits_for_ever_waits_on_though_it_was_given_up() {
    let world = Arc::new(TestWorld::default());
    let store = Arc::new(MemoryStore::with_world(world.clone()));
    let [ours, theirs] = [(); 2].map(|()| Flowlock::with_store(store.clone()));
    let first = theirs.job("first").lock("a").lease(Duration::from_hours(1)).acquire().unwrap();
    let wait = |job: crate::Job| match job.begin().unwrap() {
        Begun::Waiting(run) => run,
        Begun::Granted(_) => panic!("it got what the first one holds"),
    };
    let mut for_ever = wait(ours.job("for-ever").lock("a"));
    let mut an_hour = wait(ours.job("an-hour").lock("a").wait(Duration::from_hours(1)));
    for silence in [11, 601] {
        world.advance(Duration::from_secs(silence));
        theirs.job("other").lock("b").acquire().unwrap().commit().unwrap();
    }
    let state = |run: &RunId| theirs.run(run).unwrap().unwrap().run.state;
    assert_eq!(state(for_ever.run_id()), State::Ended(Outcome::TimedOut));
    assert!(state(an_hour.run_id()).is_waiting(), "who set a limit is kept until then");
    for run in [&mut for_ever, &mut an_hour] {
        run.waiter.tell();
        assert!(matches!(run.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
        assert!(state(run.run_id()).is_waiting());
    }
    first.commit().unwrap();
    // It lost its place: the other run is ahead of it by now.
    let Progress::Granted(grant) = an_hour.wait(Duration::from_secs(4)).unwrap() else { panic!() };
    assert!(matches!(for_ever.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    grant.commit().unwrap();
    let Progress::Granted(grant) = for_ever.wait(Duration::from_secs(4)).unwrap() else { panic!() };
    grant.commit().unwrap();
}
