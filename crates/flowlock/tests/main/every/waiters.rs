//! What all the waiting runs of a process, and its grants, can rely on together.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use flowlock::step::Step;
use flowlock::{Acquired, Begun, Error, Grant, Job, Lost, Pending, Progress, RunId};

use super::Fresh;
use super::ear::Ear;

const PATIENT: Duration = Duration::from_secs(20);

fn waits(job: &Job) -> Pending {
    let Begun::Waiting(run) = job.begin().unwrap() else { panic!("it does not wait") };
    run
}

#[test]
fn who_holds_a_place_hears_when_to_come_back_and_that_it_came_too_late() {
    let store = Fresh::new();
    let flowlock = store.open();
    let _first = flowlock.job("first").lock("a").acquire().unwrap();
    let next = flowlock.job("next").lock("a").run_id("task.1");
    let place = Duration::from_millis(400);
    let Acquired::Blocked(blocked) = next.try_or_hold_place(place, 7).unwrap() else { panic!("granted") };
    assert!(blocked.summary().starts_with("lock a is held by first"), "{blocked:?}");
    assert!(blocked.retry_after_ms.is_some_and(|ms| ms <= 200), "half of the place: {blocked:?}");
    // Its place ends by the store's own clock.
    std::thread::sleep(place + Duration::from_millis(50));
    let ended = next.try_or_hold_place(place, 7).unwrap_err();
    assert!(matches!(ended, Error::PlaceEnded { .. }), "{ended:?}");
    assert_eq!(
        ended.to_string(),
        "next lost its place in the queue: run task.1 came back after its place had ended; try again with a new \
         secret to get a new place"
    );
    let Acquired::Blocked(blocked) = next.try_or_hold_place(place, 8).unwrap() else { panic!("granted") };
    assert!(blocked.retry_after_ms.is_some(), "a new place: {blocked:?}");
}

/// The store's answer is the same each time: only the client's part of it differs.
#[test]
fn not_all_who_are_refused_are_told_to_come_back_at_the_same_moment() {
    let store = Fresh::new();
    let flowlock = store.open();
    let _holder = flowlock.job("holder").lock("a").lease(Duration::from_mins(10)).acquire().unwrap();
    let told: BTreeSet<u64> = (0..40)
        .map(|_| match flowlock.job("try").lock("a").try_acquire().unwrap() {
            Acquired::Blocked(blocked) => blocked.retry_after_ms.unwrap(),
            Acquired::Granted(_) => panic!("granted"),
        })
        .collect();
    assert!(told.len() > 1 && told.iter().all(|ms| (27_000..=30_000).contains(ms)), "{told:?}");
}

/// Whoever may write the store may send hints, and each costs the process that hears it a step.
#[test]
fn who_is_told_again_and_again_that_something_happened_asks_ever_more_seldom() {
    let steps = Arc::new(AtomicUsize::new(0));
    let (counts, ear) = (steps.clone(), Ear::default());
    let hears = ear.clone();
    let store = Fresh::new();
    let meddle = move |carry_out: &dyn Fn() -> _, _: &Step| {
        counts.fetch_add(1, Ordering::SeqCst);
        carry_out()
    };
    let flowlock = store.through_hearing(meddle, move |open| Ok(hears.on(open()?)));
    let holder = flowlock.job("holder").lock("a").lease(Duration::from_mins(10)).acquire().unwrap();
    let mut next = waits(&flowlock.job("next").lock("a"));
    let both = [holder.run_id().clone(), next.run_id().clone()];
    let waiter = std::thread::spawn(move || next.wait(PATIENT));
    let before = steps.load(Ordering::SeqCst);
    let begun = Instant::now();
    let mut told = 0;
    while begun.elapsed() < Duration::from_millis(1_200) {
        ear.hears_of(&both);
        if told % 10 == 0 {
            ear.misses_something();
        }
        told += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = steps.load(Ordering::SeqCst) - before;
    // Each of three: at once, and after 10, 30, 70, 150, 310 and 630 ms; and what begins with them.
    assert!(asked <= 40, "{asked} steps for {told} hints");
    holder.commit().unwrap();
    assert!(matches!(waiter.join().unwrap().unwrap(), Progress::Granted(_)));
}

/// Twenty waiting runs of one process, and what its heartbeats ask about.
#[test]
fn what_a_waiting_run_knows_stays_and_every_run_is_asked_about_in_turn() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let ear = Ear::default();
    let hears = ear.clone();
    let store = Fresh::new();
    let meddle = move |carry_out: &dyn Fn() -> _, step: &Step| {
        let answer = carry_out();
        if let Step::Heartbeat { explain, .. } = step {
            let _ = tell.lock().unwrap().send(explain.clone());
        }
        answer
    };
    let flowlock = store.through_hearing(meddle, move |open| Ok(hears.on(open()?)));
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let mut waiting: Vec<Pending> = (0..20).map(|_| waits(&flowlock.job("next").lock_shared("a"))).collect();
    for run in &mut waiting {
        assert!(matches!(run.wait(Duration::ZERO).unwrap(), Progress::Waiting));
    }
    let mut asked: BTreeSet<RunId> = BTreeSet::new();
    for round in 1..=2 {
        ear.misses_something();
        asked.extend(told.recv_timeout(PATIENT).unwrap());
        assert_eq!(asked.len(), [16, 20][round - 1]);
        for run in &waiting {
            let blocked = run.blocked();
            assert!(blocked.summary().starts_with("lock a is held by first"), "{blocked:?}");
        }
    }
    first.commit().unwrap();
    for mut run in waiting {
        assert!(matches!(run.wait(PATIENT).unwrap(), Progress::Granted(_)));
    }
}

