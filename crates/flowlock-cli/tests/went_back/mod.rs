//! A store that went back, or another one in its place, is noticed by the next command of the same user.

mod journal;
mod memory;
mod noticed;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flowlock_testkit::{Cli, sql};

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

#[track_caller]
fn is_said(cli: &Cli) {
    cli.run(["status"]).code(0).stderr_has("`flowlock doctor --accept-restore`");
}

/// As if nothing had been written there for more than a minute.
fn grow_old(memory: &Path) {
    let file = fs::File::options().write(true).open(memory).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
}
