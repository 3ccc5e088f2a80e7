//! The two SQLite transactions that 3 inputs and 2 outputs need at the least, with flowlock's own tables and durability:
//! rows are read and written, nothing is decided.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Result, Transaction, TransactionBehavior, params};

const SCHEMA: &str = include_str!("../../../flowlock/src/store/sqlite/schema.sql");

/// As long as what flowlock keeps of a run's request and of its origin.
const SPEC: &str = r#"{"job":"bench","claims":[{"space":"data","name":"input.1","mode":"shared"},{"space":"data","name":"input.2","mode":"shared"},{"space":"data","name":"input.3","mode":"shared"},{"space":"data","name":"output.1","mode":"exclusive"},{"space":"data","name":"output.2","mode":"exclusive"}],"lease_ms":60000,"if_written":"overwrite"}"#;
const ORIGIN: &str = r#"{"host":"a-host-of-some-name","pid":123456,"user":"somebody","link":null}"#;

const INPUTS: [&str; 3] = ["input.1", "input.2", "input.3"];
const OUTPUTS: [&str; 2] = ["output.1", "output.2"];

/// A file with flowlock's tables.
pub(crate) struct Bare {
    sql: Connection,
    last: i64,
}

impl Bare {
    /// A new file, with the inputs written.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let sql = Connection::open(path)?;
        sql.pragma_update(None, "journal_mode", "wal")?;
        sql.pragma_update(None, "wal_autocheckpoint", 256)?;
        sql.set_prepared_statement_cache_capacity(128);
        sql.execute_batch(SCHEMA)?;
        sql.execute(
            "insert into namespace values (1, 'default', 'boot', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, null)",
            [],
        )?;
        for name in INPUTS {
            sql.execute(
                "insert into record (ns, name, state, version, run, job, written_at_us, made_from)
                 values (1, ?1, 'written', 1, 'run', 'job', 1, '[]')",
                [name],
            )?;
        }
        Ok(Self { sql, last: 0 })
    }

    /// Takes and records, in two transactions: the first reaches the kernel, the second the disk.
    pub(crate) fn acquire_and_commit(&mut self) -> Result<()> {
        self.last += 1;
        let ticket = self.last;
        self.sql.prepare_cached("pragma synchronous = normal")?.execute([])?;
        let acquire = self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        take(&acquire, ticket)?;
        acquire.commit()?;
        self.sql.prepare_cached("pragma synchronous = full")?.execute([])?;
        let commit = self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        record(&commit, ticket)?;
        commit.commit()
    }
}

fn take(sql: &Transaction<'_>, ticket: i64) -> Result<()> {
    read_namespace(sql)?;
    read_run(sql, ticket)?;
    for name in INPUTS {
        let mut record = sql.prepare_cached("select version from record where ns = 1 and name = ?1")?;
        record.query_row([name], |row| row.get::<_, i64>(0))?;
    }
    for name in INPUTS.into_iter().chain(OUTPUTS) {
        let mut holders = sql.prepare_cached("select mode from hold where ns = 1 and place = ?1")?;
        holders.query_row([name], |row| row.get::<_, i64>(0)).optional()?;
    }
    sql.prepare_cached(
        "insert into run (ns, ticket, id, nonce, state, present, in_line, lapsed, revoked, detached, token, deadline_ms,
           began_ms, due_ms, since_us, input_versions, client, liveness, origin, ancestors, spec)
         values (1, ?1, ?2, ?3, 'running', 1, 0, 0, 0, 0, ?1, ?1, ?1, ?1, ?1, '[1,2,3]', ?3, 1, ?4, '[]', ?5)",
    )?
    .execute(params![ticket, id(ticket), nonce(ticket), ORIGIN, SPEC])?;
    for (name, mode) in INPUTS.into_iter().zip([0; 3]).chain(OUTPUTS.into_iter().zip([1; 2])) {
        sql.prepare_cached("insert into hold values (1, ?1, 0, ?2, ?3, 0, 0)")?
            .execute(params![name, mode, ticket])?;
    }
    write_namespace(sql, ticket)
}

fn record(sql: &Transaction<'_>, ticket: i64) -> Result<()> {
    read_namespace(sql)?;
    read_run(sql, ticket)?;
    for name in OUTPUTS {
        sql.prepare_cached(
            "insert or replace into record (ns, name, state, version, run, job, written_at_us, made_from)
             values (1, ?1, 'written', ?2, ?3, 'bench', ?2, '[]')",
        )?
        .execute(params![name, ticket, id(ticket)])?;
    }
    for (name, mode) in INPUTS.into_iter().zip([0; 3]).chain(OUTPUTS.into_iter().zip([1; 2])) {
        sql.prepare_cached(
            "delete from hold where ns = 1 and place = ?1 and lapsed = 0 and mode = ?2 and ticket = ?3",
        )?
        .execute(params![name, mode, ticket])?;
    }
    sql.prepare_cached(
        "update run set state = 'committed', forget_ms = ?1, due_ms = null where ns = 1 and ticket = ?1",
    )?
    .execute([ticket])?;
    write_namespace(sql, ticket)
}

fn read_namespace(sql: &Transaction<'_>) -> Result<()> {
    let mut namespace = sql.prepare_cached("select * from namespace where ns = 1")?;
    namespace.query_row([], |row| row.get::<_, i64>("sequence")).map(drop)
}

fn write_namespace(sql: &Transaction<'_>, ticket: i64) -> Result<()> {
    sql.prepare_cached(
        "update namespace set sequence = sequence + 1, last_ticket = ?1, last_token = ?1 where ns = 1",
    )?
    .execute([ticket])
    .map(drop)
}

fn read_run(sql: &Transaction<'_>, ticket: i64) -> Result<()> {
    let mut run = sql.prepare_cached("select * from run where ns = 1 and id = ?1 and nonce = ?2")?;
    run.query_row(params![id(ticket), nonce(ticket)], |row| row.get::<_, String>("spec")).optional().map(drop)
}

fn id(ticket: i64) -> String {
    format!("bench.{ticket}")
}

fn nonce(ticket: i64) -> [u8; 16] {
    i128::from(ticket).to_be_bytes()
}
