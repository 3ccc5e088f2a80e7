//! The journal, and which process keeps it from being truncated.

use std::fs;
use std::time::Duration;

use super::super::held_path::HeldPath;
use super::super::lockers::{self, Kind};
use crate::store::Finding;

/// A journal of this size was not truncated: `SQLite` does that at 4 MiB, unless a process still reads
/// an old state.
const LARGE: u64 = 16 << 20;
/// The bytes of `-shm` that a reader locks, one for each state that is read (`WAL_READ_LOCK` in `SQLite`'s `wal.c`).
const READ_MARKS: std::ops::RangeInclusive<u64> = 123..=127;

pub(super) fn examine(store: &HeldPath) -> Finding {
    const WHAT: &str = "journal";
    let wal = store.beside("-wal");
    let bytes = match wal.look() {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Finding::bad(WHAT, error.to_string()),
    };
    let size = format!("{} MiB", bytes >> 20);
    if bytes < LARGE {
        return Finding::good(WHAT, size);
    }
    let readers = readers(store);
    if readers.is_empty() {
        return Finding::good(
            WHAT,
            format!("{size}: no process reads an old state, so one of the next writes truncates it"),
        );
    }
    let shown = wal.shown();
    Finding::bad(
        WHAT,
        format!(
            "{shown} has {size} and grows, because an old state of the store is still read by {}; continue or \
             end that",
            readers.join(", ")
        ),
    )
}

/// Returns the processes in a read transaction, each with what it does.
fn readers(store: &HeldPath) -> Vec<String> {
    let limits = lockers::search(Duration::MAX, None);
    let locks = lockers::locks_on(store.beside("-shm").inside(), Kind::Bytes, &limits);
    let reads =
        |lock: &&lockers::Lock| lock.bytes.0 <= *READ_MARKS.end() && lock.bytes.1 >= *READ_MARKS.start();
    let mut keepers: Vec<_> = locks.iter().filter(reads).map(|lock| lock.keeper).collect();
    keepers.sort_unstable();
    keepers.dedup();
    keepers.into_iter().map(|keeper| format!("{keeper}{}", state_of(keeper.pid()))).collect()
}

/// Returns ` (stopped)` if the process is stopped.
fn state_of(pid: Option<u32>) -> &'static str {
    let stat = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok()).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    if matches!(state, Some('T' | 't')) { " (stopped)" } else { "" }
}
