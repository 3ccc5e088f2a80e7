//! Real stores that stand still while something is dropped, and a process that ends right after a drop.

use std::fs::File;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use flowlock::{Begun, Flowlock, Outcome, RunId, State};
use flowlock_testkit::RedisServer;
use nix::fcntl::{Flock, FlockArg};

/// Far more than handing over takes, far less than `store_timeout` (2 s).
const AT_ONCE: Duration = Duration::from_millis(500);
const PATIENT: Duration = Duration::from_secs(20);

#[track_caller]
fn at_once(what: &str, act: impl FnOnce()) {
    let begun = Instant::now();
    act();
    let took = begun.elapsed();
    println!("{what}: {took:?}");
    assert!(took < AT_ONCE, "{what} waited for {took:?}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Keeps the turn to write to the store in this file.
fn locked(store: &Path) -> Flock<File> {
    let turn = File::open(format!("{}-lock", store.display())).unwrap();
    Flock::lock(turn, FlockArg::LockExclusive).unwrap()
}

/// Drops one of everything while the store stands still; all of it is told when it goes on.
fn nothing_waits<S>(flowlock: &Flowlock, stand_still: impl FnOnce() -> S, go_on: impl FnOnce(S)) {
    let grant = flowlock.job("first").lock("a").acquire().unwrap();
    let inside = flowlock.job("inside").lock("b").acquire().unwrap();
    let committed = flowlock.job("committed").output("c").acquire().unwrap();
    let Begun::Waiting(pending) = flowlock.job("next").lock("a").begin().unwrap() else { panic!() };
    let (waits, commits) = (runtime(), runtime());
    let job = flowlock.job("waits").lock("a");
    waits.spawn(async move { job.acquire_async().await.map(|grant| grant.run_id().clone()) });
    let begun = Instant::now();
    while flowlock.runs().unwrap().len() < 5 {
        assert!(begun.elapsed() < PATIENT);
        std::thread::sleep(Duration::from_millis(5));
    }
    let still = stand_still();
    at_once("drop(pending)", || drop(pending));
    at_once("drop(grant)", || drop(grant));
    at_once("drop(grant) in an async task", || commits.block_on(async move { drop(inside) }));
    at_once("drop(runtime) with a run that waits", || drop(waits));
    commits.spawn(committed.commit_async());
    std::thread::sleep(Duration::from_millis(50));
    at_once("drop(runtime) with a commit under way", || drop(commits));
    go_on(still);
    let begun = Instant::now();
    while !flowlock.runs().is_ok_and(|runs| runs.is_empty()) {
        assert!(begun.elapsed() < PATIENT, "{:?}", flowlock.runs());
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = flowlock.names(&[flowlock::Name::parse("c").unwrap()]).unwrap();
    assert!(seen[0].record.is_some(), "the commit that was under way counts");
}

#[test]
fn nothing_that_is_dropped_waits_for_a_server_that_is_frozen() {
    let server = RedisServer::start();
    let flowlock = Flowlock::open(&server.url()).unwrap();
    nothing_waits(&flowlock, || server.stop(), |()| server.cont());
}

#[test]
fn nothing_that_is_dropped_waits_for_a_file_that_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flowlock.db");
    let flowlock = Flowlock::open(&format!("sqlite:{}", path.display())).unwrap();
    nothing_waits(&flowlock, || locked(&path), drop);
}

/// What could not be ended while the store stood still is ended when it goes on, long before any lease or wait ends.
fn nothing_is_left_behind<S>(url: &str, stand_still: impl FnOnce() -> S, go_on: impl FnOnce(S)) {
    const HOUR: Duration = Duration::from_hours(1);
    let others = Flowlock::open(url).unwrap();
    let flowlock =
        Flowlock::builder().lease(HOUR).store_timeout(Duration::from_millis(500)).open(url).unwrap();
    let holder = others.job("holder").lock("a").lease(HOUR).acquire().unwrap();
    let waits = |job: &str| match flowlock.job(job).lock("a").begin().unwrap() {
        Begun::Waiting(run) => run,
        Begun::Granted(_) => panic!("{job} got what another one holds"),
    };
    let (cancelled, _besides) = (waits("cancelled"), waits("besides"));
    let [failed, given_back] = ["b", "c"].map(|lock| flowlock.job("ended").lock(lock).acquire().unwrap());
    let still = stand_still();
    assert!(cancelled.cancel().is_err());
    failed.fail();
    given_back.give_back();
    assert!(!flowlock.flush(Duration::ZERO));
    go_on(still);
    let begun = Instant::now();
    while others.runs().unwrap().len() > 2 {
        assert!(begun.elapsed() < PATIENT, "{:?}", others.runs());
        std::thread::sleep(Duration::from_millis(20));
    }
    holder.commit().unwrap();
}

#[test]
fn what_could_not_be_ended_at_a_frozen_server_is_ended_when_it_goes_on() {
    let server = RedisServer::start();
    nothing_is_left_behind(&server.url(), || server.stop(), |()| server.cont());
}

#[test]
fn what_could_not_be_ended_in_a_locked_file_is_ended_when_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flowlock.db");
    nothing_is_left_behind(&format!("sqlite:{}", path.display()), || locked(&path), drop);
}

/// The store could be asked for an hour; an interrupted caller gives it a second more.
fn an_interrupted_cancel_ends<S>(url: &str, stand_still: impl FnOnce() -> S, go_on: impl FnOnce(S)) {
    let interrupted = Arc::<AtomicBool>::default();
    let settings = Flowlock::builder().store_timeout(Duration::from_hours(1));
    let flowlock = settings.interrupted_by(interrupted.clone()).open(url).unwrap();
    let _holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let Begun::Waiting(pending) = flowlock.job("next").lock("a").begin().unwrap() else { panic!() };
    let still = stand_still();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(pending.cancel()));
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it is not interrupted yet");
    interrupted.store(true, Ordering::Relaxed);
    let cancelled = told.recv_timeout(PATIENT).expect("it ends long before the hour");
    assert!(cancelled.is_err());
    interrupted.store(false, Ordering::Relaxed);
    go_on(still);
    assert!(flowlock.flush(PATIENT));
    assert_eq!(flowlock.runs().unwrap().len(), 1);
}

