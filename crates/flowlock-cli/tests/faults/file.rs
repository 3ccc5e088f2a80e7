//! The store's file, when it is not what it should be: another program's, a newer one's, damaged, moved away.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use flowlock_testkit::{Call, Cli, Fault, Gate, PATIENCE, sql, until};
use nix::sys::signal::Signal;

use crate::{Chance, cli, records, rounds, run};

/// What every refusal ends with.
fn place() -> String {
    format!("(store sqlite:~/store/flowlock.db, namespace default, user id {})\n", nix::unistd::getuid())
}

/// Nothing runs, the words are these, and the file is left alone.
#[track_caller]
fn is_refused(cli: &Cli, said: &str) {
    let before = fs::read(cli.store()).unwrap();
    cli.run(run("-l x", "echo ran")).code(78).stdout("").stderr(&format!("flowlock: {said} {}", place()));
    assert_eq!(fs::read(cli.store()).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused() {
    let cli = cli();
    sql(cli.store(), "create table mine (x); insert into mine values (1)");
    is_refused(
        &cli,
        "~/store/flowlock.db belongs to another program (application id 0x0); name another file",
    );
}

#[test]
fn a_newer_schema_is_refused() {
    let cli = cli();
    cli.run(run("-o a", "true")).code(0);
    sql(
        cli.store(),
        "pragma wal_checkpoint(truncate); pragma user_version = 0x20000000; pragma wal_checkpoint(truncate)",
    );
    is_refused(
        &cli,
        "~/store/flowlock.db has schema 2; this flowlock reads and writes schema 1: use the flowlock that made it",
    );
}

/// One way to spoil a file.
fn spoil(file: &PathBuf, chance: &mut Chance) -> String {
    let mut bytes = fs::read(file).unwrap();
    let at = chance.below(bytes.len() as u64) as usize;
    let how = match chance.below(4) {
        0 => {
            bytes[at] ^= 1 << chance.below(8);
            "one bit flipped"
        }
        1 => {
            bytes.truncate(at);
            "cut off"
        }
        2 => {
            let page = at / 4096 * 4096;
            let end = (page + 4096).min(bytes.len());
            bytes[page..end].fill(0);
            "a page of zeros"
        }
        _ => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = chance.below(256) as u8);
            "a sector of noise"
        }
    };
    fs::write(file, bytes).unwrap();
    format!("{how} at {at} of {}", file.file_name().unwrap().display())
}

#[test]
fn a_damaged_store_works_or_says_so_and_never_becomes_another_store() {
    let mut chance = Chance::new();
    let cli = cli();
    for n in 0..12 {
        cli.run(run(&format!("-o a{n} -o b{n}"), "true")).code(0);
    }
    let wal = PathBuf::from(format!("{}-wal", cli.store().display()));
    sql(cli.store(), "pragma wal_checkpoint(truncate)");
    for n in 12..16 {
        cli.run(run(&format!("-o a{n} -o b{n}"), "true")).code(0);
    }
    let sound = [cli.store(), wal].map(|file| (fs::read(&file).unwrap(), file));
    let mut refused = 0;
    for _ in 0..rounds(60) {
        for (bytes, file) in &sound {
            fs::write(file, bytes).unwrap();
        }
        let _ = fs::remove_file(format!("{}-shm", cli.store().display()));
        // It is the damage that is to be noticed, not that the store went back.
        let _ = fs::remove_dir_all(cli.home().join(".local"));
        let how = spoil(&sound[chance.below(2) as usize].1, &mut chance);
        let listed = cli.run(["outputs", "--json"]);
        let ended = cli.run(run("-i a0 -o a0 -o b0 --wait 0 --name next", "echo in"));
        for ended in [&listed, &ended] {
            let code = ended.status().code();
            assert!(matches!(code, Some(0 | 66 | 74 | 78)), "{how}: {ended:?}");
            if code != Some(0) {
                refused += 1;
                ended.stderr_has("(store sqlite:~/store/flowlock.db, ");
            }
        }
        if ended.status().success() {
            ended.stdout("in\n");
        }
        assert!(cli.run(["doctor"]).status().code().is_some_and(|code| code != 125), "{how}");
    }
    eprintln!("{refused} refusals");
    assert!(refused > 0, "no damage was noticed");
}

#[test]
fn a_file_that_was_made_far_too_long_is_named_and_costs_doctor_no_memory() {
    let cli = cli();
    cli.run(run("-o a", "true")).code(0);
    sql(cli.store(), "pragma wal_checkpoint(truncate)");
    let pages = 0xFFFF_FFF0_u32;
    let file = fs::File::options().write(true).open(cli.store()).unwrap();
    // Where a file says how many pages it has. Next to nothing of it is on disk.
    file.write_all_at(&pages.to_be_bytes(), 28).unwrap();
    file.set_len(u64::from(pages) * 4096).unwrap();
    // Marking each page would take half a GiB.
    let script = format!("ulimit -v 400000; exec {} doctor", env!("CARGO_BIN_EXE_flowlock"));
    let doctor = cli.with_program("/bin/sh").run(["-c", &script]);
    doctor.code(1);
    assert!(doctor.out().contains("it has 4294967280 pages"), "{doctor:#?}");
}

/// A run that holds `a`, whose store is moved away; then its command ends well.
fn moved_away(put: impl FnOnce(&Cli)) -> (Cli, flowlock_testkit::Finished) {
    let cli = cli();
    cli.run(run("-o a --name before", "true")).code(0);
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let holder = holder.start(run("-o a --name holder", &format!("echo in; {}", gate.wait())));
    holder.says("in\n");
    put(&cli);
    gate.open();
    (cli, holder.wait())
}

/// Moves the store and what lies beside it out of the way.
fn move_store(cli: &Cli) {
    fs::rename(cli.home().join("store"), cli.home().join("old")).unwrap();
    fs::create_dir(cli.home().join("store")).unwrap();
}

#[test]
fn a_store_replaced_under_a_running_command_gets_nothing_of_it() {
    let (cli, ended) = moved_away(|cli| {
        move_store(cli);
        cli.run(["doctor", "--accept-restore"]).code(0);
        cli.run(run("-o a --name other", "true")).code(0);
    });
    ended.code(74).stderr_has("~/store/flowlock.db was removed or replaced by another file while it was open; start again to use what is there now");
    assert_eq!(records(&cli)["a"].job, "other");
    let old = cli
        .clone()
        .with("FLOWLOCK_STORE", format!("sqlite:{}", cli.home().join("old/flowlock.db").display()));
    assert_eq!(records(&old)["a"].job, "before");
}

#[test]
fn a_store_removed_under_a_running_command_is_not_made_anew() {
    let (cli, ended) = moved_away(move_store);
    ended.code(74).stderr_has("flowlock.db");
    assert!(!cli.store().exists());
}

#[test]
fn processes_that_make_the_store_at_the_same_moment_share_one() {
    let cli = cli();
    let slow = Fault::below(cli.home().join("store")).calls(&[Call::Rename]).stop_before(1).inject();
    let slow_one = cli.clone().with_faults(&slow).start(run("-o slow", "true"));
    until("a process about to put the store in its place", PATIENCE, || (slow.fired() == 1).then_some(()));
    let others: Vec<_> = (0..6).map(|n| cli.start(run(&format!("-o quick{n}"), "true"))).collect();
    for other in others {
        // Whoever makes the store may keep the others waiting, but not for ever.
        slow_one.signal(Signal::SIGCONT);
        other.wait().code(0);
    }
    slow_one.wait().code(0);
    assert_eq!(records(&cli).len(), 7, "{:?}", records(&cli));
}
