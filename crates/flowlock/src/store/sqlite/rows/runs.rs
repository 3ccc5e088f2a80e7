//! Runs as rows.

use rusqlite::ToSql;

use super::super::failure::translate;
use super::Rows;
use super::cells::{RUN_COLUMNS, json, most, number, parsed, read_run, ticket};
use crate::engine::tables::{Result, RunRows, Vitals};
use crate::id::{Attempt, ClientId, Ticket};
use crate::name::RunId;
use crate::run::{Resource, RowKind, Run};
use crate::step::Wake;
use crate::world::LivenessId;

impl RunRows for Rows<'_> {
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

    fn wake(&mut self, ticket: Ticket) -> Result<Option<Wake>> {
        let sql = "select client, id from run where ns = ?1 and ticket = ?2";
        self.one(sql, (self.ns, number(ticket)), |row| {
            let client = ClientId(u128::from_be_bytes(row.get(0)?));
            Ok(Wake { client, run: parsed(row, 1, RunId::parse)? })
        })
    }

    fn by_attempt(&mut self, attempt: &Attempt) -> Result<Option<Run>> {
        let nonce = attempt.nonce.0.to_be_bytes();
        let sql = format!("select {RUN_COLUMNS} from run where ns = ?1 and id = ?2 and nonce = ?3");
        self.one(&sql, (self.ns, attempt.id.as_str(), nonce.as_slice()), read_run)
    }

    fn living(&mut self, id: &RunId) -> Result<Option<Run>> {
        // Without the hint SQLite scans the namespace's whole primary key here.
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
        // Without the hint SQLite scans the primary key, and meets all outcomes that are still
        // remembered.
        let sql = format!(
            "select {RUN_COLUMNS} from run indexed by run_listed where ns = ?1 and ticket >= ?2 \
             and forget_ms is null order by ticket limit ?3"
        );
        self.many(&sql, (self.ns, number(from), most(limit)), read_run)
    }

    fn latest_run(&mut self, id: &RunId) -> Result<Option<Run>> {
        // Without the hint SQLite scans back through all runs of the namespace until it meets the id.
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

    fn next_forget(&mut self) -> Result<Option<i64>> {
        self.number("select min(forget_ms) from run where ns = ?1 and forget_ms is not null", [self.ns])
    }

    fn last_forget(&mut self) -> Result<Option<i64>> {
        self.number("select max(forget_ms) from run where ns = ?1 and forget_ms is not null", [self.ns])
    }
}

impl Rows<'_> {
    /// Executes `sql` with a run's key as ?1 and ?2, its changeable fields as ?3 to ?24, and then
    /// `more`.
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
}
