//! Names of every kind, and a store whose content somebody has altered: an error that says so, never a panic, a hang or
//! a record that was lost.

mod any_column;
mod contradictions;
mod names;
mod too_long;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;
use flowlock::{Error, Flowlock};

fn open(file: &Path) -> Result<Flowlock, Error> {
    let patience = Duration::from_millis(50);
    let store = Arc::new(SqliteStore::open(file, patience)?);
    Ok(Flowlock::builder().store_timeout(patience).commit_wait(patience).with_store(store))
}

/// A new directory below `parent`.
fn fresh(parent: &Path) -> PathBuf {
    tempfile::tempdir_in(parent).unwrap().keep()
}
