//! How runs, requests and records are stored; both sides read them: see `lua/state.lua`.

mod record;
mod run;
mod spec;

use std::sync::Arc;

use serde::Serialize;

pub(super) use self::record::{RECORD_HEAD, record_state, unpack_input, unpack_record};
pub(super) use self::run::unpack_run;
pub(super) use self::spec::{pack_spec, place_field};
use self::spec::{unpack_spec, unpacked};
use crate::bounds::Bounds;
use crate::claim::Space;
use crate::id::{Nonce, Ticket};
use crate::name::Name;
use crate::origin::Actor;
use crate::run::Resource;
use crate::store::StoreError;
use crate::store::memory::TestWorld;
use crate::world::World as _;

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
