//! How runs, requests and records are stored; both sides read them: see `lua/state.lua`.

mod record;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(super) use self::record::{RECORD_HEAD, record_state, unpack_input, unpack_record};
use crate::bounds::Bounds;
use crate::claim::{Claim, ClaimsBuilder, Mode, Space};
use crate::id::{Attempt, ClientId, Nonce, Ticket, Token};
use crate::name::{JobName, Name, RunId};
use crate::origin::{Actor, Holder};
use crate::parent::{PROOF_LENGTH, Parent};
use crate::run::{Resource, RowKind, Run, State};
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::store::StoreError;
use crate::store::memory::TestWorld;
use crate::store::plausible;
use crate::world::{LivenessId, World as _};

/// How deep values of a row may be nested; lists in a table are never nested deeper.
const DEEPEST: usize = 8;

/// A cell of what a run asked for: an array of job, lease, `if_written`, `on_fail`, parent, record life
/// and longest run time; then a text for each claim; last how long the run is kept once it lapsed.
/// `None` is `false`, which a script can keep in an array.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Cell<'a> {
    Number(u64),
    No(bool),
    Text(Cow<'a, str>),
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::No(false), |text| Self::Text(text.into()))
    }
}

impl From<Option<u64>> for Cell<'_> {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::No(false), |number| Self::Number(number.min(plausible::LARGEST)))
    }
}

impl Cell<'_> {
    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

/// A run, as the scripts write it. A missing field means `None` or `false`.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Deserialize)]
struct RunRow {
    ticket: String,
    id: RunId,
    nonce: String,
    client: String,
    #[serde(default)]
    liveness: Option<String>,
    origin: String,
    state: String,
    since: i64,
    #[serde(default)]
    ancestors: Vec<String>,
    #[serde(default)]
    tombstone: bool,
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
    given_up: Option<i64>,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    forget: Option<i64>,
    #[serde(default)]
    parked: Option<String>,
}

fn unreadable(what: &str) -> StoreError {
    StoreError::damaged(format!("{what} cannot be read")).garbled()
}

/// A place's letter: `a` for the record of a name, so that places sort as the engine sorts them, or a
/// space.
pub(super) const RECORD: u8 = b'a';
pub(super) const DATA: u8 = b'd';
pub(super) const LOCK: u8 = b'l';
pub(super) const SLOT: u8 = b's';

/// A claim's mode.
pub(super) const SHARED: u8 = b's';
pub(super) const EXCLUSIVE: u8 = b'x';
pub(super) const UNITS: u8 = b'u';

/// In a claim: its record must exist.
pub(super) const MUST_EXIST: u8 = b'!';

/// In front of a note.
pub(super) const NOTE: u8 = b'+';

/// How many digits a ticket has.
pub(super) const TICKET: usize = 16;

fn letter(space: Option<Space>) -> char {
    char::from(match space {
        None => RECORD,
        Some(Space::Data) => DATA,
        Some(Space::Lock) => LOCK,
        Some(Space::Slot) => SLOT,
    })
}

pub(super) fn space_from(letter: &str) -> Option<Space> {
    Some(match letter.as_bytes() {
        [DATA] => Space::Data,
        [LOCK] => Space::Lock,
        [SLOT] => Space::Slot,
        _ => return None,
    })
}

fn place_from(text: &str) -> Option<Resource> {
    let (letter, name) = text.split_at_checked(1)?;
    let space = if letter.as_bytes() == [RECORD] { None } else { Some(space_from(letter)?) };
    Some(Resource { space, name: Name::parse(name).ok()? })
}

/// Formats a ticket as 16 digits, so that tickets sort as texts.
pub(super) fn ticket_text(ticket: Ticket) -> String {
    format!("{:0TICKET$}", ticket.0)
}

pub(super) fn ticket_from(text: &str) -> Option<Ticket> {
    text.parse().ok().map(Ticket)
}