#[test]
fn an_interrupted_cancel_does_not_wait_for_a_frozen_server() {
    let server = RedisServer::start();
    an_interrupted_cancel_ends(&server.url(), || server.stop(), |()| server.cont());
}

#[test]
fn an_interrupted_cancel_does_not_wait_for_a_locked_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flowlock.db");
    an_interrupted_cancel_ends(&format!("sqlite:{}", path.display()), || locked(&path), drop);
}

/// Those that came to the file wait there for their turn; dropped meanwhile, they leave no trace in it.
#[test]
fn a_request_whose_future_is_dropped_while_the_file_is_locked_is_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flowlock.db");
    let flowlock = Flowlock::open(&format!("sqlite:{}", path.display())).unwrap();
    flowlock.job("first").lock("a").acquire().unwrap().commit().unwrap();
    let outcomes = || flowlock.namespaces().unwrap()[0].1.as_ref().unwrap().outcomes;
    let before = outcomes();
    let turn = locked(&path);
    let job = flowlock.job("job").lock("a");
    {
        let mut asked: Vec<_> = (0..30).map(|_| Box::pin(job.try_acquire_async())).collect();
        for asked in &mut asked {
            assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        // They come to the file; should one not have come there, it is not sent for another reason.
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(turn);
    assert!(flowlock.flush(PATIENT));
    flowlock.job("last").lock("a").acquire().unwrap().commit().unwrap();
    assert_eq!(outcomes() - before, 1);
}

/// More than there are workers (64).
const MANY: usize = 80;

type Call = Pin<Box<dyn Future<Output = Result<(), flowlock::Error>>>>;

/// While the store stands still for many commits, each other call is told so within its own time.
fn calls_end_in_time_beside_commits<S>(url: &str, stand_still: impl FnOnce() -> S, go_on: impl FnOnce(S)) {
    const STORE_TIMEOUT: Duration = Duration::from_secs(1);
    let open = || Flowlock::builder().lease(Duration::from_mins(1)).store_timeout(STORE_TIMEOUT).open(url);
    let flowlock = open().unwrap();
    let held = flowlock.job("held").lock("held").acquire().unwrap();
    let grants: Vec<_> =
        (0..MANY).map(|n| flowlock.job("job").output(format!("o{n}")).acquire().unwrap()).collect();
    let runtime = runtime();
    let waits = flowlock.job("waits").lock("held").wait(Duration::from_secs(2));
    let waits = runtime.spawn(async move { waits.acquire_async().await.map(drop) });
    let begun = Instant::now();
    while flowlock.runs().unwrap().len() < MANY + 2 {
        assert!(begun.elapsed() < PATIENT);
        std::thread::sleep(Duration::from_millis(5));
    }
    let still = stand_still();
    let commits: Vec<_> = grants.into_iter().map(|grant| runtime.spawn(grant.commit_async())).collect();
    std::thread::sleep(Duration::from_millis(200));
    let in_time = |what: &'static str, call: Call| {
        let asked = Instant::now();
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENT, call).await });
        println!("{what}: {:?}", asked.elapsed());
        assert!(answer.unwrap_or_else(|_| panic!("{what} has no answer")).is_err(), "{what} cannot succeed");
    };
    for _ in 0..3 {
        let tries = flowlock.job("try").lock("free");
        in_time("a try", Box::pin(async move { tries.try_acquire_async().await.map(drop) }));
    }
    in_time("a wait", Box::pin(async move { waits.await.unwrap() }));
    let fails = runtime.spawn(held.fail_async());
    runtime.block_on(async { tokio::time::timeout(PATIENT, fails).await }).unwrap().unwrap();
    go_on(still);
    for commit in commits {
        runtime.block_on(async { tokio::time::timeout(PATIENT, commit).await }).unwrap().unwrap().unwrap();
    }
}

