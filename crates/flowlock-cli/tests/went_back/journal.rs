//! A file beside the journal of another state.

use std::fs;

use flowlock_testkit::{Cli, sql};

use super::write;
use crate::{Told as _, cli_with_a_file as cli};

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