pub(super) fn nonce_text(nonce: Nonce) -> String {
    // Every step has one or more tickets, and the formatting machinery takes ten times as long.
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    nonce.0.to_be_bytes().into_iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Packs what a run asks for; equal requests are equal bytes.
pub(super) fn pack_spec(spec: &Spec) -> Vec<u8> {
    let if_written = match spec.if_written {
        IfWritten::Overwrite => None,
        IfWritten::Fail => Some("fail"),
        IfWritten::Skip => Some("skip"),
    };
    let on_fail = (spec.on_fail == OnFail::Incomplete).then_some("incomplete");
    // The proof has a fixed length.
    let parent = spec.parent.as_ref().map(|parent| format!("{}{}", parent.proof(), parent.run().as_str()));
    let mut cells = vec![
        Some(spec.job.as_str()).into(),
        Cell::Number(spec.lease_ms),
        if_written.into(),
        on_fail.into(),
        parent.as_deref().into(),
        spec.record_life_ms.into(),
        spec.max_runtime_ms.into(),
    ];
    cells.extend(spec.claims.iter().map(|claim| Cell::Text(claim_text(claim).into())));
    cells.push(Some(spec.keep_lapsed_ms).into());
    // Numbers and texts in memory: this cannot fail.
    rmp_serde::to_vec(&cells).unwrap_or_default()
}

/// Formats a claim: its mode, `!` if its record must exist or else `-`, for units how many of how many
/// and a colon, the place.
fn claim_text(claim: &Claim) -> String {
    let (mode, units) = match claim.mode {
        Mode::Shared => (SHARED, String::new()),
        Mode::Exclusive => (EXCLUSIVE, String::new()),
        Mode::Units { units, capacity } => (UNITS, format!("{units}/{capacity}:")),
    };
    let must = if claim.must_exist { char::from(MUST_EXIST) } else { '-' };
    let mut text = String::with_capacity(3 + units.len() + claim.name.as_str().len());
    text.push(char::from(mode));
    text.push(must);
    text.push_str(&units);
    push_place(&mut text, claim);
    text
}

/// Returns the field of the hash for the place of a claim: a letter, then the place.
pub(super) fn place_field(own: char, claim: &Claim) -> String {
    let mut text = String::with_capacity(2 + claim.name.as_str().len());
    text.push(own);
    push_place(&mut text, claim);
    text
}

/// Adds the name in its space.
fn push_place(text: &mut String, claim: &Claim) {
    text.push(letter(Some(claim.space)));
    text.push_str(claim.name.as_str());
}

/// Unpacks a value. Nested values cost stack, and a process that may write to the store could nest them
/// by the thousand.
fn unpacked<'b, T: serde::Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEEPEST);
    T::deserialize(&mut reader)
}

fn unpack_spec(text: &[u8]) -> Result<Spec, StoreError> {
    let cells: Vec<Cell<'_>> = unpacked(text).map_err(|e| unreadable("a request").caused_by(e))?;
    spec_from(&cells).ok_or_else(|| unreadable("a request"))
}

