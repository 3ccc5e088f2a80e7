//! A run id that is used again, while the wait or the grant of the earlier run is still in the process.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use flowlock::step::Unlock;
use flowlock::{Begun, Error, Flowlock, Grant, IfWritten, Job, Lost, Pending, Progress};

use super::Fresh;

const PATIENT: Duration = Duration::from_secs(20);
/// Sooner than by a heartbeat or a renewal.
const SOON: Duration = Duration::from_secs(4);
const BRIEF: Duration = Duration::from_millis(100);

/// Waits as soon as the earlier run of its id is over, and has asked the store before it returns.
fn waits(job: &Job) -> Pending {
    let until = Instant::now() + PATIENT;
    let mut run = loop {
        match job.begin() {
            Ok(Begun::Waiting(run)) => break run,
            Err(Error::RunIdInUse { .. }) => assert!(Instant::now() < until, "the id stays in use"),
            other => panic!("{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(matches!(run.wait(BRIEF).unwrap(), Progress::Waiting));
    run
}

fn is_granted_soon(mut run: Pending, holder: Grant) {
    holder.commit().unwrap();
    assert!(matches!(run.wait(SOON).unwrap(), Progress::Granted(_)), "nobody told it");
}

#[test]
fn a_wait_is_told_of_its_grant_however_an_earlier_one_of_its_run_id_ends() {
    let ways: [fn(Pending); 4] = [
        drop,
        |mut earlier| assert!(matches!(earlier.wait(PATIENT), Err(Error::TimedOut { .. }))),
        |earlier| earlier.cancel().unwrap(),
        std::mem::forget,
    ];
    let store = Fresh::new();
    let flowlock = store.open();
    for end in ways {
        let holder = flowlock.job("holder").lock("a").acquire().unwrap();
        let job = flowlock.job("next").lock("a").run_id("task.1");
        let earlier = waits(&job.clone().wait(BRIEF * 3));
        let later = waits(&job);
        end(earlier);
        is_granted_soon(later, holder);
    }
}

#[test]
fn a_wait_is_told_of_its_grant_though_an_earlier_one_of_its_run_id_was_refused() {
    let store = Fresh::new();
    let flowlock = store.open();
    let writer = flowlock.job("writer").output("a").acquire().unwrap();
    let holder = flowlock.job("holder").lock("b").acquire().unwrap();
    let mut earlier = waits(&flowlock.job("next").output("a").if_written(IfWritten::Fail).run_id("task.1"));
    writer.commit().unwrap();
    let later = waits(&flowlock.job("next").lock("b").run_id("task.1"));
    let refused = earlier.wait(PATIENT);
    assert!(refused.is_err(), "{refused:?}");
    is_granted_soon(later, holder);
}

#[test]
fn a_wait_is_told_of_its_grant_though_a_future_of_its_run_id_is_dropped() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Fresh::new();
    let flowlock = store.open();
    let holder = flowlock.job("holder").lock("a").acquire().unwrap();
    let job = flowlock.job("next").lock("a").run_id("task.1");
    let limited = job.clone().wait(BRIEF * 3);
    let mut future = Box::pin(limited.acquire_async());
    let begins = async {
        tokio::select! {
            ended = future.as_mut() => panic!("{ended:?}"),
            () = tokio::time::sleep(BRIEF * 2) => {}
        }
    };
    runtime.block_on(begins);
    let later = waits(&job);
    drop(future);
    is_granted_soon(later, holder);
}

/// One task, delivered twice to one process.
#[test]
fn two_threads_that_wait_with_one_run_id_never_hang() {
    let store = Fresh::new();
    let flowlock = store.open();
    for round in 0..8 {
        let holder = flowlock.job("holder").lock("a").acquire().unwrap();
        let job = flowlock.job("next").lock("a").run_id(format!("task.{round}"));
        let limited = job.clone().wait(BRIEF * 2);
        let first = std::thread::spawn(move || limited.acquire().map(drop));
        std::thread::sleep(BRIEF);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut second = waits(&job);
            tell.send(None).unwrap();
            tell.send(Some(matches!(second.wait(SOON), Ok(Progress::Granted(_))))).unwrap();
        });
        assert_eq!(told.recv_timeout(PATIENT), Ok(None));
        let first = first.join().unwrap();
        assert!(matches!(first, Err(Error::TimedOut { .. } | Error::RunIdInUse { .. })), "{first:?}");
        holder.commit().unwrap();
        assert_eq!(told.recv_timeout(PATIENT), Ok(Some(true)));
    }
}

/// Holds `name` as run task.1, and tells when that is lost.
fn holds(flowlock: &Flowlock, name: &str) -> (Grant, mpsc::Receiver<Lost>) {
    let job = flowlock.job("job").lock(name).run_id("task.1").lease(Duration::from_mins(5));
    let grant = job.acquire().unwrap();
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    (grant, told)
}

fn hears_soon_of_its_unlock(flowlock: &Flowlock, (grant, told): &(Grant, mpsc::Receiver<Lost>)) {
    assert!(flowlock.unlock(grant.run_id(), grant.token(), Unlock::Now).unwrap());
    told.recv_timeout(SOON).unwrap();
}

#[test]
fn an_unlock_is_heard_at_once_though_an_earlier_grant_of_the_run_id_is_still_here() {
    let store = Fresh::new();
    let flowlock = store.open();
    let earlier = holds(&flowlock, "a");
    // It listens from now on.
    hears_soon_of_its_unlock(&flowlock, &earlier);
    let later = holds(&flowlock, "a");
    hears_soon_of_its_unlock(&flowlock, &later);
}

#[test]
fn an_unlock_is_heard_at_once_though_an_earlier_wait_of_the_run_id_is_still_here() {
    let store = Fresh::new();
    let flowlock = store.open();
    let _holder = flowlock.job("holder").lock("a").acquire().unwrap();
    // Both have begun to listen when this one has heard.
    let heard = holds(&flowlock, "b");
    hears_soon_of_its_unlock(&flowlock, &heard);
    drop(heard);
    let earlier = waits(&flowlock.job("next").lock("a").run_id("task.1").wait(BRIEF * 2));
    std::thread::sleep(BRIEF * 3);
    let later = holds(&flowlock, "b");
    hears_soon_of_its_unlock(&flowlock, &later);
    drop(earlier);
}
