//! Records, and the runs that may not overwrite them, as rows.

use rusqlite::params;

use super::super::failure::translate;
use super::Rows;
use super::cells::{RECORD_COLUMNS, json, most, number, parsed, read_record, state_word};
use crate::engine::tables::{RecordRows, Result};
use crate::id::Ticket;
use crate::name::Name;
use crate::record::Record;
use crate::run::Resource;

impl RecordRows for Rows<'_> {
    fn record(&mut self, name: &Name) -> Result<Option<Record>> {
        let sql = format!("select {RECORD_COLUMNS} from record where ns = ?1 and name = ?2");
        self.one(&sql, (self.ns, name.as_str()), read_record)
    }

    fn put_record(&mut self, record: &Record) -> Result<()> {
        self.execute(
            "insert or replace into record (ns, name, state, version, run, job, written_at_us, expires_at_us, note, \
             made_from, failure, actor) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                self.ns,
                record.name.as_str(),
                state_word(record),
                record.version.0 as i64,
                record.run.as_str(),
                record.job.as_str(),
                record.written_at_us,
                record.expires_at_us,
                record.note,
                json(&record.made_from)?,
                record.failure.as_ref().map(json).transpose()?,
                record.actor.as_ref().map(json).transpose()?,
            ],
        )
    }

    fn delete_record(&mut self, name: &Name) -> Result<()> {
        self.execute("delete from record where ns = ?1 and name = ?2", (self.ns, name.as_str()))
    }

    fn due_records(&mut self, upto_us: i64, limit: usize) -> Result<Vec<(i64, Name)>> {
        let sql = "select expires_at_us, name from record where ns = ?1 and expires_at_us is not null \
            and expires_at_us <= ?2 order by expires_at_us, name limit ?3";
        self.many(sql, (self.ns, upto_us, most(limit)), |row| Ok((row.get(0)?, parsed(row, 1, Name::parse)?)))
    }

    fn next_expiry(&mut self) -> Result<Option<i64>> {
        self.number(
            "select min(expires_at_us) from record where ns = ?1 and expires_at_us is not null",
            [self.ns],
        )
    }

    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Record>> {
        // One lower bound, and an end where the prefix ends: SQLite would use the wrong bound for a
        // later page, and read on to the end of the namespace.
        let (from, compare) = match after.map(Name::as_str) {
            Some(after) if after >= prefix => (after, ">"),
            _ => (prefix, ">="),
        };
        let sql =
            format!("select {RECORD_COLUMNS} from record where ns = ?1 and name {compare} ?2 order by name");
        let mut statement = self.sql.prepare_cached(&sql).map_err(translate)?;
        let mut rows = statement.query((self.ns, from)).map_err(translate)?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next().map_err(translate)?
        {
            let record = read_record(row).map_err(translate)?;
            if !record.name.as_str().starts_with(prefix) {
                break;
            }
            if record.state.is_written() {
                found.push(record);
            }
        }
        Ok(found)
    }

    fn guard(&mut self, name: &Name, ticket: Ticket) -> Result<()> {
        self.quiet.ends(&Resource::record(name).key());
        let sql = "insert into guard (ns, name, ticket) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, name.as_str(), number(ticket)))
    }

    fn unguard(&mut self, name: &Name, ticket: Ticket) -> Result<()> {
        let sql = "delete from guard where ns = ?1 and name = ?2 and ticket = ?3";
        self.execute(sql, (self.ns, name.as_str(), number(ticket)))
    }

    fn next_guard(&mut self, name: &Name, from: Ticket) -> Result<Option<Ticket>> {
        if self.quiet.has(&Resource::record(name).key()) {
            return Ok(None);
        }
        let sql = "select min(ticket) from guard where ns = ?1 and name = ?2 and ticket >= ?3";
        let next: Option<i64> = self.number(sql, (self.ns, name.as_str(), number(from)))?;
        Ok(next.map(|ticket| Ticket(ticket as u64)))
    }
}
