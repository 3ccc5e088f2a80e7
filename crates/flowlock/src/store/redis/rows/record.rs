//! A record's bytes: a head of fixed size, then texts that end with NUL, then the note.

use super::{Texts, actor_from, unreadable};
use crate::id::Token;
use crate::name::{JobName, Name, RunId};
use crate::record::{Failure, Input, MadeFrom, Record, RecordState};
use crate::run::Outcome;
use crate::store::{StoreError, plausible};

/// The length of a record's head, in bytes.
pub(in crate::store::redis) const RECORD_HEAD: usize = 25;

/// Reads a record from its bytes.
pub(in crate::store::redis) fn unpack_record(name: &Name, raw: &[u8]) -> Result<Record, StoreError> {
    record_from(name, raw).filter(plausible::record).ok_or_else(|| unreadable(&format!("record {name}")))
}

/// Reads what a run is told about an input: only that part of the record.
pub(in crate::store::redis) fn unpack_input(
    name: &Name,
    version: Token,
    raw: &[u8],
) -> Result<Input, StoreError> {
    input_from(name, version, raw).ok_or_else(|| unreadable(&format!("record {name}")))
}

fn input_from(name: &Name, version: Token, raw: &[u8]) -> Option<Input> {
    let (head, tail) = raw.split_at_checked(RECORD_HEAD)?;
    let mut texts = Texts(tail);
    // Skip who acted by hand, and the failed attempt.
    texts.skip(5)?;
    let run = RunId::parse(texts.next()?).ok()?;
    // Skip the job, and what it was made from.
    texts.skip(1)?;
    let behind = match texts.next()? {
        digest if digest.starts_with('#') => 1,
        count => count.parse::<usize>().ok()?.checked_mul(2)?,
    };
    texts.skip(behind)?;
    let written_at_us = number(head, 9)? as i64;
    let input = Input { name: name.clone(), version, run, written_at_us, note: texts.note().ok()? };
    plausible::input(&input).then_some(input)
}

/// Reads a number of a record's head.
fn number(head: &[u8], at: usize) -> Option<f64> {
    Some(f64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?))
}

fn record_from(name: &Name, raw: &[u8]) -> Option<Record> {
    let (head, tail) = raw.split_at_checked(RECORD_HEAD)?;
    let mut texts = Texts(tail);
    let actor = texts.next()?;
    let failed = [texts.next()?, texts.next()?, texts.next()?, texts.next()?];
    let (run, job) = (texts.next()?, texts.next()?);
    let made_from = made_from(&mut texts)?;
    let due = number(head, 17)?;
    Some(Record {
        name: name.clone(),
        state: record_state(head[0])?,
        was_live: head[0] == WAS_LIVE,
        version: Token(number(head, 1)? as u64),
        run: RunId::parse(run).ok()?,
        job: JobName::parse(job).ok()?,
        written_at_us: number(head, 9)? as i64,
        expires_at_us: (due >= 0.0).then_some(due as i64),
        note: texts.note().ok()?,
        made_from,
        failure: if failed[0].is_empty() { None } else { Some(failure_from(failed)?) },
        actor: if actor.is_empty() { None } else { Some(actor_from(actor)?) },
    })
}

/// The letter of a record that is incomplete only since its present holder began.
const WAS_LIVE: u8 = b'J';

/// Returns the state that a letter stands for.
pub(in crate::store::redis) fn record_state(letter: u8) -> Option<RecordState> {
    Some(match letter {
        b'L' => RecordState::Live,
        b'I' | WAS_LIVE => RecordState::Incomplete,
        b'E' => RecordState::Expired,
        b'R' => RecordState::Removed,
        b'N' => RecordState::NeverWritten,
        _ => return None,
    })
}

fn failure_from([run, job, outcome, at]: [&str; 4]) -> Option<Failure> {
    Some(Failure {
        run: RunId::parse(run).ok()?,
        job: JobName::parse(job).ok()?,
        at_us: at.parse().ok()?,
        outcome: Outcome::from_word(outcome)?,
    })
}

fn made_from(texts: &mut Texts<'_>) -> Option<MadeFrom> {
    let count = texts.next()?;
    if let Some(inputs) = count.strip_prefix('#') {
        return Some(MadeFrom::Digest { inputs: inputs.parse().ok()?, sha1: texts.next()?.to_owned() });
    }
    let input = |_| Some((Name::parse(texts.next()?).ok()?, Token(texts.next()?.parse().ok()?)));
    (0..count.parse::<usize>().ok()?).map(input).collect::<Option<_>>().map(MadeFrom::Inputs)
}
