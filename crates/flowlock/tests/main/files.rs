//! The embedded store among other processes, users and hands on its files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{Content, Store as _, StoreErrorKind, View};
use flowlock::{Acquired, Begun, ClientId, Error, Flowlock, Lost, Namespace, Progress};
use flowlock_testkit::{Call, Fault};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

const PATIENT: Duration = Duration::from_secs(20);
/// Tells a copy of this program which part to play.
const PART: &str = "PART_IN_TEST";

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }
    fn path(&self) -> PathBuf {
        self.directory.path().join("flowlock.db")
    }
    fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("flowlock.db{suffix}"))
    }
    fn open(&self) -> Flowlock {
        open(&self.path()).unwrap()
    }
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn open(path: &Path) -> Result<Flowlock, Error> {
    open_within(path, Duration::from_millis(300))
}

fn open_within(path: &Path, patience: Duration) -> Result<Flowlock, Error> {
    Ok(Flowlock::builder()
        .store_timeout(patience)
        .commit_wait(Duration::from_millis(1))
        .with_store(Arc::new(SqliteStore::open(path, patience)?)))
}

fn write(flowlock: &Flowlock, name: &str) -> Result<(), Error> {
    flowlock.job("write").output(name).lease(Duration::from_secs(1)).acquire()?.commit().map(drop)
}

fn is_written(flowlock: &Flowlock, name: &str) -> bool {
    pages(flowlock, name, 100).iter().any(|found| found == name)
}

/// All names with a prefix, read in pages.
fn pages(flowlock: &Flowlock, prefix: &str, limit: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let view = View::Records { prefix: prefix.into(), after, limit };
        let Content::Records(records, next) = flowlock.view(&view).unwrap().content else { panic!() };
        names.extend(records.iter().map(|record| record.name.to_string()));
        after = next;
        if after.is_none() {
            return names;
        }
    }
}

fn kind(error: &Error) -> Option<StoreErrorKind> {
    match error {
        Error::Store(error) => Some(error.kind()),
        _ => None,
    }
}

/// Another process that plays a part with a store.
fn process(part: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "files::another_process_plays_its_part", "--nocapture"])
        .env(PART, part)
        .env("STORE_IN_TEST", path)
        .stdout(Stdio::null());
    command
}

#[test]
fn another_process_plays_its_part() {
    let Ok(part) = std::env::var(PART) else { return };
    let path = PathBuf::from(std::env::var_os("STORE_IN_TEST").unwrap());
    match part.split_once(' ').unwrap_or((&part, "")) {
        // Many write at once, on a machine that may be busy.
        ("write", name) => write(&open_within(&path, flowlock_testkit::PATIENCE).unwrap(), name).unwrap(),
        ("refused", words) => {
            let said = open(&path).and_then(|flowlock| write(&flowlock, "a")).unwrap_err();
            assert_eq!(kind(&said), Some(StoreErrorKind::Unusable), "{said}");
            assert!(said.to_string().contains(words), "{said}");
        }
        ("exhausted", _) => use_the_last_descriptor(&path),
        ("hold", _) => hold(&path),
        ("threadless", _) => wait_without_a_thread(&path),
        _ => panic!("no such part: {part}"),
    }
}

fn succeed(children: impl IntoIterator<Item = Child>) {
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn many_processes_may_make_the_store_at_once() {
    for _ in 0..5 {
        let place = Place::new();
        let children: Vec<_> = (0..12)
            .map(|number| process(&format!("write name{number}"), &place.path()).spawn().unwrap())
            .collect();
        succeed(children);
        let flowlock = place.open();
        assert!((0..12).all(|number| is_written(&flowlock, &format!("name{number}"))));
    }
}

#[test]
fn a_process_killed_while_it_makes_the_store_leaves_nothing_in_the_way() {
    let place = Place::new();
    for round in 0..60 {
        let mut child = process("write a", &place.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(1_000 + round * 300));
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 2 == 0 && place.path().exists() {
            fs::remove_file(place.path()).unwrap();
        }
    }
    let _ = fs::remove_file(place.path());
    write(&place.open(), "a").unwrap();
    let ours = ["", "-live", "-lock", "-shm", "-wake", "-wal"].map(|suffix| format!("flowlock.db{suffix}"));
    assert_eq!(place.files(), ours);
}

#[test]
fn a_store_removed_without_its_journal_begins_anew_and_whole() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        write(&place.open(), name).unwrap();
    }
    fs::remove_file(place.path()).unwrap();
    let flowlock = place.open();
    assert!(!is_written(&flowlock, "a"));
    write(&flowlock, "d").unwrap();
    let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

