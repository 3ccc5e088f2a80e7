//! What a view shows: runs, names, records, a namespace.

use super::super::rows;
use super::{Parts, Result, blocked, by};
use crate::id::Token;
use crate::record::{Record, RecordState};
use crate::store::NamespaceSeen;
use crate::view::{NameSeen, Seen};

pub(super) fn namespace_seen(mut parts: Parts, seen_us: i64) -> Result<NamespaceSeen> {
    let mut count = || parts.number().map(i64::unsigned_abs);
    let (living, waiting, records, outcomes) = (count()?, count()?, count()?, count()?);
    Ok(NamespaceSeen {
        running: living.saturating_sub(waiting),
        waiting,
        records,
        outcomes,
        last_used_us: parts.parsed("time", |text| text.parse().ok())?,
        removed: parts.optional(|parts| parts.parsed("actor", rows::actor_from))?,
        seen_us,
    })
}

pub(super) fn seen(mut parts: Parts, seen_us: i64) -> Result<Seen> {
    let (row, spec) = (parts.bytes()?, parts.bytes()?);
    let versions = parts.optional(Parts::bytes)?;
    Ok(Seen {
        run: rows::unpack_run(&row, &spec, versions.as_deref())?,
        lease_left_ms: parts.optional(Parts::number)?,
        blocked: parts.optional(|parts| blocked(parts.list()?))?,
        silent_since_us: parts.optional(Parts::number)?,
        seen_us,
    })
}

pub(super) fn named_record(mut parts: Parts) -> Result<Record> {
    let name = parts.name()?;
    rows::unpack_record(&name, &parts.bytes()?)
}

pub(super) fn name_seen(mut parts: Parts, seen_us: i64) -> Result<NameSeen> {
    let name = parts.name()?;
    let record = parts.optional(|parts| rows::unpack_record(&name, &parts.bytes()?))?;
    let space = |parts: &mut Parts| parts.parsed("space", rows::space_from);
    let holders = parts.list()?.each(|mut holder| {
        let mut holder = holder.list()?;
        Ok((space(&mut holder)?, by(holder.list()?)?, holder.token()?))
    })?;
    let waiters = |parts: &mut Parts| {
        parts.list()?.each(|mut waiter| {
            let mut waiter = waiter.list()?;
            Ok((space(&mut waiter)?, by(waiter.list()?)?))
        })
    };
    let line = waiters(&mut parts)?;
    let has_expired = parts.number()? == 1;
    let beside_line = waiters(&mut parts)?;
    let more_beside_line = parts.number()? == 1;
    let record = record.map(|record| {
        let state = if has_expired { RecordState::Expired } else { record.state };
        Record { state, ..record }
    });
    let evidence = crate::engine::explain::evidence(record.clone());
    let version = record.as_ref().map_or(Token(0), |record| record.version);
    let record = record.filter(|record| matches!(record.state, RecordState::Live | RecordState::Incomplete));
    Ok(NameSeen { name, record, version, evidence, holders, line, beside_line, more_beside_line, seen_us })
}
