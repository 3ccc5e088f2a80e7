//! A namespace's tables as SQL.

pub(super) mod all;
mod backlog;
mod cells;
mod clients;
mod places;
#[cfg(test)]
mod plans;
mod quiet;
mod records;
mod runs;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use self::cells::{from_json, implausible, json, unsigned};
use self::quiet::Quiet;
use super::failure::translate;
use crate::engine::tables::{Census, Meta, Result, Tables};
use crate::store::plausible;

/// The rows of one namespace, inside the connection's open transaction.
pub(super) struct Rows<'c> {
    sql: &'c Connection,
    ns: i64,
    quiet: Quiet,
}

impl<'c> Rows<'c> {
    pub(super) fn new(sql: &'c Connection, ns: i64) -> Self {
        Self { sql, ns, quiet: Quiet::default() }
    }

    fn execute(&self, sql: &str, params: impl Params) -> Result<()> {
        let mut statement = self.sql.prepare_cached(sql).map_err(translate)?;
        statement.execute(params).map_err(translate)?;
        Ok(())
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.sql.prepare_cached(sql).map_err(translate)?;
        statement.query_row(params, read).optional().map_err(translate)
    }

    fn many<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.sql.prepare_cached(sql).map_err(translate)?;
        let rows = statement.query_map(params, read).map_err(translate)?;
        rows.collect::<rusqlite::Result<_>>().map_err(translate)
    }

    fn number<T: FromSql>(&self, sql: &str, params: impl Params) -> Result<Option<T>> {
        Ok(self.one(sql, params, |row| row.get::<_, Option<T>>(0))?.flatten())
    }
}

const META_COLUMNS: &str = "boot_id, last_wall_us, sequence, last_ticket, last_token, token_ceiling, safe_ceiling, \
    waiting, queued, lapsed, has_backlog, next_due_ms, next_expiry_us, next_forget_ms, removed, name";

fn read_meta(row: &Row<'_>) -> rusqlite::Result<Meta> {
    let meta = Meta {
        boot_id: row.get(0)?,
        last_wall_us: row.get(1)?,
        sequence: unsigned(row, 2)?,
        last_ticket: unsigned(row, 3)?,
        last_token: unsigned(row, 4)?,
        token_ceiling: unsigned(row, 5)?,
        safe_ceiling: unsigned(row, 6)?,
        waiting: unsigned(row, 7)?,
        queued: unsigned(row, 8)?,
        lapsed: unsigned(row, 9)?,
        has_backlog: row.get(10)?,
        next_due_ms: row.get(11)?,
        next_expiry_us: row.get(12)?,
        next_forget_ms: row.get(13)?,
        removed: row.get::<_, Option<String>>(14)?.map(|_| from_json(row, 14)).transpose()?,
    };
    if plausible::meta(&meta) { Ok(meta) } else { Err(implausible("the namespace")) }
}

impl Tables for Rows<'_> {
    fn meta(&mut self) -> Result<Meta> {
        let sql = format!("select {META_COLUMNS} from namespace where ns = ?1");
        let meta = self.one(&sql, [self.ns], read_meta)?;
        Ok(meta.unwrap_or_default())
    }

    fn set_meta(&mut self, meta: &Meta) -> Result<()> {
        self.execute(
            "update namespace set boot_id = ?2, last_wall_us = ?3, sequence = ?4, last_ticket = ?5, last_token = ?6, \
             token_ceiling = ?7, safe_ceiling = ?8, waiting = ?9, queued = ?10, lapsed = ?11, has_backlog = ?12, \
             next_due_ms = ?13, next_expiry_us = ?14, next_forget_ms = ?15, removed = ?16 where ns = ?1",
            params![
                self.ns,
                meta.boot_id,
                meta.last_wall_us,
                meta.sequence as i64,
                meta.last_ticket as i64,
                meta.last_token as i64,
                meta.token_ceiling as i64,
                meta.safe_ceiling as i64,
                meta.waiting as i64,
                meta.queued as i64,
                meta.lapsed as i64,
                meta.has_backlog,
                meta.next_due_ms,
                meta.next_expiry_us,
                meta.next_forget_ms,
                meta.removed.as_ref().map(json).transpose()?,
            ],
        )
    }

    fn next_due(&mut self, silence_ms: i64) -> Result<Option<i64>> {
        let runs: Option<i64> =
            self.number("select min(due_ms) from run where ns = ?1 and due_ms is not null", [self.ns])?;
        let clients: Option<i64> =
            self.number("select min(heard_ms) from client where ns = ?1", [self.ns])?;
        Ok([runs, clients.map(|heard| heard.saturating_add(silence_ms))].into_iter().flatten().min())
    }

    fn census(&mut self) -> Result<Census> {
        let count = |sql: &str| {
            Ok::<_, crate::store::StoreError>(self.number::<i64>(sql, [self.ns])?.unwrap_or(0) as u64)
        };
        Ok(Census {
            living: count("select count(*) from run where ns = ?1 and forget_ms is null")?,
            outcomes: count("select count(*) from run where ns = ?1 and forget_ms is not null")?,
            records: count(
                "select count(*) from record where ns = ?1 and state in ('live', 'incomplete', 'was_live')",
            )?,
        })
    }
}
