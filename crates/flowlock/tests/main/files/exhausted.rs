//! Processes that have no descriptor or thread to spare.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use flowlock::{Begun, Progress};

use super::{Place, open, process, succeed, write};

#[test]
fn a_process_without_a_descriptor_to_spare_goes_on() {
    let place = Place::new();
    succeed([process("exhausted", &place.path()).spawn().unwrap()]);
}

pub(super) fn use_the_last_descriptor(path: &Path) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (ours, theirs) = (open(path).unwrap(), open(path).unwrap());
    write(&ours, "a").unwrap();
    write(&theirs, "a").unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    assert!(fs::File::open("/dev/null").is_err());
    write(&ours, "b").unwrap();
    let first = ours.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(mut second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
    assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    first.commit().unwrap();
    // Without a socket only the heartbeat tells.
    let Progress::Granted(grant) = second.wait(Duration::from_secs(8)).unwrap() else { panic!() };
    grant.commit().unwrap();
}

#[test]
fn a_run_waits_although_no_thread_can_be_started_for_it() {
    let place = Place::new();
    // Room for the stack of a new thread is what the part then takes away.
    succeed([process("threadless", &place.path()).env("RUST_MIN_STACK", "1073741824").spawn().unwrap()]);
}

pub(super) fn wait_without_a_thread(path: &Path) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (ours, theirs) = (open(path).unwrap(), open(path).unwrap());
    let first = ours.job("first").lock("a").acquire().unwrap();
    let third = theirs.job("third").lock("b").acquire().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    let pages: u64 =
        fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    setrlimit(Resource::RLIMIT_AS, pages * 4_096 + (512 << 20), hard).unwrap();
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    let Begun::Waiting(mut second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
    let Begun::Waiting(mut fourth) = ours.job("fourth").lock("b").begin().unwrap() else { panic!() };
    assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    first.commit().unwrap();
    // It looks for itself every five seconds.
    let begin = Instant::now();
    let granted = loop {
        // Its caller wants the thread back all the time.
        match second.wait(Duration::from_secs(1)).unwrap() {
            Progress::Granted(grant) => break grant,
            Progress::Waiting => assert!(begin.elapsed() < Duration::from_secs(8)),
        }
    };
    granted.commit().unwrap();
    // When there is room for it again the thread is tried again.
    setrlimit(Resource::RLIMIT_AS, hard, hard).unwrap();
    assert!(matches!(fourth.wait(Duration::from_millis(5_100)).unwrap(), Progress::Waiting));
    third.commit().unwrap();
    assert!(matches!(fourth.wait(Duration::from_secs(2)).unwrap(), Progress::Granted(_)));
}
