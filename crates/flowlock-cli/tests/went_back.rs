//! A store that went back, or another one in its place, is noticed by the next command of the same user.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flowlock_testkit::{Call, Cli, Fault, Injected, sql};
use nix::errno::Errno;

use crate::{Told as _, cli_with_a_file as cli, place_of};

/// Writes names, one run each.
#[track_caller]
fn write(cli: &Cli, names: &[&str]) {
    for name in names {
        cli.run(["run", "-o", name, "--", "true"]).code(0).stderr("");
    }
}

/// The store's file, whole.
fn backup(cli: &Cli) -> Vec<u8> {
    sql(cli.store(), "pragma wal_checkpoint(truncate)");
    fs::read(cli.store()).unwrap()
}

/// Removes the store and everything beside it.
fn remove(cli: &Cli) {
    fs::remove_dir_all(cli.home().join("store")).unwrap();
    fs::create_dir(cli.home().join("store")).unwrap();
}

fn restore(cli: &Cli, backup: &[u8]) {
    remove(cli);
    fs::write(cli.store(), backup).unwrap();
}

/// The files in which this home's commands remember stores.
fn memories(cli: &Cli) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cli.home().join(".local/state/flowlock/seen")) else { return vec![] };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn memory(cli: &Cli) -> String {
    let [path] = &memories(cli)[..] else { panic!("one store, one memory: {:?}", memories(cli)) };
    fs::read_to_string(path).unwrap()
}

/// The next command says it, whatever it does, and goes on; the others say nothing. `doctor` shows it until it is accepted.
#[track_caller]
fn is_said_once(cli: &Cli, command: &[&str], said: &str) {
    let first = cli.run(command);
    first.code(0).stderr_has(said).stderr_has("`flowlock doctor --accept-restore`");
    assert!(first.err().ends_with(&place_of("sqlite:~/store/flowlock.db", "default")), "{first:?}");
    cli.run(["status"]).code(0).stderr("");
    cli.run(["run", "-o", "z", "--", "echo", "ran"]).code(0).stdout("ran\n").stderr("");
    cli.run(["doctor"]).code(1).stdout_has("it went back: it was at step ").stderr("");
}

#[track_caller]
fn is_said(cli: &Cli) {
    cli.run(["status"]).code(0).stderr_has("`flowlock doctor --accept-restore`");
}

#[test]
fn an_older_copy_put_back_is_noticed_by_the_next_command() {
    let cli = cli();
    write(&cli, &["a"]);
    let old = backup(&cli);
    write(&cli, &["b"]);
    restore(&cli, &old);
    let run = ["run", "-o", "z", "--", "true"];
    is_said_once(&cli, &run, "the store went back: namespace default was at step ");
    write(&cli.clone().with("XDG_STATE_HOME", cli.home().join("somebody else's")), &["c"]);
}

#[test]
fn a_store_that_was_removed_and_made_anew_is_noticed_by_the_next_command() {
    let cli = cli();
    write(&cli, &["a"]);
    remove(&cli);
    is_said_once(&cli, &["status"], "the store was replaced by another one");
    remove(&cli);
    let stranger = cli.clone().with("XDG_STATE_HOME", cli.home().join("somebody else's"));
    write(&stranger, &["a", "b", "c", "d"]);
    is_said_once(&cli, &["outputs"], "the store was replaced by another one");
}

#[test]
fn a_lock_was_enough_to_know_a_store() {
    let cli = cli();
    cli.run(["run", "-l", "x", "--", "true"]).code(0);
    remove(&cli);
    is_said_once(&cli, &["run", "-l", "x", "--", "true"], "the store was replaced by another one");
}

