use std::ffi::OsStr;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::super::liveness::byte;
use super::search::Descriptors;
use super::*;

fn wanted(inode: u64, kind: Kind) -> Wanted<'static> {
    Wanted { device: nix::sys::stat::makedev(8, 1), inode, kind, name: OsStr::new("file") }
}

#[test]
fn a_lock_on_another_devices_file_with_the_same_number_is_none_on_this() {
    let line = |device: &str| format!("2: OFDLCK ADVISORY  READ -1 {device}:4711 5 5");
    let none = Wanted { device: nix::sys::stat::makedev(0, 0x2d), ..wanted(4711, Kind::Bytes) };
    let some = wanted(4711, Kind::Bytes);
    let is_on = |wanted: &Wanted<'_>, device: &str| wanted.parse(&line(device)).is_some();
    assert!(is_on(&some, "08:01") && !is_on(&some, "08:02") && !is_on(&some, "00:2d"));
    assert!(is_on(&none, "00:2d") && is_on(&none, "00:30") && !is_on(&none, "08:01"));
}

#[test]
fn a_line_of_the_kernel_is_read_or_passed_over() {
    let ofd = "2: OFDLCK ADVISORY  READ -1 08:01:4711 5 5";
    let lock = Lock { bytes: (5, 5), shared: true, keeper: Keeper::Unseen };
    assert_eq!(wanted(4711, Kind::Bytes).parse(ofd), Some(lock));
    let whole = "1: POSIX  ADVISORY  WRITE 12 08:01:4711 0 EOF";
    let lock = Lock { bytes: (0, u64::MAX), shared: false, keeper: Keeper::Process(12) };
    assert_eq!(wanted(4711, Kind::Bytes).parse(whole), Some(lock));
    for other in
        ["", "1: -> FLOCK ADVISORY WRITE 12 08:01:4711 0 EOF", "1: LEASE ACTIVE READ 1 0:1:4711 0 EOF"]
    {
        assert_eq!(wanted(4711, Kind::Whole).parse(other), None, "{other}");
    }
    assert_eq!(wanted(4712, Kind::Bytes).parse(whole), None);
}

#[test]
fn a_lock_that_the_kernel_lists_twice_is_one() {
    let mine = "2: OFDLCK ADVISORY  READ -1 08:01:4711 5 5";
    let again = "9: OFDLCK ADVISORY  READ -1 08:01:4711 5 5";
    let other = "3: OFDLCK ADVISORY  READ -1 08:01:4711 6 6";
    let bytes = |lines: &[&str]| -> Vec<_> {
        let locks = wanted(4711, Kind::Bytes).parse_all(lines.iter());
        locks.iter().map(|lock| lock.bytes.0).collect()
    };
    assert_eq!(bytes(&[mine, other, again]), [5, 6]);
    assert_eq!(bytes(&[]), [0; 0]);
}

/// Other tests of this process lock files meanwhile too, which is how the problem was found.
#[test]
fn a_lock_is_told_once_while_many_others_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine");
    let _locked = locked(&path);
    let over = AtomicBool::new(false);
    let patient = Limits::within(Duration::from_mins(1));
    let told = std::thread::scope(|scope| {
        for thread in 0..2 {
            let (over, directory) = (&over, directory.path());
            // A new one each time: a process that another test starts has those that are open for a moment.
            let own = move |name: &str| {
                let file = locked(&directory.join(name));
                fs::remove_file(directory.join(name)).unwrap();
                file
            };
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    drop((0..100).map(|n| own(&format!("{thread}-{n}"))).collect::<Vec<_>>());
                }
            });
        }
        let told: Vec<_> = (0..200).map(|_| keeper(&path, &patient).len()).collect();
        over.store(true, Ordering::Relaxed);
        told
    });
    assert!(told.iter().all(|locks| *locks <= 1), "{told:?}");
    let left_out = told.iter().filter(|locks| **locks == 0).count();
    assert!(left_out <= 2, "left out of {left_out} of {} lists", told.len());
}

/// Makes a file with a lock of this process that the kernel does not show by itself.
fn locked(path: &Path) -> File {
    let file = File::create(path).unwrap();
    fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(7, libc::F_WRLCK))).unwrap();
    file
}

fn keeper(path: &Path, limits: &Limits) -> Vec<Keeper> {
    locks_on(path, Kind::Bytes, limits).iter().map(|lock| lock.keeper).collect()
}

#[test]
fn a_keeper_is_found_by_whatever_name_it_calls_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    let _locked = locked(&one);
    let patient = Limits::within(Duration::from_mins(1));
    let me = [Keeper::Process(std::process::id())];
    assert_eq!(keeper(&one, &patient), me);
    fs::hard_link(&one, &other).unwrap();
    assert_eq!(keeper(&other, &patient), me);
}

#[test]
fn a_keeper_is_looked_for_within_the_limits_and_nobody_is_named_after_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one");
    let _locked = locked(&path);
    let meta = fs::metadata(&path).unwrap();
    let wanted =
        Wanted { device: meta.dev(), inode: meta.ino(), kind: Kind::Bytes, name: path.file_name().unwrap() };
    let over = Limits::within(Duration::ZERO);
    let signalled = Some(Arc::new(AtomicBool::new(true)));
    let interrupted = Limits { interrupted: signalled, ..Limits::within(Duration::from_mins(1)) };
    for limits in [over, interrupted] {
        let mut locks = [Lock { bytes: (7, 7), shared: false, keeper: Keeper::Unseen }];
        wanted.find_keepers(&mut locks, Descriptors::All, &limits);
        assert_eq!(locks[0].keeper, Keeper::NotFound);
    }
    assert!(search(Duration::from_hours(1), None).left() <= SEARCH);
    assert!(search(Duration::from_millis(3), None).left() <= Duration::from_millis(3));
}
