//! A namespace's tables as SQL.

mod cells;
#[cfg(test)]
mod plans;
mod quiet;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, ToSql, params};

use self::cells::{
    RECORD_COLUMNS, RUN_COLUMNS, all_modes, columns, first_by_ticket, from_json, implausible, json, modes,
    most, number, parsed, read_record, read_run, read_stake, source_from_text, source_text, state_word,
    ticket, unreadable, unsigned,
};
use self::quiet::Quiet;
use super::failure::translate;
use crate::claim::{Mode, Space};
use crate::engine::tables::Census;
use crate::engine::tables::{Hint, Meta, Part, Result, Stake, Tables, Vitals, Which};
use crate::id::{Attempt, ClientId, Ticket};
use crate::name::{Name, RunId};
use crate::record::Record;
use crate::rule::Crowd;
use crate::run::{Resource, RowKind, Run};
use crate::store::plausible;
use crate::world::LivenessId;

/// The rows of one namespace, inside the transaction that is open on the connection.
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

impl Tables for Rows<'_> {
    fn meta(&mut self) -> Result<Meta> {
        let sql = "select boot_id, last_wall_us, sequence, last_ticket, last_token, token_ceiling, safe_ceiling, \
            waiting, queued, lapsed, has_backlog, next_due_ms, next_expiry_us, next_forget_ms, removed \
            from namespace where ns = ?1";
        let meta = self.one(sql, [self.ns], |row| {
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
        })?;
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

    fn run(&mut self, ticket: Ticket) -> Result<Option<Run>> {
        let sql = format!("select {RUN_COLUMNS} from run where ns = ?1 and ticket = ?2");
        self.one(&sql, (self.ns, number(ticket)), read_run)
    }

    fn vitals(&mut self, ticket: Ticket) -> Result<Option<Vitals>> {
        let sql = "select liveness, deadline_ms, revoked from run where ns = ?1 and ticket = ?2";
        self.one(sql, (self.ns, number(ticket)), |row| {
            let liveness = row.get::<_, Option<i64>>(0)?.map(|liveness| LivenessId(liveness as u64));
            Ok(Vitals { liveness, deadline_ms: row.get(1)?, revoked: row.get(2)? })
        })
    }

    fn by_attempt(&mut self, attempt: &Attempt) -> Result<Option<Run>> {
        let nonce = attempt.nonce.0.to_be_bytes();
        let sql = format!("select {RUN_COLUMNS} from run where ns = ?1 and id = ?2 and nonce = ?3");
        self.one(&sql, (self.ns, attempt.id.as_str(), nonce.as_slice()), read_run)
    }

    fn living(&mut self, id: &RunId) -> Result<Option<Run>> {
        // Left to itself SQLite walks the namespace's whole primary key here.
        let sql = format!(
            "select {RUN_COLUMNS} from run indexed by run_living where ns = ?1 and id = ?2 and forget_ms is null"
        );
        self.one(&sql, (self.ns, id.as_str()), read_run)
    }

    fn insert_run(&mut self, run: &Run) -> Result<()> {
        let (nonce, id) = (run.attempt.nonce.0.to_be_bytes(), run.attempt.id.as_str());
        let (ancestors, spec) = (json(run.ancestors.as_ref())?, json(run.spec.as_ref())?);
        self.write_run(
            "insert into run (ns, ticket, state, present, in_line, lapsed, revoked, detached, token, deadline_ms, \
             began_ms, wait_end_ms, place_end_ms, absent_since_ms, forget_ms, due_ms, since_us, input_versions, parked, \
             client, liveness, origin, given_up_ms, actor, id, nonce, ancestors, spec, tombstone) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
             ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)",
            run,
            &[&id, &nonce, &ancestors, &spec, &(run.kind == RowKind::Tombstone)],
        )
    }

    fn update_run(&mut self, run: &Run) -> Result<()> {
        self.write_run(
            "update run set state = ?3, present = ?4, in_line = ?5, lapsed = ?6, revoked = ?7, detached = ?8, token = ?9, \
             deadline_ms = ?10, began_ms = ?11, wait_end_ms = ?12, place_end_ms = ?13, absent_since_ms = ?14, \
             forget_ms = ?15, due_ms = ?16, since_us = ?17, input_versions = ?18, parked = ?19, client = ?20, liveness = ?21, \
             origin = ?22, given_up_ms = ?23, actor = ?24 where ns = ?1 and ticket = ?2",
            run,
            &[],
        )
    }

    fn delete_run(&mut self, ticket: Ticket) -> Result<()> {
        self.execute("delete from run where ns = ?1 and ticket = ?2", (self.ns, number(ticket)))
    }

    fn living_runs(&mut self, from: Ticket, limit: usize) -> Result<Vec<Run>> {
        // Left to itself SQLite walks the primary key, and meets all outcomes that are still remembered.
        let sql = format!(
            "select {RUN_COLUMNS} from run indexed by run_listed where ns = ?1 and ticket >= ?2 \
             and forget_ms is null order by ticket limit ?3"
        );
        self.many(&sql, (self.ns, number(from), most(limit)), read_run)
    }

    fn latest_run(&mut self, id: &RunId) -> Result<Option<Run>> {
        // Left to itself SQLite walks back through all runs of the namespace until it meets the id.
        let sql = format!(
            "select {RUN_COLUMNS} from run indexed by run_by_attempt where ns = ?1 and id = ?2 \
             and tombstone = 0 order by ticket desc limit 1"
        );
        self.one(&sql, (self.ns, id.as_str()), read_run)
    }

    fn due_runs(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>> {
        let sql = "select due_ms, ticket from run where ns = ?1 and due_ms is not null and due_ms <= ?2 \
            order by due_ms, ticket limit ?3";
        self.many(sql, (self.ns, upto_ms, most(limit)), |row| Ok((row.get(0)?, ticket(row, 1)?)))
    }

    fn forgettable(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>> {
        let sql = "select forget_ms, ticket from run where ns = ?1 and forget_ms is not null and forget_ms <= ?2 \
            order by forget_ms, ticket limit ?3";
        self.many(sql, (self.ns, upto_ms, most(limit)), |row| Ok((row.get(0)?, ticket(row, 1)?)))
    }

    fn look_ahead(&mut self, places: &[Resource]) -> Result<()> {
        self.find_quiet(places)
    }

    fn hold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()> {
        let (mode, units, capacity) = columns(stake.mode);
        let key = place.key();
        if which == Which::Lapsed {
            self.quiet.ends(&key);
        }
        self.execute(
            "insert into hold (ns, place, lapsed, mode, ticket, units, capacity) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (self.ns, key, which == Which::Lapsed, mode, number(stake.ticket), units, capacity),
        )?;
        self.count_units(place, stake, which, i64::from(units))
    }

    fn unhold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()> {
        let (mode, units, _) = columns(stake.mode);
        self.execute(
            "delete from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = ?4 and ticket = ?5",
            (self.ns, place.key(), which == Which::Lapsed, mode, number(stake.ticket)),
        )?;
        self.count_units(place, stake, which, -i64::from(units))
    }

    fn holds(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<bool> {
        let sql = "select exists (select 1 from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = ?4 and ticket = ?5)";
        let key = (self.ns, place.key(), which == Which::Lapsed, columns(stake.mode).0, number(stake.ticket));
        Ok(self.number(sql, key)?.unwrap_or_default())
    }

    fn held(&mut self, space: Space, name: &Name, which: Which) -> Result<Crowd> {
        let (place, lapsed) = (Resource::of(space, name).key(), which == Which::Lapsed);
        if lapsed && self.quiet.has(&place) {
            return Ok(Crowd::NOBODY);
        }
        if space == Space::Slot {
            let sql = "select (select units from units where ns = ?1 and place = ?2 and lapsed = ?3), \
                (select min(capacity) from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = 2)";
            let crowd = self.one(sql, (self.ns, place, lapsed), |row| {
                let units = row.get::<_, Option<i64>>(0)?.unwrap_or_default().max(0) as u64;
                let capacity = row.get::<_, Option<u32>>(1)?.unwrap_or(u32::MAX);
                Ok(Crowd { units, capacity, ..Crowd::NOBODY })
            })?;
            return Ok(crowd.unwrap_or(Crowd::NOBODY));
        }
        let sql = "select exists (select 1 from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = 0), \
            exists (select 1 from hold where ns = ?1 and place = ?2 and lapsed = ?3 and mode = 1)";
        self.crowd(sql, (self.ns, place, lapsed))
    }

    fn holders(&mut self, place: &Resource, which: Which, limit: usize) -> Result<Vec<Stake>> {
        let sql = "select ticket, mode, units, capacity from hold where ns = ?1 and place = ?2 and lapsed = ?3 \
            and mode = ?4 order by ticket limit ?5";
        let mut stakes = Vec::new();
        let key = place.key();
        if which == Which::Lapsed && self.quiet.has(&key) {
            return Ok(stakes);
        }
        for mode in all_modes(place) {
            let params = (self.ns, &key, which == Which::Lapsed, mode, most(limit));
            stakes.extend(self.many(sql, params, read_stake)?);
        }
        Ok(first_by_ticket(stakes, limit))
    }

    fn enqueue(&mut self, place: &Resource, stake: Stake) -> Result<()> {
        let (mode, units, capacity) = columns(stake.mode);
        let key = place.key();
        self.quiet.ends(&key);
        self.execute(
            "insert into line (ns, place, mode, ticket, units, capacity) values (?1, ?2, ?3, ?4, ?5, ?6)",
            (self.ns, key, mode, number(stake.ticket), units, capacity),
        )
    }

    fn dequeue(&mut self, place: &Resource, stake: Stake) -> Result<()> {
        self.execute(
            "delete from line where ns = ?1 and place = ?2 and mode = ?3 and ticket = ?4",
            (self.ns, place.key(), columns(stake.mode).0, number(stake.ticket)),
        )
    }

    fn ahead(&mut self, space: Space, name: &Name, before: Ticket, enough: u64) -> Result<Crowd> {
        let place = Resource::of(space, name);
        let key = place.key();
        if self.quiet.has(&key) {
            return Ok(Crowd::NOBODY);
        }
        if space == Space::Slot {
            return self.units_ahead(&place, before, enough);
        }
        let sql = "select exists (select 1 from line where ns = ?1 and place = ?2 and mode = 0 and ticket < ?3), \
            exists (select 1 from line where ns = ?1 and place = ?2 and mode = 1 and ticket < ?3)";
        self.crowd(sql, (self.ns, key, number(before)))
    }

    fn line(&mut self, place: &Resource, part: Part, limit: usize) -> Result<Vec<Stake>> {
        // One range per mode, so that the key order serves; merged here.
        let sql = "select ticket, mode, units, capacity from line where ns = ?1 and place = ?2 and mode = ?3 \
            and ticket >= ?4 and ticket < ?5 order by ticket limit ?6";
        let mut stakes = Vec::new();
        for mode in modes(place, part) {
            let range = (number(part.from), number(part.before));
            let params = (self.ns, place.key(), mode, range.0, range.1, most(limit));
            stakes.extend(self.many(sql, params, read_stake)?);
        }
        Ok(first_by_ticket(stakes, limit))
    }

    fn last_in_line(&mut self, place: &Resource, part: Part) -> Result<Option<Ticket>> {
        let sql = "select max(ticket) from line where ns = ?1 and place = ?2 and mode = ?3 and ticket >= ?4 and ticket < ?5";
        let mut last = None;
        for mode in modes(place, part) {
            let found: Option<i64> =
                self.number(sql, (self.ns, place.key(), mode, number(part.from), number(part.before)))?;
            last = last.max(found);
        }
        Ok(last.map(|ticket| Ticket(ticket as u64)))
    }

    fn park(&mut self, place: &Resource, ticket: Ticket) -> Result<()> {
        let key = place.key();
        self.quiet.ends(&key);
        let sql = "insert into parked (ns, place, ticket) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, key, number(ticket)))
    }

    fn unpark(&mut self, place: &Resource, ticket: Ticket) -> Result<()> {
        let sql = "delete from parked where ns = ?1 and place = ?2 and ticket = ?3";
        self.execute(sql, (self.ns, place.key(), number(ticket)))
    }

    fn first_parked(&mut self, place: &Resource) -> Result<Option<Ticket>> {
        let key = place.key();
        if self.quiet.has(&key) {
            return Ok(None);
        }
        let sql = "select min(ticket) from parked where ns = ?1 and place = ?2";
        let first: Option<i64> = self.number(sql, (self.ns, key))?;
        Ok(first.map(|ticket| Ticket(ticket as u64)))
    }

    fn hints(&mut self, after: Option<&Hint>, limit: usize) -> Result<Vec<Hint>> {
        let (ticket_after, source_after) = match after {
            Some((ticket, source)) => (number(*ticket), source_text(source)),
            None => (-1, String::new()),
        };
        let sql = "select ticket, source from backlog where ns = ?1 and (ticket, source) > (?2, ?3) \
            order by ticket, source limit ?4";
        self.many(sql, (self.ns, ticket_after, source_after, most(limit)), |row| {
            let text: String = row.get(1)?;
            Ok((ticket(row, 0)?, source_from_text(&text).ok_or_else(|| unreadable(1, &text))?))
        })
    }

    fn add_hint(&mut self, (ticket, source): &Hint) -> Result<()> {
        let sql = "insert or ignore into backlog (ns, ticket, source) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, number(*ticket), source_text(source)))
    }

    fn remove_hint(&mut self, (ticket, source): &Hint) -> Result<()> {
        let sql = "delete from backlog where ns = ?1 and ticket = ?2 and source = ?3";
        self.execute(sql, (self.ns, number(*ticket), source_text(source)))
    }

    fn is_dirty(&mut self, place: &Resource) -> Result<bool> {
        let sql = "select exists (select 1 from dirty where ns = ?1 and place = ?2)";
        Ok(self.number(sql, (self.ns, place.key()))?.unwrap_or_default())
    }

    fn set_dirty(&mut self, place: &Resource, is_dirty: bool) -> Result<()> {
        let sql = if is_dirty {
            "insert or ignore into dirty (ns, place) values (?1, ?2)"
        } else {
            "delete from dirty where ns = ?1 and place = ?2"
        };
        self.execute(sql, (self.ns, place.key()))
    }

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

    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Record>> {
        // One lower bound, and an end where the prefix ends: SQLite would use the wrong bound for a later page,
        // and read on to the end of the namespace.
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

    fn heard(&mut self, client: ClientId) -> Result<Option<i64>> {
        self.number(
            "select heard_ms from client where ns = ?1 and client = ?2",
            (self.ns, client.0.to_be_bytes()),
        )
    }

    fn set_heard(&mut self, client: ClientId, at_ms: i64) -> Result<()> {
        let sql = "insert or replace into client (ns, client, heard_ms) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, client.0.to_be_bytes(), at_ms))
    }

    fn forget_client(&mut self, client: ClientId) -> Result<()> {
        self.execute("delete from client where ns = ?1 and client = ?2", (self.ns, client.0.to_be_bytes()))
    }

    fn silent_clients(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, ClientId)>> {
        let sql = "select heard_ms, client from client where ns = ?1 and heard_ms <= ?2 order by heard_ms, client limit ?3";
        self.many(sql, (self.ns, upto_ms, most(limit)), |row| {
            Ok((row.get(0)?, ClientId(u128::from_be_bytes(row.get(1)?))))
        })
    }

    fn add_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()> {
        let sql = "insert into of_client (ns, client, ticket) values (?1, ?2, ?3)";
        self.execute(sql, (self.ns, client.0.to_be_bytes(), number(ticket)))
    }

    fn remove_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()> {
        let sql = "delete from of_client where ns = ?1 and client = ?2 and ticket = ?3";
        self.execute(sql, (self.ns, client.0.to_be_bytes(), number(ticket)))
    }

    fn of_client(&mut self, client: ClientId, from: Ticket, limit: usize) -> Result<Vec<Ticket>> {
        let sql = "select ticket from of_client where ns = ?1 and client = ?2 and ticket >= ?3 order by ticket limit ?4";
        self.many(sql, (self.ns, client.0.to_be_bytes(), number(from), most(limit)), |row| ticket(row, 0))
    }

    fn reserving(&mut self, client: ClientId, limit: usize) -> Result<Vec<Ticket>> {
        let sql = "select ticket from run indexed by run_reserving where ns = ?1 and client = ?2 and present = 1 \
            and place_end_ms is null and state in ('awaiting_input', 'queued') order by ticket limit ?3";
        self.many(sql, (self.ns, client.0.to_be_bytes(), most(limit)), |row| ticket(row, 0))
    }

    fn next_due(&mut self, silence_ms: i64) -> Result<Option<i64>> {
        let runs: Option<i64> =
            self.number("select min(due_ms) from run where ns = ?1 and due_ms is not null", [self.ns])?;
        let clients: Option<i64> =
            self.number("select min(heard_ms) from client where ns = ?1", [self.ns])?;
        Ok([runs, clients.map(|heard| heard.saturating_add(silence_ms))].into_iter().flatten().min())
    }

    fn next_expiry(&mut self) -> Result<Option<i64>> {
        self.number(
            "select min(expires_at_us) from record where ns = ?1 and expires_at_us is not null",
            [self.ns],
        )
    }

    fn next_forget(&mut self) -> Result<Option<i64>> {
        self.number("select min(forget_ms) from run where ns = ?1 and forget_ms is not null", [self.ns])
    }

    fn last_forget(&mut self) -> Result<Option<i64>> {
        self.number("select max(forget_ms) from run where ns = ?1 and forget_ms is not null", [self.ns])
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

impl Rows<'_> {
    /// Executes `sql` with a run's key as ?1 and ?2, what can change about it as ?3 to ?24, and `more` behind.
    fn write_run(&self, sql: &str, run: &Run, more: &[&dyn ToSql]) -> Result<()> {
        let token = run.token.map(|token| token.0 as i64);
        let liveness = run.holder.liveness.map(|liveness| liveness.0 as i64);
        let own: [&dyn ToSql; 24] = [
            &self.ns,
            &number(run.ticket),
            &run.state.as_str(),
            &run.present,
            &run.in_line,
            &run.lapsed,
            &run.revoked,
            &run.detached,
            &token,
            &run.deadline_ms,
            &run.began_ms,
            &run.wait_end_ms,
            &run.place_end_ms,
            &run.absent_since_ms,
            &run.forget_ms,
            &run.due_ms(),
            &run.since_us,
            &json(&run.input_versions)?,
            &run.parked.as_ref().map(Resource::key),
            &run.holder.client.0.to_be_bytes(),
            &liveness,
            &json(run.holder.origin.as_ref())?,
            &run.given_up_ms,
            &run.actor.as_ref().map(json).transpose()?,
        ];
        let mut statement = self.sql.prepare_cached(sql).map_err(translate)?;
        for (index, value) in own.iter().chain(more).enumerate() {
            statement.raw_bind_parameter(index + 1, value).map_err(translate)?;
        }
        statement.raw_execute().map(drop).map_err(translate)
    }

    /// Keeps the sum of the units held at a place: nobody adds up ten thousand rows.
    fn count_units(&self, place: &Resource, stake: Stake, which: Which, more: i64) -> Result<()> {
        if !matches!(stake.mode, Mode::Units { .. }) {
            return Ok(());
        }
        let (place, lapsed) = (place.key(), which == Which::Lapsed);
        self.execute(
            "insert into units (ns, place, lapsed, units) values (?1, ?2, ?3, ?4) \
             on conflict do update set units = units + excluded.units",
            (self.ns, &place, lapsed, more),
        )?;
        let sql = "delete from units where ns = ?1 and place = ?2 and lapsed = ?3 and units = 0";
        self.execute(sql, (self.ns, &place, lapsed))
    }

    fn crowd(&self, sql: &str, params: impl Params) -> Result<Crowd> {
        let crowd = self.one(sql, params, |row| {
            Ok(Crowd { shared: row.get(0)?, exclusive: row.get(1)?, ..Crowd::NOBODY })
        })?;
        Ok(crowd.unwrap_or(Crowd::NOBODY))
    }

    fn units_ahead(&self, place: &Resource, before: Ticket, enough: u64) -> Result<Crowd> {
        let sql = "select ticket, mode, units, capacity from line where ns = ?1 and place = ?2 and mode = 2 \
            and ticket < ?3 order by ticket";
        let mut statement = self.sql.prepare_cached(sql).map_err(translate)?;
        let mut rows = statement.query((self.ns, place.key(), number(before))).map_err(translate)?;
        let mut crowd = Crowd::NOBODY;
        while let Some(row) = rows.next().map_err(translate)? {
            crowd = crowd.with(read_stake(row).map_err(translate)?.mode);
            if crowd.units > enough {
                break;
            }
        }
        Ok(crowd)
    }
}
