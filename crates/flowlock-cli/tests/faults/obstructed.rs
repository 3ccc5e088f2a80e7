//! Somebody who may write the store's files stands in the way on purpose: nobody else is stopped for longer than they
//! wait, and who it is gets said.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Fault, Gate, Job, PATIENCE, sql, until};
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;

use crate::{cli, rounds, run, starts_at_once, until_it_is};

/// What every refusal ends with.
fn place() -> String {
    format!("(store sqlite:~/store/flowlock.db, namespace default, user id {})", nix::unistd::getuid())
}

fn beside(cli: &Cli, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", cli.store().display()))
}

/// A store with a record, and its liveness file.
fn used() -> Cli {
    let cli = cli();
    cli.run(run("-o a", "true")).code(0);
    cli
}

/// Locks bytes of a file, for as long as the answer lives.
fn lock_bytes(path: PathBuf, kind: libc::c_int, begin: i64, length: i64) -> File {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: begin,
        l_len: length,
        l_pid: 0,
    };
    // A process that another test is about to start may still have an earlier one for a moment.
    until("a lock", PATIENCE, || fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).ok());
    file
}

#[test]
fn a_try_that_gets_no_turn_is_answered_within_the_stores_time_once() {
    let cli = used();
    let cli = cli.with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let _still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    for wait in ["--wait 0", "--wait 1h"] {
        let begun = Instant::now();
        cli.run(run(&format!("-l x {wait}"), "echo ran")).code(69).stdout("").stderr(&format!(
            "flowlock: the store is busy: no turn to write within 1 s; process {} has it {}\n",
            std::process::id(),
            place()
        ));
        assert!(begun.elapsed() < Duration::from_millis(1_900), "{wait}: {:?}", begun.elapsed());
    }
}

