//! Many waiting runs, and many connections, in one process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use flowlock::step::Step;
use flowlock::{Begun, Progress, Ticket};

use super::{Fresh, PATIENT, SHORT};

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
    // The waiters' thread listens, has no waiting run, and sleeps.
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
    // It asks once by itself, for what happened before the thread listened for it.
    assert!(matches!(last.wait(Duration::ZERO).unwrap(), Progress::Waiting));
    assert_eq!(asked.swap(0, Ordering::SeqCst), 1);
    told.recv_timeout(PATIENT).unwrap();
    assert!(matches!(last.wait(Duration::from_millis(200)).unwrap(), Progress::Waiting));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
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