fn spec_from(cells: &[Cell<'_>]) -> Option<Spec> {
    let ([job, lease, if_written, on_fail, parent, record_life, max_runtime], claims) =
        cells.split_first_chunk()?;
    let (keep_lapsed, claims) = match claims.split_last() {
        Some((Cell::Number(ms), claims)) => (*ms, claims),
        _ => (KEEP_LAPSED_MS, claims),
    };
    let mut builder = ClaimsBuilder::default();
    for claim in claims {
        builder = builder.claim(claim_from(claim.text()?)?);
    }
    Some(Spec {
        job: JobName::parse(job.text()?).ok()?,
        claims: builder.build().ok()?,
        lease_ms: lease.number()?,
        if_written: match if_written.text() {
            None => IfWritten::Overwrite,
            Some("fail") => IfWritten::Fail,
            Some("skip") => IfWritten::Skip,
            Some(_) => return None,
        },
        on_fail: if on_fail.text().is_some() { OnFail::Incomplete } else { OnFail::Keep },
        parent: match parent.text() {
            None => None,
            Some(text) => Some(parent_from(text)?),
        },
        record_life_ms: record_life.number(),
        max_runtime_ms: max_runtime.number(),
        keep_lapsed_ms: keep_lapsed,
    })
}

/// The proof, then the run's id.
fn parent_from(text: &str) -> Option<Parent> {
    let (proof, run) = text.split_at_checked(PROOF_LENGTH)?;
    Parent::with_proof(RunId::parse(run).ok()?, proof).ok()
}

fn claim_from(text: &str) -> Option<Claim> {
    let (head, rest) = text.split_at_checked(2)?;
    let must_exist = head.as_bytes()[1] == MUST_EXIST;
    let (mode, place) = match head.as_bytes()[0] {
        SHARED => (Mode::Shared, rest),
        EXCLUSIVE => (Mode::Exclusive, rest),
        UNITS => {
            let (numbers, place) = rest.split_once(':')?;
            let (units, capacity) = numbers.split_once('/')?;
            (Mode::Units { units: units.parse().ok()?, capacity: capacity.parse().ok()? }, place)
        }
        _ => return None,
    };
    let Resource { space, name } = place_from(place)?;
    Some(Claim { space: space?, name, mode, must_exist })
}

/// Reads a run from its row, what it asked for, and the versions of its inputs.
pub(super) fn unpack_run(row: &[u8], spec: &[u8], versions: Option<&[u8]>) -> Result<Run, StoreError> {
    let row: RunRow = unpacked(row).map_err(|e| unreadable("a run").caused_by(e))?;
    let versions = match versions {
        None => Vec::new(),
        Some(text) => versions_from(text).ok_or_else(|| unreadable("the versions of inputs"))?,
    };
    run_from(row, unpack_spec(spec)?, versions).filter(plausible::run).ok_or_else(|| unreadable("a run"))
}

/// The text has the number of inputs, and the name and the version of each; every part ends with NUL.
fn versions_from(text: &[u8]) -> Option<Vec<u64>> {
    let mut texts = Texts(text);
    let count: usize = texts.next()?.parse().ok()?;
    (0..count).map(|_| texts.next().and_then(|_| texts.next()?.parse().ok())).collect()
}

fn run_from(row: RunRow, spec: Spec, versions: Vec<u64>) -> Option<Run> {
    let hex = |text: &str| u128::from_str_radix(text, 16).ok();
    let ancestors = row.ancestors.iter().map(|text| ticket_from(text)).collect::<Option<Vec<_>>>()?;
    Some(Run {
        kind: if row.tombstone { RowKind::Tombstone } else { RowKind::Run },
        ticket: ticket_from(&row.ticket)?,
        attempt: Attempt { id: row.id, nonce: Nonce(hex(&row.nonce)?) },
        spec: Arc::new(spec),
        ancestors: ancestors.into(),
        holder: Holder {
            client: ClientId(hex(&row.client)?),
            liveness: row.liveness.map(|liveness| liveness.parse().map(LivenessId)).transpose().ok()?,
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
        given_up_ms: row.given_up,
        actor: match row.actor {
            None => None,
            Some(text) => Some(actor_from(&text)?),
        },
        forget_ms: row.forget,
        since_us: row.since,
        input_versions: versions.into_iter().map(Token).collect(),
        parked: match row.parked {
            None => None,
            Some(place) => Some(place_from(&place)?),
        },
    })
}

/// The text has when somebody acted by hand (microseconds), a space, and who.
pub(super) fn actor_from(text: &str) -> Option<Actor> {
    let (at, origin) = text.split_once(' ')?;
    Some(Actor { origin: Arc::new(serde_json::from_str(origin).ok()?), at_us: at.parse().ok()? })
}

/// The text is neither a note nor none.
struct Unreadable;

/// Texts that end with NUL, which no name, job or run id contains.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        std::str::from_utf8(text).ok()
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }

    /// Returns the rest: nothing, or a note, which may contain any character.
    fn note(self) -> Result<Option<String>, Unreadable> {
        match self.0.split_first().ok_or(Unreadable)? {
            (b'-', []) => Ok(None),
            (&NOTE, note) => {
                std::str::from_utf8(note).map(|note| Some(note.to_owned())).map_err(|_| Unreadable)
            }
            _ => Err(Unreadable),
        }
    }
}

/// Which paths the scripts take in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ways {
    /// Ordinary steps take a fast path, as everywhere outside of tests.
    Short,
    /// All steps take the full engine, which must give the same result.
    Long,
}

/// Packs the world of a test, as the scripts of tests read it.
pub(super) fn pack_world(world: &TestWorld, ways: Ways) -> Vec<u8> {
    #[derive(Serialize)]
    struct WorldRow {
        wall_us: i64,
        boot_ms: i64,
        boot_id: String,
        bounds: Bounds,
        dead: Vec<String>,
        ways: Ways,
    }
    let (now, bounds) = (world.now(), world.bounds());
    let dead = world.dead().iter().map(|liveness| liveness.0.to_string()).collect();
    let boot_id = world.boot_id();
    let row = WorldRow { wall_us: now.wall_us, boot_ms: now.boot_ms, boot_id, bounds, dead, ways };
    rmp_serde::to_vec_named(&row).unwrap_or_default()
}
