//! What `flowlock doctor` looks at: the file and its directory, what is in it, its journal, and who is in the way.

mod content;
mod files;
mod journal;

use std::time::Instant;

use super::SqliteStore;
use super::lockers;
use crate::store::{Finding, Limits};
use crate::world::later;

/// Looks at everything around the store and in it.
pub(super) fn examine(store: &SqliteStore, limits: &Limits) -> Vec<Finding> {
    let mut findings = files::examine(&store.place);
    findings.extend([content::examine(store, limits), journal::examine(&store.place)]);
    findings.extend([locks(store, limits), liveness(store)]);
    findings.push(Finding::good("SQLite", rusqlite::version()));
    findings
}

/// Whether somebody keeps a lock that all others need. With the turn to write no process of flowlock has one of them. It is
/// waited for as long as any step waits, however long the content took: else that would look like a lock.
fn locks(store: &SqliteStore, limits: &Limits) -> Finding {
    const WHAT: &str = "locks";
    let limits = Limits { until: later(Instant::now(), store.patience), ..limits.clone() };
    let found = store.inner(&limits).and_then(|mut inner| {
        let _turn = inner.writer_queue.enter(&limits)?;
        Ok(lockers::in_the_way(&store.place, &lockers::search(store.patience, None)))
    });
    match found {
        Ok(None) => Finding::good(WHAT, "nobody keeps the store's files locked"),
        Ok(Some(lock)) => Finding::bad(WHAT, lock.to_string()),
        Err(error) => Finding::bad(WHAT, error.to_string()),
    }
}

fn liveness(store: &SqliteStore) -> Finding {
    match store.lives.obstruction() {
        Some(problem) => Finding::bad("liveness", problem),
        None => Finding::good("liveness", "whoever dies is noticed"),
    }
}
