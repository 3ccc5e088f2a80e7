//! How long one attempt may take: a step, or to connect.

use std::time::{Duration, Instant};

use super::url::Durability;
use crate::store::Limits;
use crate::world::later;

/// The shortest time for a step or an attempt to connect: less is not enough for any network.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);
/// One attempt gets a third of the whole time, within these limits: a server that is frozen or cut off
/// must leave time to find the one that took over, and to renew a lease there.
const SHARE: u32 = 3;
const SHORT_ATTEMPT: Duration = Duration::from_secs(1);
const LONG_ATTEMPT: Duration = Duration::from_secs(5);

/// The limits of a caller that lets the store decide how long one attempt may take.
pub(super) fn no_limits() -> Limits {
    Limits::within(Duration::MAX)
}

/// Returns the limits of one attempt. Even a caller whose time is over gets some time, because otherwise
/// the one repetition that is always allowed would do nothing.
pub(super) fn attempt(patience: Duration, limits: &Limits) -> Limits {
    let now = Instant::now();
    let mut attempt = limits.clone().no_later_than(later(now, patience));
    attempt.until = attempt.until.max(later(now, LEAST_PATIENCE));
    attempt
}

/// Returns how long one attempt gets, if the caller keeps asking for `all`; a wait for replicas must fit
/// in.
pub(super) fn one_attempt(all: Duration, durability: Durability) -> Duration {
    let replicas = match durability {
        Durability::None => Duration::ZERO,
        Durability::Replicas { within, .. } => within * 2,
    };
    let share = (all / SHARE).clamp(SHORT_ATTEMPT, LONG_ATTEMPT);
    share.max(replicas).min(all).max(LEAST_PATIENCE)
}
