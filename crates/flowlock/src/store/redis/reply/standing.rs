//! Where a run stands, and what is in its way.

use super::super::rows;
use super::{Parts, Result, strange};
use crate::blocker::{Blocked, Blocker, BlockerKind, By, RecordEvidence};
use crate::name::{JobName, Name};
use crate::origin::Origin;
use crate::record::{Input, Record};
use crate::run::State;
use crate::step::{Running, Standing, Waiting};
use crate::world::LivenessId;

pub(super) fn standing(mut parts: Parts) -> Result<Standing> {
    Ok(match parts.text()?.as_str() {
        "running" => Standing::Running(Running {
            token: parts.token()?,
            lease_left_ms: parts.number()?,
            inputs: parts.list()?.each(|mut input| read_input(input.list()?))?,
        }),
        "granted" => Standing::Granted { token: parts.token()? },
        "waiting" => Standing::Waiting(Waiting {
            state: parts.parsed("state", State::from_word)?,
            present: parts.number()? == 1,
            blocked: blocked(parts.list()?)?,
            probe: parts.list()?.each(|mut probe| {
                let mut probe = probe.list()?;
                Ok((probe.ticket()?, LivenessId(probe.parsed("liveness", |text| text.parse().ok())?)))
            })?,
            look_again_ms: parts.optional(Parts::number)?.map(|ms| ms.max(0) as u64),
        }),
        "still_waiting" => Standing::StillWaiting {
            state: parts.parsed("state", State::from_word)?,
            present: parts.number()? == 1,
        },
        "ended" => Standing::Ended {
            outcome: parts.outcome()?,
            blocked: parts.optional(|parts| blocked(parts.list()?))?,
        },
        "ask_again" => Standing::AskAgain,
        _ => return Err(strange("standing")),
    })
}

fn read_input(mut parts: Parts) -> Result<Input> {
    let (name, version) = (parts.name()?, parts.token()?);
    rows::unpack_input(&name, version, &parts.bytes()?)
}

pub(super) fn blocked(mut parts: Parts) -> Result<Blocked> {
    Ok(Blocked {
        by: parts.list()?.each(|mut blocker| read_blocker(blocker.list()?))?,
        more: parts.number()? == 1,
        ahead: parts.number()? as u32,
        retry_after_ms: parts.optional(Parts::number)?.map(|ms| ms.max(0) as u64),
    })
}

fn read_blocker(mut parts: Parts) -> Result<Blocker> {
    let kind = parts.parsed("blocker", BlockerKind::from_word)?;
    let name = parts.name()?;
    let by = parts.optional(|parts| by(parts.list()?))?;
    let record = parts.optional(|parts| evidence(&name, parts.list()?))?;
    Ok(Blocker { kind, name, by, record })
}

pub(super) fn by(mut parts: Parts) -> Result<By> {
    Ok(By {
        run: parts.run()?,
        job: parts.parsed("job", |text| JobName::parse(text).ok())?,
        origin: parts.parsed("origin", |text| serde_json::from_str::<Origin>(text).ok())?,
        since_us: parts.number()?,
        lease_left_ms: parts.optional(Parts::number)?,
        process_gone: parts.number()? == 1,
    })
}

/// Reads what a record, or its absence, says; its state is the current one.
fn evidence(name: &Name, mut parts: Parts) -> Result<RecordEvidence> {
    let state = parts.parsed("state", |letter| rows::record_state(*letter.as_bytes().first()?))?;
    let record = parts.optional(|parts| rows::unpack_record(name, &parts.bytes()?))?;
    Ok(crate::engine::explain::evidence(record.map(|record| Record { state, ..record })))
}
