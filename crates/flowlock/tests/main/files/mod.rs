//! The embedded store among other processes, users and hands on its files.

mod dead;
mod exhausted;
mod making;
mod pages;
mod refused;
mod replaced;
mod sockets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{Content, StoreErrorKind, View};
use flowlock::{Error, Flowlock};
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
    match part.split_once(": ").or_else(|| part.split_once(' ')).unwrap_or((&part, "")) {
        // Many write at once, on a machine that may be busy.
        ("write", name) => write(&open_within(&path, flowlock_testkit::PATIENCE).unwrap(), name).unwrap(),
        // A disk that fails for ever is tried for as long as this.
        ("write on a bad disk", name) => {
            write(&open_within(&path, Duration::from_secs(2)).unwrap(), name).unwrap();
        }
        ("refused", words) => {
            let said = open(&path).and_then(|flowlock| write(&flowlock, "a")).unwrap_err();
            assert_eq!(kind(&said), Some(StoreErrorKind::Unusable), "{said}");
            assert!(said.to_string().contains(words), "{said}");
        }
        ("exhausted", _) => exhausted::use_the_last_descriptor(&path),
        ("hold", _) => dead::hold(&path),
        ("threadless", _) => exhausted::wait_without_a_thread(&path),
        _ => panic!("no such part: {part}"),
    }
}

fn succeed(children: impl IntoIterator<Item = Child>) {
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}
