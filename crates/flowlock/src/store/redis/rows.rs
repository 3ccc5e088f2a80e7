//! How runs, requests and records stand in the store, read by both sides: see `lua/tables.lua`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::claim::{Claim, ClaimsBuilder, Mode, Space};
use crate::name::{JobName, Name, RunId};
use crate::record::{Failure, MadeFrom, Record, RecordState};
use crate::run::{
    Attempt, ClientId, Holder, IfWritten, Nonce, OnFail, Outcome, Place, Run, Spec, State, Ticket, Token,
};
use crate::store::StoreError;
use crate::store::memory::TestWorld;
use crate::world::{Life, World as _};

/// What a run asked for. What is not there is none, or no.
#[derive(Serialize, Deserialize)]
struct SpecRow<'a> {
    job: &'a str,
    claims: Vec<ClaimRow>,
    lease: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_written: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_fail: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record_life: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_runtime: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ClaimRow {
    place: String,
    mode: char,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    must: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    units: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<u32>,
}

/// A run, as the scripts write it: what is not there is none, or no.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Deserialize)]
struct RunRow {
    ticket: String,
    id: RunId,
    nonce: String,
    client: String,
    #[serde(default)]
    life: Option<String>,
    origin: String,
    state: String,
    since: i64,
    #[serde(default)]
    ancestors: Vec<String>,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    absent_since: Option<i64>,
    #[serde(default)]
    in_line: bool,
    #[serde(default)]
    lapsed: bool,
    #[serde(default)]
    revoked: bool,
    #[serde(default)]
    detached: bool,
    #[serde(default)]
    token: Option<u64>,
    #[serde(default)]
    deadline: Option<i64>,
    #[serde(default)]
    began: Option<i64>,
    #[serde(default)]
    wait_end: Option<i64>,
    #[serde(default)]
    place_end: Option<i64>,
    #[serde(default)]
    forget: Option<i64>,
    #[serde(default)]
    parked: Option<String>,
}

fn unreadable(what: &str) -> StoreError {
    StoreError::damaged(format!("{what} cannot be read"))
}

/// A place's letter; `a` stands for the record of a name, so that places sort as the engine sorts them.
fn letter(space: Option<Space>) -> char {
    match space {
        None => 'a',
        Some(Space::Data) => 'd',
        Some(Space::Lock) => 'l',
        Some(Space::Slot) => 's',
    }
}

pub(super) fn space_from(letter: &str) -> Option<Option<Space>> {
    Some(match letter {
        "a" => None,
        "d" => Some(Space::Data),
        "l" => Some(Space::Lock),
        "s" => Some(Space::Slot),
        _ => return None,
    })
}

fn place_from(text: &str) -> Option<Place> {
    let (letter, name) = text.split_at_checked(1)?;
    Some(Place { space: space_from(letter)?, name: Name::parse(name).ok()? })
}

/// A ticket as 16 digits, so that tickets sort as texts.
pub(super) fn ticket_text(ticket: Ticket) -> String {
    format!("{:016}", ticket.0)
}

pub(super) fn ticket_from(text: &str) -> Option<Ticket> {
    text.parse().ok().map(Ticket)
}

pub(super) fn nonce_text(nonce: Nonce) -> String {
    format!("{:032x}", nonce.0)
}

/// What a run asks for, packed; equal requests are equal bytes.
pub(super) fn pack_spec(spec: &Spec) -> Vec<u8> {
    let row = SpecRow {
        job: spec.job.as_str(),
        claims: spec.claims.iter().map(claim_row).collect(),
        lease: spec.lease_ms,
        if_written: match spec.if_written {
            IfWritten::Overwrite => None,
            IfWritten::Fail => Some("fail".into()),
            IfWritten::Skip => Some("skip".into()),
        },
        on_fail: (spec.on_fail == OnFail::Incomplete).then(|| "incomplete".into()),
        parent: spec.parent.as_ref().map(|parent| parent.as_str().into()),
        record_life: spec.record_life_ms,
        max_runtime: spec.max_runtime_ms,
    };
    // Numbers and texts in memory: there is nothing that could fail.
    rmp_serde::to_vec_named(&row).unwrap_or_default()
}

fn claim_row(claim: &Claim) -> ClaimRow {
    let (mode, units, capacity) = match claim.mode {
        Mode::Shared => ('s', None, None),
        Mode::Exclusive => ('x', None, None),
        Mode::Units { units, capacity } => ('u', Some(units), Some(capacity)),
    };
    let place = format!("{}{}", letter(Some(claim.space)), claim.name.as_str());
    ClaimRow { place, mode, must: claim.must_exist, units, capacity }
}

fn unpack_spec(text: &[u8]) -> Result<Spec, StoreError> {
    let row: SpecRow<'_> = rmp_serde::from_slice(text).map_err(|e| unreadable("a request").caused_by(e))?;
    spec_from(&row).ok_or_else(|| unreadable("a request"))
}

