//! A look into an SQLite file from outside, or a hand laid on it.

use std::path::Path;

/// Executes `statements` on the file, which no process may have open.
#[track_caller]
pub fn sql(file: impl AsRef<Path>, statements: &str) {
    let file = rusqlite::Connection::open(file).expect("the file opens");
    file.execute_batch(statements).expect("the statements are good");
}