#[test]
fn a_doctor_accepts_what_was_put_back() {
    let cli = cli();
    cli.run(["doctor", "--accept-restore"]).code(0).stderr_has(
        "flowlock: flowlock remembers nothing about this store, so there is nothing to accept (store ",
    );
    write(&cli, &["a"]);
    cli.run(["doctor", "--accept-restore"])
        .code(0)
        .stderr_has("flowlock: the store did not go back: it was at step ");
    let old = backup(&cli);
    write(&cli, &["b"]);
    restore(&cli, &old);
    let accepted = cli.run(["doctor", "--accept-restore"]);
    accepted.code(0).stdout_has("ok  works").stderr_has("flowlock: accepted: the store was at step ");
    accepted.stderr_has(" of epoch ").stderr_has(" and is at step ");
    write(&cli, &["c"]);
    cli.run(["check", "b"]).code(1);
    cli.run(["doctor"]).code(0);

    remove(&cli);
    is_said(&cli);
    write(&cli, &["a"]);
    let accepted = cli.run(["doctor", "--accept-restore"]);
    accepted.code(0).stderr_has("flowlock: accepted: the store was at step ");
    // The new one is remembered as well as the old one was.
    remove(&cli);
    is_said(&cli);
    let accepted = cli.run(["doctor", "--accept-restore"]);
    accepted.code(0).stderr_has(" and is empty (store ");
    cli.run(["doctor", "--accept-restore"]).code(0).stderr_has("the store did not go back");
}

#[test]
fn a_namespace_that_did_not_change_meanwhile_is_not_affected() {
    let cli = cli();
    let other = cli.clone().with("FLOWLOCK_NAMESPACE", "other");
    write(&cli, &["a"]);
    write(&other, &["a"]);
    let old = backup(&cli);
    write(&cli, &["b"]);
    restore(&cli, &old);
    write(&other, &["b"]);
    is_said(&cli);
    cli.clone().with("FLOWLOCK_NAMESPACE", "a third").run(["run", "-l", "x", "--", "true"]).code(0);
    assert_eq!(memories(&cli).len(), 3);
}

#[test]
fn a_damaged_memory_is_ignored_and_made_anew() {
    let cli = cli();
    write(&cli, &["a"]);
    let sound = memory(&cli);
    let [path] = &memories(&cli)[..] else { panic!() };
    for damage in ["", "{", "null", "\0\0\0", &sound.replace("\"version\":1", "\"version\":2"), &sound[..90]]
    {
        fs::write(path, damage).unwrap();
        write(&cli, &["b"]);
        assert!(memory(&cli).len() >= sound.len(), "{}", memory(&cli));
    }
    remove(&cli);
    is_said(&cli);
}

#[test]
fn a_home_that_cannot_be_written_or_read_stops_no_job() {
    let cli = cli();
    fs::write(cli.home().join(".local"), "in the way").unwrap();
    write(&cli, &["a"]);
    fs::remove_file(cli.home().join(".local")).unwrap();
    let state = cli.home().join(".local/state/flowlock");
    fs::create_dir_all(state.join("seen")).unwrap();
    for (call, errno) in
        [(Call::Write, Errno::ENOSPC), (Call::Open, Errno::EROFS), (Call::Rename, Errno::EACCES)]
    {
        let refused = Fault::below(&state).calls(&[call]).refuse_from(1, errno).inject();
        write(&cli.clone().with_faults(&refused), &["b"]);
        assert!(refused.fired() > 0, "{call:?}");
        assert_eq!(memories(&cli), Vec::<PathBuf>::new(), "{call:?}");
    }
    write(&cli.clone().with("HOME", "/dev/null"), &["c"]);
}

#[test]
fn what_a_loss_of_power_may_take_back_is_not_expected_after_it() {
    let cli = cli();
    write(&cli, &["a"]);
    let synced = backup(&cli);
    grow_old(&memories(&cli)[0]);
    cli.run(["run", "-l", "x", "--", "true"]).code(0);
    restore(&cli, &synced);
    is_said(&cli);
    let faults = Fault::below(cli.home()).boot("11111111-2222-3333-4444-555555555555").inject();
    let after = cli.clone().with_faults(&faults);
    has_just_booted(&faults);
    after.run(["status"]).code(0).stderr("");
    // What was synced is expected for ever.
    write(&after, &["b"]);
    restore(&cli, &synced);
    has_just_booted(&faults);
    is_said(&after);
}