fn spec_from(row: &SpecRow<'_>) -> Option<Spec> {
    let mut claims = ClaimsBuilder::default();
    for ClaimRow { place, mode, must, units, capacity } in &row.claims {
        let Place { space, name } = place_from(place)?;
        let mode = match mode {
            's' => Mode::Shared,
            'x' => Mode::Exclusive,
            'u' => Mode::Units { units: (*units)?, capacity: (*capacity)? },
            _ => return None,
        };
        claims = claims.claim(Claim { space: space?, name, mode, must_exist: *must });
    }
    Some(Spec {
        job: JobName::parse(row.job).ok()?,
        claims: claims.build().ok()?,
        lease_ms: row.lease,
        if_written: match row.if_written.as_deref() {
            None => IfWritten::Overwrite,
            Some("fail") => IfWritten::Fail,
            Some("skip") => IfWritten::Skip,
            Some(_) => return None,
        },
        on_fail: if row.on_fail.is_some() { OnFail::Incomplete } else { OnFail::Keep },
        parent: row.parent.as_deref().map(RunId::parse).transpose().ok()?,
        record_life_ms: row.record_life,
        max_runtime_ms: row.max_runtime,
    })
}

/// A run from its row, what it asked for, and the versions of its inputs.
pub(super) fn unpack_run(row: &[u8], spec: &[u8], versions: Option<&[u8]>) -> Result<Run, StoreError> {
    let row: RunRow = rmp_serde::from_slice(row).map_err(|e| unreadable("a run").caused_by(e))?;
    let versions = match versions {
        None => Vec::new(),
        Some(text) => {
            rmp_serde::from_slice(text).map_err(|e| unreadable("the versions of inputs").caused_by(e))?
        }
    };
    run_from(row, unpack_spec(spec)?, versions).ok_or_else(|| unreadable("a run"))
}

fn run_from(row: RunRow, spec: Spec, versions: Vec<u64>) -> Option<Run> {
    let hex = |text: &str| u128::from_str_radix(text, 16).ok();
    let ancestors = row.ancestors.iter().map(|text| ticket_from(text)).collect::<Option<Vec<_>>>()?;
    Some(Run {
        ticket: ticket_from(&row.ticket)?,
        attempt: Attempt { id: row.id, nonce: Nonce(hex(&row.nonce)?) },
        spec: Arc::new(spec),
        ancestors: ancestors.into(),
        holder: Holder {
            client: ClientId(hex(&row.client)?),
            life: row.life.map(|life| life.parse().map(Life)).transpose().ok()?,
            origin: Arc::new(serde_json::from_str(&row.origin).ok()?),
        },
        state: State::from_word(&row.state)?,
        present: !row.absent,
        in_line: row.in_line,
        lapsed: row.lapsed,
        revoked: row.revoked,
        detached: row.detached,
        token: row.token.map(Token),
        deadline_ms: row.deadline,
        began_ms: row.began,
        wait_end_ms: row.wait_end,
        place_end_ms: row.place_end,
        absent_since_ms: row.absent_since,
        forget_ms: row.forget,
        since_us: row.since,
        input_versions: versions.into_iter().map(Token).collect(),
        parked: match row.parked {
            None => None,
            Some(place) => Some(place_from(&place)?),
        },
    })
}

/// A record from its bytes: a head of fixed size, then texts ended by NUL, then the note.
pub(super) fn unpack_record(name: &Name, raw: &[u8]) -> Result<Record, StoreError> {
    record_from(name, raw).ok_or_else(|| unreadable(&format!("record {name}")))
}

const HEAD: usize = 25;

fn record_from(name: &Name, raw: &[u8]) -> Option<Record> {
    let (head, tail) = raw.split_at_checked(HEAD)?;
    let number = |at: usize| Some(f64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let mut texts = Texts(tail);
    let failed = [texts.next()?, texts.next()?, texts.next()?, texts.next()?];
    let (run, job) = (texts.next()?, texts.next()?);
    let made_from = made_from(&mut texts)?;
    let due = number(17)?;
    Some(Record {
        name: name.clone(),
        state: record_state(head[0])?,
        version: Token(number(1)? as u64),
        run: RunId::parse(run).ok()?,
        job: JobName::parse(job).ok()?,
        written_at_us: number(9)? as i64,
        expires_at_us: (due >= 0.0).then_some(due as i64),
        note: texts.note()?,
        made_from,
        failure: if failed[0].is_empty() { None } else { Some(failure_from(failed)?) },
    })
}

/// The state that a letter stands for.
pub(super) fn record_state(letter: u8) -> Option<RecordState> {
    Some(match letter {
        b'L' => RecordState::Live,
        b'I' => RecordState::Incomplete,
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

/// Texts ended by NUL, which no name, job or run id has in it.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        std::str::from_utf8(text).ok()
    }

    /// What is left: nothing, or a note, which may have any character in it.
    fn note(self) -> Option<Option<String>> {
        match self.0.split_first()? {
            (b'-', []) => Some(None),
            (b'+', note) => Some(Some(std::str::from_utf8(note).ok()?.to_owned())),
            _ => None,
        }
    }
}

/// The world of a test, as the scripts of tests take it.
pub(super) fn pack_world(world: &TestWorld) -> Vec<u8> {
    #[derive(Serialize)]
    struct WorldRow {
        wall_us: i64,
        boot_ms: i64,
        boot_id: String,
        looks: u32,
        claims: usize,
        due: usize,
        dead: Vec<String>,
    }
    let (now, bounds) = (world.now(), world.bounds());
    let dead = world.dead().iter().map(|life| life.0.to_string()).collect();
    let row = WorldRow {
        wall_us: now.wall_us,
        boot_ms: now.boot_ms,
        boot_id: world.boot_id(),
        looks: bounds.looks,
        claims: bounds.claims,
        due: bounds.due,
        dead,
    };
    rmp_serde::to_vec_named(&row).unwrap_or_default()
}
