//! The content of the file.

use super::super::SqliteStore;
use super::super::failure::translate;
use super::super::transact::Inner;
use crate::store::{Finding, Limits, StoreError};

/// How many pages are checked: 256 GiB of 4 KiB each. `SQLite` marks each page in a bit of memory, so
/// this takes 8 MiB, whatever number was written into the file.
const MOST_PAGES: i64 = 1 << 26;

pub(super) fn examine(store: &SqliteStore, limits: &Limits) -> Finding {
    const WHAT: &str = "content";
    match store.check_within(limits) {
        Ok(problems) if problems.is_empty() => {
            Finding::good(WHAT, "every page reads, tables and indexes agree")
        }
        Ok(problems) => Finding::bad(WHAT, problems.join("; ")),
        Err(error) => Finding::bad(WHAT, error.to_string()),
    }
}

impl SqliteStore {
    /// Reads every page and checks that tables and indexes agree, once the file is available within
    /// these limits.
    pub(in super::super) fn check_within(&self, limits: &Limits) -> Result<Vec<String>, StoreError> {
        self.pages_and_indexes(limits).map_err(|error| self.naming_the_locker(error, None))
    }

    fn pages_and_indexes(&self, limits: &Limits) -> Result<Vec<String>, StoreError> {
        let mut inner = self.inner(limits)?;
        let Inner { file, identity, .. } = &mut *inner;
        let file = self.ensure_open(file, *identity, limits)?;
        let _timed = file.timed(limits);
        let pages: i64 = file.sql.query_row("pragma page_count", [], |row| row.get(0)).map_err(translate)?;
        if pages > MOST_PAGES {
            return Ok(vec![format!(
                "it has {pages} pages, more than the {MOST_PAGES} that can be checked: flowlock did not make it \
                 that large; replace it with an earlier copy"
            )]);
        }
        let mut statement = file.sql.prepare("pragma integrity_check").map_err(translate)?;
        let found = statement.query_map([], |row| row.get::<_, String>(0)).map_err(translate)?;
        let found: Vec<_> = found.collect::<rusqlite::Result<_>>().map_err(translate)?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }
}