/// Every byte that `SQLite` locks in the journal's index (120 to write, 121 to move the journal, 122 to make the index
/// anew, 123 to 127 to read, 128 to open it), locked in every way.
#[test]
fn whoever_locks_the_journals_index_costs_nobody_more_than_they_wait_and_is_named() {
    let named =
        format!("the store is busy: process {} keeps ~/store/flowlock.db-shm locked", std::process::id());
    let ranges = (120..=128).map(|byte| (byte, 1)).chain([(120, 9), (123, 5), (0, 0)]);
    let cases: Vec<_> =
        ranges.flat_map(|range| [libc::F_WRLCK, libc::F_RDLCK].map(|kind| (range, kind))).collect();
    let how_many_named = AtomicUsize::new(0);
    let blocked = |((begin, length), kind): &((i64, i64), i32)| {
        let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
        // Whoever has the index open shares its last byte.
        let opens = *kind == libc::F_RDLCK || (begin + 1..=128).contains(&(begin + length));
        let holder = opens.then(|| cli.start(run("-l held", "echo in; sleep 1000")));
        if let Some(holder) = &holder {
            holder.says("in\n");
        }
        let _locked = lock_bytes(beside(&cli, "-shm"), *kind, *begin, *length);
        let mut blocked = 0;
        for line in
            [&["run", "-l", "x", "--wait", "0", "--", "true"][..], &["status"], &["outputs", "create", "b"]]
        {
            let begun = Instant::now();
            let ended = cli.run(line);
            let took = begun.elapsed();
            assert!(took < Duration::from_millis(3_500), "{begin}+{length} {kind} {line:?}: {took:?}");
            if ended.status().code() != Some(0) {
                ended.code(69);
                // Another that waits for the same lock may have the turn to write; and whoever has the lock is searched for
                // no longer than 100 ms, which a busy machine may need for other things.
                let said = ended.err();
                let other = ["no turn to write within", "another program keeps the store locked"];
                let is_named = said.contains(&named);
                assert!(is_named || other.iter().any(|other| said.contains(other)), "{ended:#?}");
                how_many_named.fetch_add(usize::from(is_named), Ordering::Relaxed);
                blocked += 1;
            }
        }
        blocked
    };
    let counts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .chunks(6)
            .map(|chunk| scope.spawn(move || chunk.iter().map(blocked).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("{:?}", cases.iter().zip(&counts).collect::<Vec<_>>());
    assert!(how_many_named.load(Ordering::Relaxed) > 0, "nobody is named");
    // With all of it locked nobody even opens the store.
    let all = cases.iter().position(|case| *case == ((120, 9), libc::F_WRLCK)).unwrap();
    assert_eq!(counts[all], 3);
}

#[test]
fn a_commit_outlasts_a_lock_on_the_journals_index() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.start(run("-o b --duration 9s -v", &format!("echo in; {}", gate.wait())));
    holder.says("in\n");
    // All but the byte that the holder, which has the index open, shares.
    let locked = lock_bytes(beside(&cli, "-shm"), libc::F_WRLCK, 120, 8);
    gate.open();
    let doctor = cli.run(["doctor"]);
    assert!(doctor.out().contains("db-shm locked; end that process"), "{doctor:#?}");
    drop(locked);
    holder.wait().code(0);
    cli.run(["check", "b"]).code(0);
    cli.run(["doctor"]).code(0);
}

#[test]
fn a_signal_ends_a_wait_also_if_the_store_cannot_be_told_of_it() {
    let cli = used();
    let holder = cli.start(run("-l x", "echo in; exec sleep 1000"));
    holder.says("in\n");
    for (signal, code) in [(Signal::SIGHUP, 129), (Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        // The one before is still in line: the store could not be told.
        let name = format!("waiter{code}");
        let waiter = cli.start(run(&format!("-l x --name {name}"), "echo ran"));
        until_it_is(&cli, &name, "queued");
        let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
        let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let begun = Instant::now();
        waiter.signal(signal);
        let ended = waiter.wait();
        ended
            .code(code)
            .stdout("")
            .stderr_has(&format!("stopped waiting after {signal}, but the store could not"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        drop(still);
    }
}

/// A process that has a lease on a file of the store.
fn lessee(cli: &Cli, suffix: &str) -> Job {
    let script = "import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_RDLCK)
print('in', flush=True)
signal.pause()";
    let file = beside(cli, suffix);
    let lessee = cli.clone().with_program("python3").start(["-c", script, file.to_str().unwrap()]);
    lessee.says("in\n");
    lessee
}

#[test]
fn a_lease_on_a_file_of_the_store_holds_nobody_up_beyond_their_time_and_is_named() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    for suffix in ["", "-wal", "-shm", "-live", "-lock"] {
        let lessee = lessee(&cli, suffix);
        let begun = Instant::now();
        let ended = cli.run(run("-l x --wait 0", "echo ran"));
        ended.code(69).stdout("").stderr_has(&format!(
            "the store is busy: process {} has a lease on ~/store/flowlock.db{suffix}",
            lessee.pid()
        ));
        assert!(begun.elapsed() < Duration::from_secs(5), "{suffix}: {:?}", begun.elapsed());
        lessee.signal(Signal::SIGKILL);
        lessee.wait();
        cli.run(run("-l x --wait 0", "true")).code(0);
    }
}

#[test]
fn keep_outlasts_a_store_that_does_not_answer_for_a_while() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let run = cli.run(["start", "build", "--duration", "30s", "-o", "b"]).code(0).out().trim().to_owned();
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let keeper = cli.start(["keep", &run, "--every", "1s"]);
    keeper.warns("could not renew; trying again until the lease ends");
    let left = || {
        let status = cli.run(["status", "--json"]).json();
        status["running"][0]["deadline"].as_str().unwrap().to_owned()
    };
    let before = left();
    drop(still);
    until("a renewal", PATIENCE, || (left() > before).then_some(()));
    keeper.signal(Signal::SIGTERM);
    keeper.wait().code(0);
}

#[test]
fn a_signal_ends_the_wait_for_a_turn_at_once() {
    let cli = used();
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    for wait in ["--wait 0", "--wait 1h"] {
        let waiting = cli.start(run(&format!("-l x {wait}"), "echo ran"));
        until("a process in the writers' queue", PATIENCE, || queues(waiting.pid()).then_some(()));
        waiting.signal(Signal::SIGTERM);
        let told = Instant::now();
        waiting
            .wait()
            .code(143)
            .stdout("")
            .stderr_has("not started after SIGTERM: interrupted while waiting");
        assert!(told.elapsed() < Duration::from_secs(1), "{wait}: {:?}", told.elapsed());
    }
    drop(still);
    cli.run(run("-l x --wait 0", "echo ran")).code(0).stdout("ran\n");
}

#[test]
fn a_signal_ends_the_wait_of_a_commit_whose_outcome_is_then_unknown() {
    let cli = used();
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.start(run("-o b", &format!("echo in; {}", gate.wait())));
    holder.says("in\n");
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    gate.open();
    until("a process in the writers' queue", PATIENCE, || queues(holder.pid()).then_some(()));
    holder.signal(Signal::SIGINT);
    holder.wait().code(76).stderr_has(" is unknown: the store did not answer within ").stderr_has(
        "; `flowlock outputs b` shows which run wrote it last, and for 10 minutes `flowlock why sh.",
    );
    drop(still);
}

/// The opening is broken off first, and the signal that did it is seen after that.
#[test]
fn a_signal_is_the_reason_also_if_the_store_is_the_first_to_say_so() {
    let cli = used();
    let _lessee = lessee(&cli, "");
    let late = Fault::below(cli.home()).calls(&[]).late(Duration::from_secs(2)).inject();
    let opening = cli.clone().with_faults(&late).start(run("-l x --json-result result", "echo ran"));
    until("a process that opens the store", PATIENCE, || has(opening.pid(), "flowlock-opens").then_some(()));
    opening.signal(Signal::SIGHUP);
    opening.wait().code(129).stdout("").stderr_has("flowlock: not started after SIGHUP: ");
    let result = fs::read_to_string(cli.home().join("result")).unwrap();
    assert!(result.contains(r#""outcome":"cancelled""#), "{result}");
}

#[test]
fn a_command_has_most_of_its_lease_however_long_its_request_waited_for_a_turn() {
    let cli = used();
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let locked = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let runs: Vec<_> = ["2s", "4s"]
        .map(|lease| cli.start(run(&format!("-o {lease} --duration {lease}"), "sleep 0.3")))
        .into();
    std::thread::sleep(Duration::from_secs(3));
    drop(locked);
    for run in runs {
        run.wait().code(0).stderr("");
    }
}

#[test]
fn doctor_asks_a_store_with_a_locked_queue_for_as_long_as_any_command_does() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let _still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let doctor = cli.run(["doctor"]);
    doctor.code(1);
    let named = format!("process {} has it", std::process::id());
    let told: Vec<_> = doctor.out().lines().filter(|line| line.contains("no turn to write")).collect();
    assert!(!told.is_empty(), "{doctor:#?}");
    assert!(told.iter().all(|line| line.contains("within 1 s") && line.contains(&named)), "{doctor:#?}");
}

/// Whether a process has a thread in the writers' queue.
fn queues(pid: nix::unistd::Pid) -> bool {
    has(pid, "flowlock-queue")
}

/// Whether a process has a thread of this name.
fn has(pid: nix::unistd::Pid, thread: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| name.trim() == thread)
}

#[test]
fn a_liveness_file_that_somebody_locked_stops_nobody_and_is_named() {
    let cli = used();
    let named = format!("process {} keeps ~/store/flowlock.db-live locked", std::process::id());
    for kind in [libc::F_WRLCK, libc::F_RDLCK] {
        let _locked = lock_bytes(beside(&cli, "-live"), kind, 0, 0);
        let begun = Instant::now();
        let ended = cli.run(run("-l free --wait 0", "echo ran"));
        ended.code(0).stdout("ran\n").stderr_has(&named);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let doctor = cli.run(["doctor"]);
        doctor.code(1);
        assert!(doctor.out().contains(&named), "{doctor:#?}");
    }
    cli.run(["doctor"]).code(0);
    cli.run(run("-l free --wait 0", "true")).code(0).stderr("");
}

#[test]
fn whoever_cannot_be_told_to_be_dead_is_so_at_the_end_of_its_lease() {
    let cli = used();
    let before = cli.start(run("-l kept --duration 2s", "echo in; exec sleep 1000"));
    before.says("in\n");
    let _locked = lock_bytes(beside(&cli, "-live"), libc::F_RDLCK, 0, 0);
    let next = cli.start(run("-l kept --name next", "echo in"));
    until_it_is(&cli, "next", "queued");
    before.signal(Signal::SIGKILL);
    let killed = Instant::now();
    next.says("in\n");
    assert!(killed.elapsed() < Duration::from_secs(4), "the lease was over long ago: {:?}", killed.elapsed());
    next.wait().code(0);
}

#[test]
fn a_new_liveness_file_that_somebody_locked_is_an_error_in_time_that_names_them() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    File::create(beside(&cli, "-live")).unwrap();
    let _far_out = lock_bytes(beside(&cli, "-live"), libc::F_WRLCK, 1 << 62, 1);
    let begun = Instant::now();
    let ended = cli.run(run("-l x --wait 0", "echo ran"));
    ended.code(69).stdout("").stderr_has(&format!("process {} keeps ", std::process::id()));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn what_a_command_inherits_locks_nobody_out() {
    let cli = used();
    // It tries everything that its descriptor allows, then lives on beyond its wrapper.
    let script = "import fcntl, os, struct, sys
for fd in range(3, 64):
    try:
        path = os.readlink(f'/proc/self/fd/{fd}')
    except OSError:
        continue
    if not path.endswith('-live'):
        continue
    for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK):
        try:
            fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', kind, 0, 0, 0, 0))
            print('locked', 'exclusive' if kind == fcntl.F_WRLCK else 'shared')
        except OSError as error:
            print('refused', error.errno)
print('in', flush=True)
sys.stdin.read()
os.execlp('sleep', 'sleep', '1000')";
    let holder = cli.start(["run", "-l", "mine", "--name", "holder", "--", "python3", "-c", script]);
    holder.says("in\n");
    assert_eq!(holder.stdout(), "refused 9\nlocked shared\nin\n");
    let begun = Instant::now();
    cli.run(run("-l free --wait 0", "echo ran")).code(0).stdout("ran\n");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    cli.run(run("-l mine --wait 0", "echo ran")).code(75);
    holder.signal(Signal::SIGKILL);
    let next = cli.start(run("-l mine --name next", "echo in"));
    starts_at_once(&cli, &next, Instant::now());
    next.wait().code(0);
}

#[test]
fn what_somebody_else_put_into_the_file_is_refused_by_name_and_never_run() {
    let endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n";
    for (put, named) in [
        (
            format!(
                "create trigger sneaky after update on namespace begin update namespace set name = ({endless}) where 0; end"
            ),
            "trigger sneaky",
        ),
        (format!("create view seen as {endless}"), "view seen"),
        ("create table mine (x)".to_owned(), "table mine"),
        ("create index slow on run (abs(ticket))".to_owned(), "index slow"),
    ] {
        let cli = used();
        let gate = Gate::new(cli.home().join("gate"));
        let open = cli.start(run("-o b", &format!("echo in; {}", gate.wait())));
        open.says("in\n");
        sql(cli.store(), &put);
        let refused = cli.run(run("-l x --wait 0", "echo ran"));
        refused
            .code(78)
            .stdout("")
            .stderr_has(&format!("~/store/flowlock.db holds {named} that flowlock did not make"));
        // Who had the store open before goes on: nothing of it runs.
        gate.open();
        open.wait().code(0).stderr("");
    }
}

#[test]
fn doctor_names_who_keeps_the_journal_from_being_cut_back() {
    let cli = used();
    let script = "import signal, sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute('begin')
file.execute('select count(*) from run').fetchone()
print('in', flush=True)
signal.pause()";
    let store = cli.store();
    let reader = cli.clone().with_program("python3").start(["-c", script, store.to_str().unwrap()]);
    reader.says("in\n");
    reader.signal(Signal::SIGSTOP);
    sql(
        cli.store(),
        "insert into record (ns, name, state, version, run, job, written_at_us, note, made_from)
           values (99, 'x', 'live', 1, 'r', 'j', 0, zeroblob(20 << 20), '');
         delete from record where ns = 99",
    );
    let doctor = cli.run(["doctor"]);
    doctor.code(1);
    let named = format!("is still read by process {} (stopped)", reader.pid());
    assert!(doctor.out().contains("db-wal has 2"), "{doctor:#?}");
    assert!(doctor.out().contains(&named), "{doctor:#?}");
    reader.signal(Signal::SIGKILL);
    drop(reader.wait());
    for _ in 0..2 {
        cli.run(run("-o a", "true")).code(0);
    }
    cli.run(["doctor"]).code(0);
    assert!(fs::metadata(beside(&cli, "-wal")).unwrap().len() < 5 << 20);
}

#[test]
fn an_index_cut_off_all_the_time_ends_no_look_at_the_store_by_a_signal() {
    let cli = used();
    let script = "import os, sys
file = os.open(sys.argv[1], os.O_RDWR)
print('in', flush=True)
while True: os.ftruncate(file, 0)";
    let index = beside(&cli, "-shm");
    let hand = cli.clone().with_program("python3").start(["-c", script, index.to_str().unwrap()]);
    hand.says("in\n");
    for _ in 0..rounds(20) {
        for words in [["status"], ["outputs"], ["doctor"]] {
            let code = cli.run(words).status().code();
            assert!(code.is_some(), "{words:?} died of a signal");
        }
    }
    hand.signal(Signal::SIGKILL);
    hand.wait();
    cli.run(run("-o a", "true")).code(0);
}

#[test]
fn an_index_cut_off_in_the_middle_of_a_renewal_ends_no_command() {
    let cli = used();
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.start(run("-o b --duration 6s", &format!("echo in; {}; echo done", gate.wait())));
    holder.says("in\n");
    let index = File::options().write(true).open(beside(&cli, "-shm")).unwrap();
    // Again and again, until it happens between two accesses.
    until("a renewal without its index", PATIENCE, || {
        (0..2_000).for_each(|_| index.set_len(0).unwrap());
        holder
            .stderr()
            .contains("the index of the store's journal was truncated while it was used")
            .then_some(())
    });
    // Whoever wants a turn gets it, and the names are still held.
    cli.run(run("-l other --wait 0", "echo ran")).code(0).stdout("ran\n");
    cli.run(run("-o b --wait 0", "echo ran")).code(75);
    gate.open();
    holder.wait().code(74).stdout("in\ndone\n").stderr_has("nothing more can be recorded");
    cli.run(["check", "b"]).code(1);
    cli.run(["doctor"]).code(0);
}
