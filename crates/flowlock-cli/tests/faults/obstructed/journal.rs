//! Somebody locks the journal's index, cuts it off, or reads the journal without end.

use std::fs::{self, File};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowlock_testkit::{Gate, PATIENCE, sql, until};
use nix::libc;
use nix::sys::signal::Signal;

use super::{beside, lock_bytes, used};
use crate::{rounds, run};

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
