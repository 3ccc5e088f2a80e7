//! Whether the values of a row can have been written by flowlock. Anybody who may write to a store may
//! have altered it. Sums of plausible values never overflow.

use crate::bounds::{MOST_ANCESTORS, MOST_MADE_FROM};
use crate::claim::{Claim, LARGEST_CAPACITY, MOST_CLAIMS, Mode};
#[cfg(feature = "sqlite")]
use crate::engine::tables::Meta;
use crate::id::Token;
use crate::origin::{Actor, LONGEST_LINK, LONGEST_ORIGIN, Origin};
#[cfg(feature = "redis")]
use crate::record::Input;
use crate::record::{LONGEST_NOTE, MadeFrom, Record};
use crate::run::Run;

/// The largest number that every store, and a script on a server, counts exactly: 285,000 years in
/// milliseconds, 285 years in microseconds.
pub(crate) const LARGEST: u64 = (1 << 53) - 1;

/// Returns whether all numbers of a run are plausible, and its lists and its texts about people no
/// longer than possible.
pub(crate) fn run(run: &Run) -> bool {
    let past = [run.began_ms, run.absent_since_ms, Some(run.since_us)];
    let ends = [run.deadline_ms, run.wait_end_ms, run.place_end_ms, run.given_up_ms, run.forget_ms];
    is_small(run.ticket.0)
        && is_origin(&run.holder.origin)
        && run.actor.as_ref().is_none_or(is_actor)
        && past.into_iter().flatten().all(is_time)
        && ends.into_iter().flatten().all(is_end)
        && run.token.iter().chain(&run.input_versions).copied().all(is_token)
        && run.ancestors.len() <= MOST_ANCESTORS
        && run.input_versions.len() <= MOST_CLAIMS
        && run.spec.claims.len() <= MOST_CLAIMS
        && run.ancestors.iter().all(|ticket| is_small(ticket.0))
        && run.spec.claims.iter().all(is_claim)
}

/// Returns whether all numbers of a record are plausible, and its note is not too long.
pub(crate) fn record(record: &Record) -> bool {
    is_token(record.version)
        && record.note.as_ref().is_none_or(|note| note.len() <= LONGEST_NOTE)
        && is_time(record.written_at_us)
        && record.expires_at_us.is_none_or(is_end)
        && record.actor.as_ref().is_none_or(is_actor)
        && record.failure.as_ref().is_none_or(|failure| is_time(failure.at_us))
        && match &record.made_from {
            MadeFrom::Inputs(inputs) => {
                inputs.len() <= MOST_MADE_FROM && inputs.iter().all(|(_, version)| is_token(*version))
            }
            MadeFrom::Digest { .. } => true,
        }
}

/// Returns whether what a run is told about an input is plausible.
#[cfg(feature = "redis")]
pub(crate) fn input(input: &Input) -> bool {
    is_token(input.version)
        && is_time(input.written_at_us)
        && input.note.as_ref().is_none_or(|note| note.len() <= LONGEST_NOTE)
}

/// Returns whether all numbers of a namespace's own row are plausible.
#[cfg(feature = "sqlite")]
pub(crate) fn meta(meta: &Meta) -> bool {
    let counts = [
        meta.sequence,
        meta.last_ticket,
        meta.last_token,
        meta.token_ceiling,
        meta.safe_ceiling,
        meta.waiting,
        meta.queued,
        meta.lapsed,
    ];
    let due = [meta.next_due_ms, meta.next_expiry_us, meta.next_forget_ms];
    meta.removed.as_ref().is_none_or(is_actor)
        && counts.into_iter().all(is_small)
        && is_time(meta.last_wall_us)
        && due.into_iter().all(is_end)
}

fn is_actor(actor: &Actor) -> bool {
    is_time(actor.at_us) && is_origin(&actor.origin)
}

/// Returns whether it is as short as a process makes it: `Origin::within_its_limits`.
fn is_origin(origin: &Origin) -> bool {
    origin.host.len() <= LONGEST_ORIGIN
        && origin.user.len() <= LONGEST_ORIGIN
        && origin.ci.as_ref().is_none_or(|link| link.len() <= LONGEST_LINK)
}

fn is_claim(claim: &Claim) -> bool {
    match claim.mode {
        Mode::Units { units, capacity } => units <= capacity && capacity <= LARGEST_CAPACITY,
        Mode::Shared | Mode::Exclusive => true,
    }
}

fn is_token(token: Token) -> bool {
    is_small(token.0)
}

fn is_small(number: u64) -> bool {
    number <= LARGEST
}

fn is_time(time: i64) -> bool {
    is_small(time.unsigned_abs())
}

/// A point in time is compared and never added to. A sum with a length that is too long ends at the end
/// of time.
fn is_end(time: i64) -> bool {
    time >= 0 || is_time(time)
}
