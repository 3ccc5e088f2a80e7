//! A process with many waiting runs, and a holder that dies.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flowlock::{Acquired, Begun, Progress};

use super::{PATIENT, Place, open, process};

/// Of the runs of one process the last four wait for a process that dies, and sixteen others were there before.
#[test]
fn the_dead_are_found_at_once_however_many_runs_of_a_process_wait() {
    let place = Place::new();
    let mut holder = process("hold", &place.path()).stdin(Stdio::piped()).spawn().unwrap();
    let flowlock = place.open();
    let names = ["a", "b", "c", "d"];
    let is_held =
        |name| matches!(flowlock.job("try").lock(name).try_acquire().unwrap(), Acquired::Blocked(_));
    let until = Instant::now() + PATIENT;
    while !names.iter().all(|name| is_held(*name)) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    let living = flowlock.job("living").lock("e").acquire().unwrap();
    let wait = |name: &str| match flowlock.job("waits").lock_shared(name).begin().unwrap() {
        Begun::Waiting(mut run) => {
            assert!(matches!(run.wait(Duration::ZERO).unwrap(), Progress::Waiting));
            run
        }
        Begun::Granted(_) => panic!("{name} is free"),
    };
    let others: Vec<_> = (0..20).map(|_| wait("e")).collect();
    let waiting: Vec<_> = names.iter().map(|name| wait(name)).collect();
    // A heartbeat of this process, which asks about those who were there before.
    std::thread::sleep(Duration::from_millis(5_500));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let dead = Instant::now();
    for mut run in waiting {
        assert!(matches!(run.wait(Duration::from_secs(3)).unwrap(), Progress::Granted(_)));
    }
    assert!(dead.elapsed() < Duration::from_secs(3), "{:?}", dead.elapsed());
    drop((others, living));
}

pub(super) fn hold(path: &Path) {
    let flowlock = open(path).unwrap();
    let _grants = ["a", "b", "c", "d"].map(|name| flowlock.job("holder").lock(name).acquire().unwrap());
    // Until it is killed.
    let _ = std::io::stdin().read_line(&mut String::new());
}
