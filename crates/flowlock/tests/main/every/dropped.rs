//! What is dropped: no drop waits for the store, and a grant that comes back to nobody is given back.

use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use flowlock::step::Step;
use flowlock::{Acquired, Begun, Creation, Flowlock, Grant, Job, Name, OnFail, Record, RecordState, RunId};

use super::{Fresh, until};

const PATIENT: Duration = Duration::from_secs(20);
/// Far more than handing over takes, far less than a store that stands still.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A store that can stand still at chosen steps: before or after it carries them out.
struct Still {
    flowlock: Flowlock,
    store: Fresh,
    stands: Arc<AtomicBool>,
    arrived: mpsc::Receiver<()>,
}

impl Still {
    fn at(stops: impl Fn(&Step) -> bool + Send + Sync + 'static) -> Self {
        let stands = Arc::new(AtomicBool::new(false));
        let (tell, arrived) = mpsc::channel();
        let store = Fresh::new();
        let is_still = stands.clone();
        let flowlock = store.through(move |carry_out, step| {
            let answer = carry_out();
            let begun = Instant::now();
            if stops(step) && is_still.load(Ordering::SeqCst) {
                let _ = tell.send(());
                while is_still.load(Ordering::SeqCst) && begun.elapsed() < PATIENT {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            answer
        });
        Self { flowlock, store, stands, arrived }
    }

    fn stands_still(&self) {
        self.stands.store(true, Ordering::SeqCst);
    }

    /// Until a step stands still, after it was carried out.
    fn arrives(&self) {
        self.arrived.recv_timeout(PATIENT).unwrap();
    }

    fn goes_on(&self) {
        self.stands.store(false, Ordering::SeqCst);
    }

    fn record(&self, name: &str) -> Option<Record> {
        self.flowlock.names(&[Name::parse(name).unwrap()]).unwrap().remove(0).record
    }

    /// A job that would spoil its record by failing.
    fn delicate(&self) -> Job {
        self.flowlock.job("delicate").output("a").on_fail(OnFail::Incomplete)
    }

    #[track_caller]
    fn is_as_it_was(&self) {
        self.goes_on();
        until("it was given back", || self.flowlock.runs().unwrap().is_empty());
        let record = self.record("a").unwrap();
        assert_eq!(record.state, RecordState::Live, "{record:?}");
        assert!(record.failure.is_none(), "{record:?}");
    }
}

#[track_caller]
fn at_once<T>(act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    assert!(begun.elapsed() < AT_ONCE, "it waited for {:?}", begun.elapsed());
    done
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn ends(step: &Step) -> bool {
    matches!(step, Step::Fail(_) | Step::Cancel { .. } | Step::GiveBack(_))
}

#[test]
fn a_drop_waits_for_no_store_and_the_store_is_told_all_the_same() {
    let store = Still::at(ends);
    let grant = store.flowlock.job("job").lock("a").acquire().unwrap();
    let Begun::Waiting(pending) = store.flowlock.job("next").lock("a").begin().unwrap() else { panic!() };
    store.stands_still();
    at_once(|| drop(pending));
    at_once(|| drop(grant));
    store.arrives();
    assert!(!at_once(|| store.flowlock.flush(Duration::from_millis(50))));
    store.goes_on();
    assert!(store.flowlock.flush(PATIENT));
    assert!(store.flowlock.runs().unwrap().is_empty());
}

#[test]
fn what_a_connection_drops_is_not_in_the_way_of_its_next_request() {
    let store = Fresh::new();
    let flowlock = store.open();
    for _ in 0..20 {
        drop(flowlock.job("job").lock("a").acquire().unwrap());
        let Acquired::Granted(grant) = flowlock.job("next").lock("a").try_acquire().unwrap() else {
            panic!("its own drop was in the way")
        };
        grant.commit().unwrap();
    }
}

/// Whatever it was to the name: a lock, a slot, data.
#[test]
fn what_a_connection_drops_is_not_in_what_it_reads_of_the_name() {
    let store = Fresh::new();
    let flowlock = store.open();
    let name = [Name::parse("a").unwrap()];
    for _ in 0..20 {
        let job = || flowlock.job("job");
        for job in [job().lock("a"), job().slot("a", 1, 2), job().output("a")] {
            drop(job.acquire().unwrap());
            let seen = flowlock.names(&name).unwrap().remove(0);
            assert!(seen.holders.is_empty(), "{:?}", seen.holders);
        }
    }
}

/// The store takes in the drops one by one, as the test lets it, and a request has an hour: it comes back only if it waits
/// for none but those that have to do with its names.
#[test]
fn many_drops_delay_only_what_has_to_do_with_them() {
    let (let_one_in, room) = mpsc::channel();
    let (taken_in, room) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(room));
    let store = Fresh::new();
    let seen = taken_in.clone();
    let slow = store.through(move |carry_out, step| {
        if let Step::Cancel { attempt, .. } = step {
            room.lock().unwrap().recv_timeout(PATIENT).unwrap();
            seen.lock().unwrap().push(attempt.id.clone());
        }
        carry_out()
    });
    let an_hour =
        Flowlock::builder().namespace(store.namespace.clone()).store_timeout(Duration::from_hours(1));
    let flowlock = an_hour.with_store(slow.store().clone());
    let holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let waits: Vec<_> = (0..20).map(|_| flowlock.job("waits").lock("a").begin().unwrap()).collect();
    let Begun::Waiting(other) = flowlock.job("other").lock("a").lock("b").begin().unwrap() else { panic!() };
    let other_run = other.run_id().clone();
    drop(waits);
    drop(other);
    let takes = |name: &'static str| {
        let job = flowlock.job("try").lock(name);
        std::thread::spawn(move || match job.try_acquire().unwrap() {
            Acquired::Granted(grant) => grant.commit().map(|_| true).unwrap(),
            Acquired::Blocked(_) => false,
        })
    };
    let is_granted = |tries: std::thread::JoinHandle<bool>| {
        until("it comes back", || tries.is_finished());
        tries.join().unwrap()
    };
    assert!(is_granted(takes("free")));
    assert!(taken_in.lock().unwrap().is_empty(), "it waited for others");
    let run = flowlock.run(holder.run_id()).unwrap();
    assert!(run.is_some() && taken_in.lock().unwrap().is_empty(), "it looked at nothing else");
    // The one that is under way, and then the one of concern.
    let tries = takes("b");
    until("the one of concern is let in", || {
        let _ = let_one_in.send(());
        std::thread::sleep(Duration::from_millis(20));
        taken_in.lock().unwrap().contains(&other_run)
    });
    assert!(is_granted(tries), "its own drop was in the way");
    let before = taken_in.lock().unwrap().iter().position(|run| *run == other_run).unwrap();
    println!("{before} came before it");
    assert!(before < 10, "it came after those that have nothing to do with the request");
    drop(holder);
    (0..40).for_each(|_| let_one_in.send(()).unwrap());
    assert!(is_granted(takes("a")), "all of them were to be waited for");
    assert!(flowlock.runs().unwrap().is_empty());
}

#[test]
fn what_is_dropped_while_the_store_is_away_is_told_when_it_is_back() {
    let away = Arc::new(AtomicBool::new(false));
    let is_away = away.clone();
    let store = Fresh::new();
    let flowlock = store.through(move |carry_out, step| {
        if ends(step) && is_away.load(Ordering::SeqCst) {
            let kind = flowlock::store::StoreErrorKind::Unreachable;
            return Err(flowlock::store::StoreError::new(kind, "nobody answers"));
        }
        carry_out()
    });
    let grant = flowlock.job("job").lock("a").acquire().unwrap();
    away.store(true, Ordering::SeqCst);
    drop(grant);
    std::thread::sleep(Duration::from_millis(300));
    away.store(false, Ordering::SeqCst);
    until("it was told", || flowlock.runs().unwrap().is_empty());
}

#[test]
fn a_try_whose_future_is_dropped_gives_its_grant_back() {
    let store = Still::at(|step| matches!(step, Step::Acquire(_)));
    store.flowlock.create(&["a"], Creation::default()).unwrap();
    store.stands_still();
    let job = store.delicate();
    {
        let mut asked = pin!(job.try_acquire_async());
        assert!(poll_once(asked.as_mut()).is_pending());
        store.arrives();
    }
    store.is_as_it_was();
}

#[test]
fn a_request_whose_future_is_dropped_gives_its_grant_back() {
    let store = Still::at(|step| matches!(step, Step::Acquire(_)));
    store.flowlock.create(&["a"], Creation::default()).unwrap();
    store.stands_still();
    let job = store.delicate();
    {
        let mut asked = pin!(job.acquire_async());
        assert!(poll_once(asked.as_mut()).is_pending());
        store.arrives();
    }
    store.is_as_it_was();
}

/// What comes of it is not known yet: a flush says so, and waits for it.
#[track_caller]
fn is_awaited(store: &Still) {
    let is_flushed = |at_most| store.flowlock.flush(Duration::from_millis(at_most));
    assert!(!is_flushed(50), "the store was not told of it");
    store.goes_on();
    assert!(store.flowlock.flush(PATIENT));
    let Acquired::Granted(next) = store.flowlock.job("next").lock("a").try_acquire().unwrap() else {
        panic!("its own drop was in the way")
    };
    next.commit().unwrap();
    assert!(store.flowlock.runs().unwrap().is_empty());
}

#[test]
fn a_flush_waits_for_a_request_whose_future_is_dropped() {
    let store =
        Still::at(|step| matches!(step, Step::Acquire(asked) if asked.spec.job.as_str() == "dropped"));
    store.stands_still();
    let job = store.flowlock.job("dropped").lock("a");
    {
        let mut asked = pin!(job.acquire_async());
        assert!(poll_once(asked.as_mut()).is_pending());
        store.arrives();
    }
    is_awaited(&store);
}

#[test]
fn a_flush_waits_for_a_wait_whose_future_is_dropped_while_it_accepts_its_grant() {
    let store = Still::at(|step| matches!(step, Step::Accept { .. }));
    let holder = store.flowlock.job("job").lock("a").acquire().unwrap();
    store.stands_still();
    let (job, runtime) = (store.flowlock.job("dropped").lock("a"), runtime());
    let task = runtime.spawn(async move { job.acquire_async().await.map(drop) });
    until("it waits", || store.flowlock.runs().unwrap().len() == 2);
    holder.commit().unwrap();
    store.arrives();
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    is_awaited(&store);
}

/// As many as ask at once are with the store, and the rest waits for a worker.
#[test]
fn a_request_whose_future_is_dropped_before_its_turn_is_not_sent() {
    const WORKERS: usize = 64;
    let sent = Arc::<Mutex<BTreeSet<RunId>>>::default();
    let seen = sent.clone();
    let store = Still::at(move |step| {
        let Step::Acquire(asked) = step else { return false };
        seen.lock().unwrap().insert(asked.attempt.id.clone());
        true
    });
    store.stands_still();
    let job = store.flowlock.job("job").lock("a");
    {
        let mut asked: Vec<_> = (0..WORKERS + 40).map(|_| Box::pin(job.acquire_async())).collect();
        for asked in &mut asked {
            assert!(poll_once(asked.as_mut()).is_pending());
        }
        (0..WORKERS).for_each(|_| store.arrives());
    }
    store.goes_on();
    let last = store.flowlock.job("last").lock("b");
    let last = runtime().block_on(async { tokio::time::timeout(PATIENT, last.acquire_async()).await });
    last.unwrap().unwrap().commit().unwrap();
    assert_eq!(sent.lock().unwrap().len(), WORKERS + 1);
}

/// The answer is there, and the future is dropped before it looks.
#[test]
fn a_grant_that_was_never_looked_at_is_given_back() {
    let store = Still::at(|step| matches!(step, Step::Acquire(_)));
    store.flowlock.create(&["a"], Creation::default()).unwrap();
    // Not answered before the future looked once: a grant that it looks at is its own.
    store.stands_still();
    let job = store.delicate();
    store.stands_still();
    {
        let mut asked = pin!(job.acquire_async());
        let woken = Arc::new(Flag::default());
        let waker = Waker::from(woken.clone());
        assert!(asked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        store.goes_on();
        until("it was answered", || woken.0.load(Ordering::SeqCst));
    }
    store.is_as_it_was();
}

#[test]
fn a_waiting_run_whose_future_is_dropped_as_it_is_handed_the_grant_gives_it_back() {
    let runtime = runtime();
    let store = Still::at(|step| matches!(step, Step::Accept { .. }));
    store.flowlock.create(&["a"], Creation::default()).unwrap();
    let first = store.flowlock.job("first").lock("b").acquire().unwrap();
    let job = store.delicate().lock("b");
    let task = runtime.spawn(async move { job.acquire_async().await.map(Grant::commit) });
    until("it waits", || store.flowlock.runs().unwrap().len() == 2);
    store.stands_still();
    first.commit().unwrap();
    store.arrives();
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    store.is_as_it_was();
}

#[test]
fn a_runtime_that_shuts_down_waits_for_no_store() {
    let store = Still::at(|step| ends(step) || matches!(step, Step::Commit { .. }));
    let waiting = runtime();
    let first = store.flowlock.job("first").lock("b").acquire().unwrap();
    let job = store.flowlock.job("next").lock("b");
    waiting.spawn(async move { job.acquire_async().await.map(Grant::commit) });
    until("it waits", || store.flowlock.runs().unwrap().len() == 2);
    let committing = runtime();
    let grant = store.flowlock.job("job").output("a").acquire().unwrap();
    store.stands_still();
    at_once(|| drop(waiting));
    store.arrives();
    committing.spawn(grant.commit_async());
    store.arrives();
    at_once(|| drop(committing));
    store.goes_on();
    // The commit that was under way counts.
    until("it was recorded", || store.record("a").is_some());
    first.commit().unwrap();
    assert!(store.flowlock.flush(PATIENT));
    assert!(store.store.open().runs().unwrap().is_empty());
}

#[derive(Default)]
struct Flag(AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
