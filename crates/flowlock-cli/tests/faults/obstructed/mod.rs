//! Somebody who may write the store's files stands in the way on purpose: nobody else is stopped for longer than they
//! wait, and who it is gets said.

mod file_leases;
mod journal;
mod liveness;
mod schema;
mod turn;

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use flowlock_testkit::{Cli, PATIENCE, until};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::{cli, run};

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

/// Whether a process has a thread of this name.
fn has(pid: nix::unistd::Pid, thread: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| name.trim() == thread)
}
