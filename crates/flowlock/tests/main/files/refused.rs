//! Writes that get no turn, no right, or an error of the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flowlock::store::StoreErrorKind;
use flowlock::store::sqlite::SqliteStore;
use flowlock_testkit::{Call, Fault};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{PATIENT, Place, is_written, kind, process, succeed, write};

#[test]
fn a_writer_that_stands_still_costs_the_others_their_patience_and_nothing_more() {
    let place = Place::new();
    let flowlock = place.open();
    write(&flowlock, "a").unwrap();
    let lock = fs::File::options().write(true).open(place.beside("-lock")).unwrap();
    let still = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let said = write(&flowlock, "b").unwrap_err();
                assert_eq!(kind(&said), Some(StoreErrorKind::Unreachable));
                // Not its own process id: that would read as if somebody else kept it.
                assert!(said.to_string().contains("other requests of this process were ahead"), "{said}");
            });
        }
    });
    // One repetition each, and the withdrawal with one.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(threads_that_queue() <= 2);
    drop(still);
    write(&flowlock, "c").unwrap();
    write(&place.open(), "d").unwrap();
}

/// Those of this test, give or take one of another.
fn threads_that_queue() -> usize {
    let names = fs::read_dir("/proc/self/task").unwrap();
    let comms = names.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    comms.filter(|comm| comm.trim() == "flowlock-queue").count()
}

#[test]
fn another_user_is_told_what_is_not_allowed() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let as_nobody = |part: &str, path: &Path| process(part, path).uid(65_534).gid(65_534).spawn().unwrap();
    let (mine, empty, sealed) = (Place::new(), Place::new(), Place::new());
    write(&mine.open(), "a").unwrap();
    write(&sealed.open(), "a").unwrap();
    for place in [&mine, &empty, &sealed] {
        fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in sealed.files() {
        fs::set_permissions(sealed.directory.path().join(name), fs::Permissions::from_mode(0o444)).unwrap();
    }
    succeed([
        as_nobody("refused cannot be", &mine.path()),
        as_nobody("refused Permission denied", &empty.path()),
        as_nobody("refused cannot", &sealed.path()),
    ]);
    assert!(empty.files().is_empty());
    assert!(is_written(&mine.open(), "a"));
}

#[test]
fn an_error_at_any_write_or_sync_is_never_called_a_success_and_damages_nothing() {
    let refusals: [fn(Fault, u64) -> Fault; 2] =
        [|fault, n| fault.refuse_once(n, Errno::EIO), |fault, n| fault.refuse_from(n, Errno::EIO)];
    for refuse in refusals {
        for n in 1.. {
            let place = Place::new();
            write(&place.open(), "seed").unwrap();
            let effects = [Call::Write, Call::Sync, Call::Truncate];
            let fault = refuse(Fault::below(place.directory.path()).calls(&effects), n).inject();
            let mut child = process("write on a bad disk: a", &place.path());
            let done = fault.load_into(&mut child).stderr(Stdio::null()).status().unwrap().success();
            assert!(!done || is_written(&place.open(), "a"), "call {n}");
            assert!(is_written(&place.open(), "seed"), "call {n}");
            write(&place.open(), "next").unwrap();
            let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
            assert_eq!(store.check().unwrap(), Vec::<String>::new(), "call {n}");
            if fault.fired() == 0 {
                assert!(done && n > 3, "{n} calls are too few");
                break;
            }
        }
    }
}
