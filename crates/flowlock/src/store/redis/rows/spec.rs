//! How requests are packed, and their claims.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{EXCLUSIVE, MUST_EXIST, SHARED, UNITS, letter, place_from, unreadable};
use crate::claim::{Claim, ClaimsBuilder, Mode};
use crate::name::{JobName, RunId};
use crate::parent::{PROOF_LENGTH, Parent};
use crate::run::Resource;
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::store::{StoreError, plausible};

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

/// Packs what a run asks for; equal requests are equal bytes.
pub(in crate::store::redis) fn pack_spec(spec: &Spec) -> Vec<u8> {
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
pub(in crate::store::redis) fn place_field(own: char, claim: &Claim) -> String {
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
pub(super) fn unpacked<'b, T: serde::Deserialize<'b>>(
    bytes: &'b [u8],
) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEEPEST);
    T::deserialize(&mut reader)
}

pub(super) fn unpack_spec(text: &[u8]) -> Result<Spec, StoreError> {
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