#[test]
fn nobody_is_declared_dead_because_the_liveness_file_was_removed() {
    let place = Place::new();
    let (ours, theirs) = (place.open(), place.open());
    let held = ours.job("holder").lock("a").acquire().unwrap();
    fs::remove_file(place.beside("-live")).unwrap();
    for flowlock in [theirs, place.open()] {
        assert!(matches!(flowlock.job("next").lock("a").try_acquire().unwrap(), Acquired::Blocked(_)));
    }
    held.commit().unwrap();
}

#[test]
fn the_dead_are_found_in_a_new_liveness_file_too() {
    let place = Place::new();
    let ours = place.open();
    fs::remove_file(place.beside("-live")).unwrap();
    let theirs = SqliteStore::open(&place.path(), PATIENT).unwrap();
    let liveness_lock = theirs.new_liveness_lock().unwrap().unwrap();
    assert!(ours.store().is_alive(liveness_lock.liveness));
    let liveness = liveness_lock.liveness;
    drop(liveness_lock);
    assert!(!ours.store().is_alive(liveness));
}

#[test]
fn a_store_that_is_removed_or_replaced_while_open_is_not_made_anew() {
    for replacement in [None, Some(())] {
        let place = Place::new();
        let flowlock = place.open();
        write(&flowlock, "a").unwrap();
        fs::rename(place.path(), place.beside(".away")).unwrap();
        if replacement.is_some() {
            write(&place.open(), "b").unwrap();
        }
        for _ in 0..2 {
            let said = write(&flowlock, "c").unwrap_err();
            assert_eq!(kind(&said), Some(StoreErrorKind::Replaced), "{said}");
            assert!(said.to_string().contains("flowlock.db was removed or replaced"), "{said}");
        }
        assert_eq!(place.path().exists(), replacement.is_some());
    }
}

#[test]
fn what_was_held_in_a_store_that_was_replaced_is_reported_lost_before_its_lease_ends() {
    let place = Place::new();
    let flowlock = place.open();
    let lease = Duration::from_secs(6);
    let grant = flowlock.job("holder").output("a").lease(lease).acquire().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    fs::rename(place.path(), place.beside(".away")).unwrap();
    write(&place.open(), "b").unwrap();
    assert_eq!(told.recv_timeout(lease).unwrap(), Lost::WithTheStore);
    assert!(grant.commit().is_err());
}

#[test]
fn a_journal_that_is_removed_while_open_is_noticed() {
    for suffix in ["-wal", "-shm"] {
        let place = Place::new();
        let flowlock = place.open();
        write(&flowlock, "a").unwrap();
        fs::remove_file(place.beside(suffix)).unwrap();
        let said = write(&flowlock, "b").unwrap_err();
        assert_eq!(kind(&said), Some(StoreErrorKind::Replaced), "{said}");
    }
}

