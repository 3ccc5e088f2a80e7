//! What the next command notices, and `doctor` accepts.

use std::fs;

use flowlock_testkit::{Cli, Fault, Injected};

use super::{backup, grow_old, is_said, memories, remove, restore, write};
use crate::{Told as _, cli_with_a_file as cli, place_of};

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