/// Else the store was written by another boot after this one began: by another host.
fn has_just_booted(faults: &Injected) {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    faults.shift_boot_clock(50 - (uptime * 1000.0) as i64);
}

/// As if nothing had been written there for more than a minute.
fn grow_old(memory: &Path) {
    let file = fs::File::options().write(true).open(memory).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
}

#[test]
fn a_command_that_only_locks_seldom_writes_what_it_saw() {
    let cli = cli();
    let lock = || cli.run(["run", "-l", "x", "--", "true"]).code(0).stderr("").to_owned();
    lock();
    let first = memory(&cli);
    lock();
    cli.run(["status"]).code(0);
    assert_eq!(memory(&cli), first);
    write(&cli, &["a"]);
    let written = memory(&cli);
    assert_ne!(written, first);
    lock();
    assert_eq!(memory(&cli), written);
    grow_old(&memories(&cli)[0]);
    lock();
    assert_ne!(memory(&cli), written);
}

#[test]
fn what_is_remembered_is_the_users_own() {
    let cli = cli();
    write(&cli, &["a"]);
    let [path] = &memories(&cli)[..] else { panic!() };
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    let told: serde_json::Value = serde_json::from_str(&memory(&cli)).unwrap();
    assert_eq!(told["store"], format!("sqlite:{}", cli.store().display()));
    assert_eq!(told["namespace"], "default");
    assert_eq!(told["newest"], told["durable"]);
}

#[test]
fn a_store_in_memory_is_not_remembered() {
    let cli = cli().with("FLOWLOCK_STORE", "memory:");
    for _ in 0..2 {
        write(&cli, &["a"]);
    }
    assert_eq!(memories(&cli), Vec::<PathBuf>::new());
}

#[test]
fn what_somebody_put_in_the_place_of_a_memory_is_neither_read_nor_followed() {
    let cli = cli();
    write(&cli, &["a"]);
    let [path] = &memories(&cli)[..] else { panic!() };
    let (victim, directory) = (cli.home().join("victim"), path.parent().unwrap());
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "content").unwrap();
    for kind in ["link", "FIFO", "directory"] {
        let _ = fs::remove_file(path);
        match kind {
            "link" => symlink(victim.join("file"), path).unwrap(),
            "FIFO" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(path).unwrap(),
        }
        write(&cli, &["b"]);
    }
    // A draft whose name follows from the process's number could be waited for.
    let next = std::process::id();
    fs::remove_dir(path).unwrap();
    for pid in next..next + 3_000 {
        symlink(victim.join("file"), path.with_extension(pid.to_string())).unwrap();
    }
    write(&cli, &["c"]);
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "content");
    for everybodys in [false, true] {
        fs::remove_dir_all(directory).unwrap();
        if everybodys {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        } else {
            symlink(&victim, directory).unwrap();
        }
        write(&cli, &["d"]);
        assert_eq!(fs::read_dir(directory).unwrap().count(), usize::from(!everybodys));
        let _ = fs::remove_file(directory).map(|()| fs::create_dir(directory).unwrap());
    }
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "content");
}

#[test]
fn a_memory_is_kept_by_way_of_nobody_elses_link_or_directory() {
    let own = cli();
    fs::create_dir_all(own.home().join("elsewhere")).unwrap();
    fs::create_dir(own.home().join(".local")).unwrap();
    symlink("../elsewhere", own.home().join(".local/state")).unwrap();
    write(&own, &["a"]);
    assert_eq!(memories(&own).len(), 1, "one's own link above is followed");
    if !nix::unistd::getuid().is_root() {
        eprintln!("not root, so nothing can be given to another user: this part is skipped");
        return;
    }
    for (link, way) in [("..", ".local/state"), ("../..", ".local/state/flowlock"), ("", ".local/state")] {
        let cli = cli();
        let (victim, way) = (cli.home().join("victim"), cli.home().join(way));
        fs::create_dir(&victim).unwrap();
        fs::create_dir_all(way.parent().unwrap()).unwrap();
        if link.is_empty() {
            fs::create_dir(&way).unwrap();
        } else {
            symlink(Path::new(link).join("victim"), &way).unwrap();
        }
        std::os::unix::fs::lchown(&way, Some(12_345), None).unwrap();
        write(&cli, &["a"]);
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{}", way.display());
        assert_eq!(memories(&cli), Vec::<PathBuf>::new(), "{}", way.display());
    }
}