#[test]
fn an_index_that_is_cut_off_while_open_is_made_anew() {
    let place = Place::new();
    let flowlock = place.open();
    write(&flowlock, "a").unwrap();
    // Touching a part of it that is not there any more would kill this process.
    let cut = || fs::File::options().write(true).open(place.beside("-shm")).unwrap().set_len(0).unwrap();
    cut();
    write(&flowlock, "b").unwrap();
    cut();
    assert!(["a", "b"].iter().all(|name| is_written(&flowlock, name)));
    succeed([process("write c", &place.path()).spawn().unwrap()]);
    write(&flowlock, "d").unwrap();
    assert!(["c", "d"].iter().all(|name| is_written(&flowlock, name)));
    drop(flowlock);
    let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

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
fn sockets_of_dead_processes_do_not_pile_up() {
    let place = Place::new();
    let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
    drop(store.inbox(&Namespace::default(), ClientId(0)).unwrap());
    let directory = place.beside("-wake");
    for number in 0..100 {
        let socket = directory.join(ClientId(1_000 + number).to_string());
        drop(UnixDatagram::bind(&socket).unwrap());
        let long_ago = nix::sys::time::TimeSpec::new(1, 0);
        nix::sys::stat::utimensat(
            nix::fcntl::AT_FDCWD,
            &socket,
            &long_ago,
            &long_ago,
            nix::sys::stat::UtimensatFlags::NoFollowSymlink,
        )
        .unwrap();
    }
    let living = store.inbox(&Namespace::default(), ClientId(1)).unwrap();
    for client in 2..100 {
        drop(store.inbox(&Namespace::default(), ClientId(client)).unwrap());
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the living one stays");
    drop(living);
}

#[test]
fn a_connection_that_ends_takes_its_socket_with_it() {
    let place = Place::new();
    let sockets = || fs::read_dir(place.beside("-wake")).unwrap().count();
    for _ in 0..20 {
        let (ours, theirs) = (place.open(), place.open());
        let first = ours.job("first").lock("a").acquire().unwrap();
        let Begun::Waiting(second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
        flowlock_testkit::until("a socket", PATIENT, || (sockets() == 1).then_some(()));
        second.cancel().unwrap();
        // At once: the thread that listens may not come to it before the process ends.
        theirs.stop_listening(PATIENT);
        assert_eq!(sockets(), 0);
        first.commit().unwrap();
    }
}

#[test]
fn a_path_longer_than_a_socket_address_hands_on_as_fast() {
    let place = Place::new();
    let deep = place.directory.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("flowlock.db");
    let (ours, theirs) = (open(&path).unwrap(), open(&path).unwrap());
    let first = ours.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(mut second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
    assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    first.commit().unwrap();
    assert!(matches!(second.wait(Duration::from_secs(3)).unwrap(), Progress::Granted(_)));
}

#[test]
fn a_process_without_a_descriptor_to_spare_goes_on() {
    let place = Place::new();
    succeed([process("exhausted", &place.path()).spawn().unwrap()]);
}

fn use_the_last_descriptor(path: &Path) {
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

fn wait_without_a_thread(path: &Path) {
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

fn hold(path: &Path) {
    let flowlock = open(path).unwrap();
    let _grants = ["a", "b", "c", "d"].map(|name| flowlock.job("holder").lock(name).acquire().unwrap());
    // Until it is killed.
    let _ = std::io::stdin().read_line(&mut String::new());
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
            let mut child = process("write a", &place.path());
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

#[test]
fn a_page_of_names_begins_and_ends_where_its_prefix_does() {
    let place = Place::new();
    let names = ["a", "a.b", "a/b", "aa", "ab", "b", "ba", "ä", "äb"];
    for flowlock in [place.open(), Flowlock::open("memory:").unwrap()] {
        flowlock.create(&names, flowlock::Creation::default()).unwrap();
        flowlock.remove(&["aa"], flowlock::step::Holders::Respect).unwrap();
        for prefix in ["", "a", "a.", "aa", "ab", "b", "ä", "c", "a%"] {
            let expected = names.iter().filter(|name| **name != "aa" && name.starts_with(prefix));
            let expected: Vec<_> = expected.copied().collect();
            for limit in [1, 2, 100] {
                assert_eq!(pages(&flowlock, prefix, limit), expected, "{prefix}, {limit} a page");
            }
        }
    }
}