#[test]
fn a_loss_is_told_in_time_while_neither_renewal_nor_inbox_gets_an_answer() {
    let hangs = Arc::new(AtomicBool::new(false));
    let (over, end) = (Arc::new(AtomicBool::new(false)), Instant::now() + PATIENT);
    let hang = |hangs: Arc<AtomicBool>, over: Arc<AtomicBool>| {
        move || {
            while hangs.load(Ordering::SeqCst) && !over.load(Ordering::SeqCst) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    };
    let store = Fresh::new();
    let inbox_hangs = hang(hangs.clone(), over.clone());
    let step_hangs = hang(hangs.clone(), over.clone());
    let meddle = move |carry_out: &dyn Fn() -> _, _: &Step| {
        step_hangs();
        carry_out()
    };
    let hear = move |open: &dyn Fn() -> _| {
        inbox_hangs();
        open()
    };
    let flowlock = store.through_hearing(meddle, hear);
    let (tell, told) = mpsc::channel();
    let lease = Duration::from_secs(2);
    let begun = Instant::now();
    let grant = flowlock.job("job").lock("a").lease(lease).acquire().unwrap();
    grant.on_lost(move |by| tell.send((by, Instant::now())).unwrap());
    hangs.store(true, Ordering::SeqCst);
    let (by, at) = told.recv_timeout(PATIENT).unwrap();
    over.store(true, Ordering::SeqCst);
    assert_eq!(by, Lost::Unreachable);
    assert!(at - begun < lease + Duration::from_millis(700), "{:?}", at - begun);
    drop(grant);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("one panic, as expected");
    }
}

/// Polls until the store was asked and the future waits for news.
fn settle<F: Future<Output = Result<Grant, Error>>>(
    future: &mut std::pin::Pin<Box<F>>,
    runtime: &tokio::runtime::Runtime,
) {
    let settled = async {
        let pause = tokio::time::sleep(Duration::from_millis(500));
        tokio::select! {
            _ = future.as_mut() => panic!("nothing was free"),
            () = pause => {}
        }
    };
    runtime.block_on(settled);
}

#[test]
fn a_waker_that_panics_harms_no_other_run_and_the_last_waker_is_the_one_that_counts() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = Fresh::new();
    let flowlock = store.open();
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let (one, two) = (flowlock.job("one").lock_shared("a"), flowlock.job("two").lock_shared("a"));
    let (mut one, mut two) = (Box::pin(one.acquire_async()), Box::pin(two.acquire_async()));
    settle(&mut one, &runtime);
    settle(&mut two, &runtime);
    let inside = runtime.enter();
    let woken = Arc::new(Flag::default());
    for (waits, waker) in
        [(one.as_mut(), Waker::from(Arc::new(Panics))), (two.as_mut(), woken.clone().into())]
    {
        let waits: std::pin::Pin<&mut dyn Future<Output = _>> = waits;
        assert!(matches!(waits.poll(&mut Context::from_waker(&waker)), Poll::Pending));
    }
    drop(inside);
    first.commit().unwrap();
    let until = Instant::now() + Duration::from_secs(4);
    while !woken.0.load(Ordering::SeqCst) {
        assert!(Instant::now() < until, "it was not woken");
        std::thread::sleep(Duration::from_millis(5));
    }
    let both = async { (one.await.unwrap(), two.await.unwrap()) };
    let (one, two) = runtime.block_on(both);
    // Whoever listens is there still.
    let mut third = waits(&flowlock.job("third").lock("a"));
    assert!(matches!(third.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    one.commit().unwrap();
    two.commit().unwrap();
    assert!(matches!(third.wait(Duration::from_secs(4)).unwrap(), Progress::Granted(_)));
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
