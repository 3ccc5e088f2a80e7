//! How values are stored in columns.

use std::sync::Arc;

use rusqlite::Row;
use rusqlite::types::FromSqlError;

use crate::bounds::MOST_ANCESTORS;
use crate::claim::{MOST_CLAIMS, Mode, Space};
use crate::engine::tables::{Part, Result, Source, Stake};
use crate::id::{Attempt, ClientId, Nonce, Ticket, Token};
use crate::name::{Name, RunId};
use crate::origin::Holder;
use crate::record::{Record, RecordState};
use crate::run::{Resource, RowKind, Run, State};
use crate::store::plausible;
use crate::world::LivenessId;

pub(super) const RUN_COLUMNS: &str = "ticket, id, nonce, state, present, in_line, lapsed, revoked, detached, token, deadline_ms, \
    began_ms, wait_end_ms, place_end_ms, absent_since_ms, forget_ms, since_us, input_versions, parked, client, liveness, \
    origin, ancestors, spec, given_up_ms, actor, tombstone";

pub(super) const RECORD_COLUMNS: &str =
    "name, state, version, run, job, written_at_us, expires_at_us, note, made_from, failure, actor";

/// The state of a record that is incomplete only since its present holder began.
const WAS_LIVE: &str = "was_live";

/// Returns the word for a record's state in its row.
pub(super) fn state_word(record: &Record) -> &'static str {
    if record.was_live { WAS_LIVE } else { record.state.as_str() }
}

pub(super) fn read_record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let failure: Option<String> = row.get(9)?;
    let actor: Option<String> = row.get(10)?;
    let was_live = row.get_ref(1)?.as_bytes()? == WAS_LIVE.as_bytes();
    let state = if was_live { RecordState::Incomplete } else { word(row, 1, RecordState::from_word)? };
    let record = Record {
        name: parsed(row, 0, Name::parse)?,
        state,
        was_live,
        version: Token(unsigned(row, 2)?),
        run: parsed(row, 3, RunId::parse)?,
        job: parsed(row, 4, crate::name::JobName::parse)?,
        written_at_us: row.get(5)?,
        expires_at_us: row.get(6)?,
        note: row.get(7)?,
        made_from: from_json(row, 8)?,
        failure: failure.map(|_| from_json(row, 9)).transpose()?,
        actor: actor.map(|_| from_json(row, 10)).transpose()?,
    };
    if plausible::record(&record) { Ok(record) } else { Err(implausible(&record.name.to_string())) }
}

pub(super) fn read_run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let parked: Option<String> = row.get(18)?;
    let actor: Option<String> = row.get(25)?;
    let ancestors: Vec<Ticket> = numbers(row, 22, MOST_ANCESTORS)?;
    let run = Run {
        kind: if row.get(26)? { RowKind::Tombstone } else { RowKind::Run },
        ticket: ticket(row, 0)?,
        attempt: Attempt {
            id: parsed(row, 1, RunId::parse)?,
            nonce: Nonce(u128::from_be_bytes(row.get(2)?)),
        },
        state: word(row, 3, State::from_word)?,
        present: row.get(4)?,
        in_line: row.get(5)?,
        lapsed: row.get(6)?,
        revoked: row.get(7)?,
        detached: row.get(8)?,
        token: row.get::<_, Option<i64>>(9)?.map(|token| Token(token as u64)),
        deadline_ms: row.get(10)?,
        began_ms: row.get(11)?,
        wait_end_ms: row.get(12)?,
        place_end_ms: row.get(13)?,
        absent_since_ms: row.get(14)?,
        given_up_ms: row.get(24)?,
        actor: actor.map(|_| from_json(row, 25)).transpose()?,
        forget_ms: row.get(15)?,
        since_us: row.get(16)?,
        input_versions: numbers(row, 17, MOST_CLAIMS)?,
        parked: parked.map(|key| Resource::from_key(&key).ok_or_else(|| unreadable(18, &key))).transpose()?,
        holder: Holder {
            client: ClientId(u128::from_be_bytes(row.get(19)?)),
            liveness: row.get::<_, Option<i64>>(20)?.map(|liveness| LivenessId(liveness as u64)),
            origin: Arc::new(from_json(row, 21)?),
        },
        ancestors: ancestors.into(),
        spec: Arc::new(from_json(row, 23)?),
    };
    if plausible::run(&run) { Ok(run) } else { Err(implausible(run.attempt.id.as_str())) }
}

