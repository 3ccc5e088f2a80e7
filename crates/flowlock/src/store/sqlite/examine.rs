//! What `flowlock doctor` examines: the file and its directory, its content, its journal, and locks in
//! the way.

mod content;
mod files;
mod journal;
mod rows;

use std::time::Instant;

use super::SqliteStore;
use super::lockers;
use crate::store::{Finding, Limits};
use crate::world::later;

/// Examines everything around the store and in it.
pub(super) fn examine(store: &SqliteStore, limits: &Limits) -> Vec<Finding> {
    let mut findings = files::examine(&store.place);
    findings.extend([content::examine(store, limits), rows::examine(store, limits)]);
    findings.push(journal::examine(&store.place));
    findings.extend([locks(store, limits), liveness(store)]);
    findings.push(Finding::good("SQLite", rusqlite::version()));
    findings
}

/// Checks whether a process keeps a lock that all others need. While this process has the turn to write,
/// no other process of flowlock has such a lock. Waits for the turn as long as any step, however long
/// the check of the content took: else that would look like a lock.
fn locks(store: &SqliteStore, limits: &Limits) -> Finding {
    const WHAT: &str = "locks";
    let limits = Limits { until: later(Instant::now(), store.patience), ..limits.clone() };
    let found = store.inner(&limits).and_then(|mut inner| {
        let _turn = inner.writer_queue.enter(&limits)?;
        Ok(lockers::in_the_way(&store.place, &lockers::search(store.patience, None)))
    });
    match found {
        Ok(None) => Finding::good(WHAT, "no process keeps the store's files locked"),
        Ok(Some(lock)) => Finding::bad(WHAT, lock.to_string()),
        Err(error) => Finding::bad(WHAT, error.to_string()),
    }
}

fn liveness(store: &SqliteStore) -> Finding {
    match store.lives.obstruction() {
        Some(problem) => Finding::bad("liveness", problem),
        None => Finding::good("liveness", "a process that dies is noticed"),
    }
}
