//! How runs are unpacked.

use std::sync::Arc;

use serde::Deserialize;

use super::{Texts, actor_from, place_from, ticket_from, unpack_spec, unpacked, unreadable};
use crate::id::{Attempt, ClientId, Nonce, Token};
use crate::name::RunId;
use crate::origin::Holder;
use crate::run::{RowKind, Run, State};
use crate::spec::Spec;
use crate::store::{StoreError, plausible};
use crate::world::LivenessId;

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

/// Reads a run from its row, what it asked for, and the versions of its inputs.
pub(in crate::store::redis) fn unpack_run(
    row: &[u8],
    spec: &[u8],
    versions: Option<&[u8]>,
) -> Result<Run, StoreError> {
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