pub(super) fn read_stake(row: &Row<'_>) -> rusqlite::Result<Stake> {
    let mode = match row.get(1)? {
        0 => Mode::Shared,
        1 => Mode::Exclusive,
        _ => Mode::Units { units: row.get(2)?, capacity: row.get(3)? },
    };
    Ok(Stake { ticket: ticket(row, 0)?, mode })
}

/// Returns mode number, units and capacity of a stake's row.
pub(super) fn columns(mode: Mode) -> (u8, u32, u32) {
    match mode {
        Mode::Shared => (0, 0, 0),
        Mode::Exclusive => (1, 0, 0),
        Mode::Units { units, capacity } => (2, units, capacity),
    }
}

/// Returns the mode numbers that can occur in a part of a queue.
pub(super) fn modes(place: &Resource, part: Part) -> &'static [u8] {
    match (place.space, part.exclusive_only) {
        (Some(Space::Slot), _) | (_, false) => all_modes(place),
        (_, true) => &[1],
    }
}

/// Returns the mode numbers that can occur at a place.
pub(super) fn all_modes(place: &Resource) -> &'static [u8] {
    if place.space == Some(Space::Slot) { &[2] } else { &[0, 1] }
}

pub(super) fn first_by_ticket(mut stakes: Vec<Stake>, limit: usize) -> Vec<Stake> {
    stakes.sort_by_key(|stake| stake.ticket);
    stakes.truncate(limit);
    stakes
}

/// Returns a source as a text with the same sort order.
pub(super) fn source_text(source: &Source) -> String {
    match source {
        Source::Parked(Resource { space: None, name }) => format!("1a{}", name.as_str()),
        Source::Parked(place) => format!("1{}", place.key()),
        Source::Alone => "2".into(),
        Source::Readers(name) => format!("3{}", name.as_str()),
        Source::Guards(name) => format!("4{}", name.as_str()),
    }
}

pub(super) fn source_from_text(text: &str) -> Option<Source> {
    let (kind, rest) = text.split_at_checked(1)?;
    Some(match kind {
        "1" => Source::Parked(match rest.strip_prefix('a') {
            Some(name) => Resource::record(&Name::parse(name).ok()?),
            None => Resource::from_key(rest)?,
        }),
        "2" if rest.is_empty() => Source::Alone,
        "3" => Source::Readers(Name::parse(rest).ok()?),
        "4" => Source::Guards(Name::parse(rest).ok()?),
        _ => return None,
    })
}

pub(super) fn number(ticket: Ticket) -> i64 {
    i64::try_from(ticket.0).unwrap_or(i64::MAX)
}

pub(super) fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)? as u64)
}

pub(super) fn ticket(row: &Row<'_>, column: usize) -> rusqlite::Result<Ticket> {
    unsigned(row, column).map(Ticket)
}

pub(super) fn word<T>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    read(&text).ok_or_else(|| unreadable(column, &text))
}

pub(super) fn parsed<T, E>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(&str) -> std::result::Result<T, E>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    read(&text).map_err(|_| unreadable(column, &text))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|_| unreadable(column, text))
}

/// Reads a list of up to `most` numbers. A longer one is not even parsed: in memory each number takes
/// several times its size in the row.
fn numbers<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize, most: usize) -> rusqlite::Result<T> {
    const LONGEST_NUMBER: usize = "18446744073709551615,".len();
    let text = row.get_ref(column)?.as_str()?;
    if text.len() > "[]".len() + most * LONGEST_NUMBER {
        return Err(unreadable(column, text));
    }
    from_json(row, column)
}

pub(super) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| crate::store::StoreError::damaged(error.to_string()))
}

/// An error about the row of `what`.
pub(super) fn implausible(what: &str) -> rusqlite::Error {
    unreadable(0, &format!("{what}, with a value out of range"))
}

pub(super) fn unreadable(column: usize, text: &str) -> rusqlite::Error {
    let what = format!("column {column} holds \"{}\"", crate::text::excerpt(text));
    let kind = rusqlite::types::Type::Text;
    rusqlite::Error::FromSqlConversionFailure(column, kind, FromSqlError::Other(what.into()).into())
}