#[test]
fn while_a_frozen_server_keeps_many_commits_waiting_each_other_call_ends_in_its_time() {
    let server = RedisServer::start();
    calls_end_in_time_beside_commits(&server.url(), || server.stop(), |()| server.cont());
}

#[test]
fn while_a_locked_file_keeps_many_commits_waiting_each_other_call_ends_in_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flowlock.db");
    calls_end_in_time_beside_commits(&format!("sqlite:{}", path.display()), || locked(&path), drop);
}

/// The drops take longer than a request has, which has its own time all the same.
#[test]
fn a_request_after_many_drops_of_its_own_is_asked_for_as_long_as_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/flowlock.db", directory.path().display());
    let flowlock = Flowlock::builder().store_timeout(Duration::from_millis(500)).open(&url).unwrap();
    let holder = Flowlock::open(&url).unwrap().job("holder").lock("a").acquire().unwrap();
    for _ in 0..3 {
        let waits: Vec<_> = (0..600).map(|_| flowlock.job("waits").lock("a").begin().unwrap()).collect();
        drop(waits);
        let job = flowlock.job("try").lock("a");
        let asked = Instant::now();
        assert!(matches!(job.try_acquire().unwrap(), flowlock::Acquired::Blocked(_)));
        println!("blocked after {:?}", asked.elapsed());
    }
    assert!(flowlock.flush(PATIENT));
    holder.commit().unwrap();
}

/// None of its own is needed.
#[test]
fn a_wait_ends_in_its_time_on_a_runtime_without_a_timer() {
    let flowlock = Flowlock::open("memory:").unwrap();
    let held = flowlock.job("held").lock("a").acquire().unwrap();
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let wait = flowlock.job("waits").lock("a").wait(Duration::from_millis(300));
    let begun = Instant::now();
    let answer = bare.block_on(wait.acquire_async());
    assert!(matches!(answer, Err(flowlock::Error::TimedOut { .. })), "{answer:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    held.commit().unwrap();
    bare.block_on(wait.acquire_async()).unwrap().commit().unwrap();
}

const URL: &str = "FLOWLOCK_TEST_SHORT_PROGRAM";

/// Not a test of its own: what the process of the next one does.
#[test]
fn short_program() {
    let Ok(url) = std::env::var(URL) else { return };
    let flowlock = Flowlock::open(&url).unwrap();
    drop(flowlock.job("short").lock("a").run_id("short.1").acquire().unwrap());
    std::process::exit(0);
}

fn ends_right_after_a_drop(url: &str) {
    let flowlock = Flowlock::open(url).unwrap();
    let program = std::env::current_exe().unwrap();
    let ended =
        Command::new(program).args(["--exact", "still::short_program"]).env(URL, url).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let seen = flowlock.run(&RunId::parse("short.1").unwrap()).unwrap().unwrap();
    assert_eq!(seen.run.state, State::Ended(Outcome::Failed));
}

#[test]
fn a_drop_right_before_the_end_of_a_process_is_told_to_a_server() {
    let server = RedisServer::start();
    ends_right_after_a_drop(&server.url());
}

#[test]
fn a_drop_right_before_the_end_of_a_process_is_told_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    ends_right_after_a_drop(&format!("sqlite:{}/flowlock.db", directory.path().display()));
}