/// How an older copy is put back while the journal of the newer state still lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PutBack {
    Written,
    Moved,
}

fn put_back(cli: &Cli, copy: &[u8], how: PutBack) {
    match how {
        PutBack::Written => fs::write(cli.store(), copy).unwrap(),
        PutBack::Moved => {
            let beside = cli.store().with_extension("backup");
            fs::write(&beside, copy).unwrap();
            fs::rename(beside, cli.store()).unwrap();
        }
    }
}

/// Makes records until the journal was begun anew.
fn fill_a_journal(cli: &Cli, what: &str) {
    let journal = cli.home().join("store/flowlock.db-wal");
    let beginning = || fs::read(&journal).map(|bytes| bytes[16..24].to_vec()).unwrap_or_default();
    let before = beginning();
    for round in 0..100 {
        let names: Vec<_> = (0..40).map(|n| format!("{what}.{round}.{n}")).collect();
        cli.run(["outputs", "create"].into_iter().chain(names.iter().map(String::as_str))).code(0);
        // Of one process only a second transaction begins it anew.
        cli.run(["run", "-l", "x", "--", "true"]).code(0);
        if beginning() != before && round > 0 {
            return;
        }
    }
    panic!("the journal was never begun anew");
}

#[test]
fn a_file_is_not_mixed_with_the_journal_of_a_newer_state() {
    for how in [PutBack::Written, PutBack::Moved] {
        let cli = cli();
        fill_a_journal(&cli, "oldest");
        fill_a_journal(&cli, "old");
        let old = fs::read(cli.store()).unwrap();
        fill_a_journal(&cli, "new");
        fill_a_journal(&cli, "newest");
        put_back(&cli, &old, how);
        for command in [&["status"][..], &["run", "-o", "z", "--", "true"], &["outputs", "create", "z"]] {
            let refused = cli.run(command);
            refused
                .code(74)
                .stderr_has("do not belong together")
                .stderr_has("`flowlock doctor --accept-restore`");
        }
        cli.run(["doctor"]).code(74).stdout_has("do not belong together");
        let accepted = cli.run(["doctor", "--accept-restore"]);
        accepted
            .code(0)
            .stderr_has("removed the journal, which does not belong to this file")
            .stderr_has("accepted: the store was at");
        cli.run(["check", "oldest.0.0"]).code(0);
        cli.run(["check", "newest.0.0"]).code(1);
        sql(cli.store(), "pragma integrity_check");
        write(&cli, &["z"]);
        cli.run(["doctor"]).code(0);
    }
}

#[test]
fn another_store_is_not_mixed_with_the_journal_of_this_one() {
    // Of 128 stores one counts where this one does.
    let mut stores = (0..4).map(|_| {
        let other = cli();
        fill_a_journal(&other, "other");
        fs::read(other.store()).unwrap()
    });
    let cli = cli();
    fill_a_journal(&cli, "mine");
    let is_refused = |other: Vec<u8>| {
        put_back(&cli, &other, PutBack::Moved);
        cli.run(["status"]).err().contains("do not belong together")
    };
    assert!(stores.any(is_refused));
}

#[test]
fn what_is_in_use_is_not_accepted() {
    let cli = cli();
    fill_a_journal(&cli, "old");
    let old = fs::read(cli.store()).unwrap();
    let holds = cli.start(["run", "-l", "held", "--", "sh", "-c", "echo; sleep 300"]);
    holds.says("\n");
    fill_a_journal(&cli, "new");
    fill_a_journal(&cli, "newest");
    put_back(&cli, &old, PutBack::Written);
    cli.run(["doctor", "--accept-restore"])
        .code(69)
        .stderr_has(" is in use; stop everything that uses the store");
    drop(holds);
}
