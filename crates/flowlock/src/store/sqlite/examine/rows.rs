//! What stands in the rows, of all namespaces.

use std::time::Instant;

use rusqlite::types::Value;

use super::super::rows::all::{Piece, TABLES, Table, Unreadable};
use super::super::{Inner, SqliteStore};
use crate::store::{Finding, FirstFew, Limits, StoreError};
use crate::world::later;

/// What was read so far.
#[derive(Default)]
struct Reading {
    rows: usize,
    /// Those that cannot be read, in words.
    unreadable: FirstFew,
    /// Whether `outputs rm` can take one of them away, and whether there is another one.
    has_records: bool,
    has_others: bool,
}

/// Reads every row as steps do, piece by piece: for as long as any step waits, and others may write between two pieces.
pub(super) fn examine(store: &SqliteStore, limits: &Limits) -> Finding {
    const WHAT: &str = "rows";
    let limits = Limits { until: later(Instant::now(), store.patience), ..limits.clone() };
    let mut reading = Reading::default();
    let read = store.read_all(&limits, &mut reading);
    match read {
        Ok(read) => reading.found(WHAT, read),
        Err(error) => {
            Finding::bad(WHAT, format!("{}; then reading ended: {error}", reading.told("the first")))
        }
    }
}

/// How much was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    All,
    /// As much as there was time for.
    AsMuch,
}

impl SqliteStore {
    fn read_all(&self, limits: &Limits, reading: &mut Reading) -> Result<Read, StoreError> {
        for table in &TABLES {
            if self.read_table(table, limits, reading)? == Read::AsMuch {
                return Ok(Read::AsMuch);
            }
        }
        Ok(Read::All)
    }

    fn read_table(&self, table: &Table, limits: &Limits, reading: &mut Reading) -> Result<Read, StoreError> {
        let mut after: Option<Vec<Value>> = None;
        loop {
            limits.check()?;
            if limits.left().is_zero() {
                return Ok(Read::AsMuch);
            }
            let piece = self.piece(table, limits, after.as_deref())?;
            reading.add(table, &piece);
            match piece.last {
                Some(last) => after = Some(last),
                None => return Ok(Read::All),
            }
        }
    }

    fn piece(&self, table: &Table, limits: &Limits, after: Option<&[Value]>) -> Result<Piece, StoreError> {
        let mut inner = self.inner(limits)?;
        let Inner { file, identity, .. } = &mut *inner;
        let file = self.ensure_open(file, *identity, limits)?;
        let _timed = file.timed(limits);
        table.piece(&file.sql, after)
    }
}

impl Reading {
    fn add(&mut self, table: &Table, piece: &Piece) {
        self.rows += piece.rows;
        for row in &piece.unreadable {
            self.has_records |= row.record.is_some();
            self.has_others |= row.record.is_none();
            self.unreadable.add(|| named(table, row));
        }
    }

    fn found(&self, what: &'static str, read: Read) -> Finding {
        let told = match read {
            Read::All => self.told("all"),
            Read::AsMuch => {
                let first = self.told("the first");
                format!("{first}; there was no time for more, which a larger store_timeout gives")
            }
        };
        if self.unreadable.count() == 0 { Finding::good(what, told) } else { Finding::bad(what, told) }
    }

    fn told(&self, which: &str) -> String {
        if self.unreadable.count() == 0 {
            return format!("{which} {} read", self.rows);
        }
        let records = "; `flowlock outputs rm NAME` removes such a record";
        let others = "; flowlock cannot repair other rows: put a copy from before in the store's place, or move it away to \
                      begin anew";
        format!(
            "{} of {} cannot be read, and commands that need them fail: {}{}{}; see who may write the file",
            self.unreadable.count(),
            self.rows,
            self.unreadable.list("; ", "; "),
            if self.has_records { records } else { "" },
            if self.has_others { others } else { "" },
        )
    }
}

fn named(table: &Table, row: &Unreadable) -> String {
    let Unreadable { namespace, key, why, .. } = row;
    let key = if key.is_empty() { String::new() } else { format!(" {key}") };
    format!("{}{key} of namespace {namespace} ({why})", table.name)
}
