//! Whether a page of a listing answers the question. A reader of pages only ends if each page begins
//! after the one before: a faulty server could otherwise make it read for ever.

use super::{Content, Page, Seen, StoreError, StoreErrorKind, View};
use crate::blocker::{Blocked, By};
use crate::id::Ticket;
use crate::name::Name;
use crate::origin::Origin;
use crate::record::Record;

/// Returns the page if it is where the view says and its parts are in order.
///
/// # Errors
/// [`Damaged`](super::StoreErrorKind::Damaged) if not.
pub(crate) fn checked(view: &View, page: Page) -> Result<Page, StoreError> {
    match (view, &page.content) {
        (View::Runs { from, limit, .. }, Content::Runs(runs, next)) => {
            let tickets = runs.iter().map(|seen| seen.run.ticket);
            // An empty page continues where it began.
            let behind = if *limit == 0 { None } else { next_ticket(*from, *next)? };
            if !ascend(tickets.clone().chain(behind)) || tickets.min().is_some_and(|first| first < *from) {
                return Err(strange("runs"));
            }
        }
        (View::Records { prefix, after, .. }, Content::Records(records, next)) => {
            if !lie_behind(after.as_ref(), prefix, records)
                || next.as_ref().is_some_and(|next| !ends_a_page(next, after.as_ref(), prefix, records))
            {
                return Err(strange("records"));
            }
        }
        (View::Names(asked), Content::Names(seen)) => {
            let in_order =
                seen.len() <= asked.len() && seen.iter().zip(asked).all(|(s, name)| s.name == *name);
            if !in_order || (seen.is_empty() && !asked.is_empty()) {
                return Err(strange("names"));
            }
        }
        (View::Run(_) | View::Attempt(_), Content::Run(_)) | (View::Namespace, Content::Namespace(_)) => {}
        _ => return Err(StoreError::damaged("the answer does not fit the question")),
    }
    Ok(page)
}

/// Returns where the next page of runs begins, if there is one: it must be after the beginning of this
/// one.
pub(crate) fn next_ticket(from: Ticket, next: Option<Ticket>) -> Result<Option<Ticket>, StoreError> {
    if next.is_some_and(|next| next <= from) { Err(strange("runs")) } else { Ok(next) }
}

/// Estimates how much memory a run takes, with what is in its way.
pub(crate) fn size_of(seen: &Seen) -> usize {
    let Seen { run, blocked, .. } = seen;
    let claims = &run.spec.claims;
    let names: usize = claims.iter().map(|claim| size_of_val(claim) + claim.name.as_str().len()).sum();
    let actor = run.actor.as_ref().map_or(0, |actor| size_of_origin(&actor.origin));
    let numbers = size_of_val(&*run.input_versions) + size_of_val(&*run.ancestors);
    size_of_val(seen)
        + names
        + numbers
        + actor
        + size_of_origin(&run.holder.origin)
        + blocked.as_ref().map_or(0, size_of_blocked)
}

fn size_of_blocked(blocked: &Blocked) -> usize {
    let by = |by: &By| by.run.as_str().len() + by.job.as_str().len() + size_of_origin(&by.origin);
    let one = |blocker: &crate::blocker::Blocker| {
        size_of_val(blocker) + blocker.name.as_str().len() + blocker.by.as_ref().map_or(0, by)
    };
    blocked.by.iter().map(one).sum()
}

fn size_of_origin(origin: &Origin) -> usize {
    let Origin { host, user, ci, .. } = origin;
    size_of_val(origin) + host.len() + user.len() + ci.as_ref().map_or(0, String::len)
}

/// Returns an error about more runs than can be kept at once.
pub(crate) fn too_much(count: usize, most_bytes: usize) -> StoreError {
    let message = format!(
        "the namespace has more runs than can be listed at once: the first {count} take more than {} MiB",
        most_bytes >> 20
    );
    StoreError::new(StoreErrorKind::Unusable, message)
}

fn lie_behind(after: Option<&Name>, prefix: &str, records: &[Record]) -> bool {
    let names = records.iter().map(|record| &record.name);
    ascend(after.into_iter().chain(names.clone()))
        && names.clone().all(|name| name.as_str().starts_with(prefix))
}

/// Returns whether the next page can continue after this name: it is the last name here, or the name of
/// a record that does not count any more.
fn ends_a_page(next: &Name, after: Option<&Name>, prefix: &str, records: &[Record]) -> bool {
    let is_behind = after.is_none_or(|after| next > after) && next.as_str().starts_with(prefix);
    is_behind && records.last().is_none_or(|last| last.name <= *next)
}

fn ascend<T: PartialOrd>(items: impl Iterator<Item = T>) -> bool {
    items.is_sorted_by(|one, next| one < next)
}

fn strange(what: &str) -> StoreError {
    StoreError::damaged(format!("a page of {what} does not follow the one before, or is not in order"))
}
