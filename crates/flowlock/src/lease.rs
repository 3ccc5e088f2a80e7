//! A grant as the keeper knows it: its deadline by this process's own clock, and whether it is lost.
//!
//! The keeper's two threads and every thread of the user that has the grant use it. The order of two
//! mutexes matters: `told` (the callbacks) is locked before `lost` (whether it is lost), so that no
//! callback is registered between a loss and its report. `trouble` is independent. The user's code is
//! called and dropped under none of them.
//!
//! Each atomic is a fact on its own; no two of them must fit together. Each is read by a thread that
//! decides again in the next round, at most 1 s later, and a mix of old and new values costs one
//! question to the store. With release and acquire, a thread that sees a fact also sees what was written
//! before it (for example an answer's deadline before `renewed_late`). One decision is final, a loss by
//! time, and it is made under `lost` (`lapse`): a renewal stores the deadline first and takes that lock
//! afterwards (`reinstate`), so one of the two sees the other. `deadline_ms` and `last_refresh_ms` only
//! grow (`fetch_max`), whichever answer comes first. `news` is swapped, so that news set meanwhile is
//! not lost.

mod loss;
mod renewing;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::loss::Listeners;
pub(crate) use self::renewing::{ask, refresh_one};
use crate::error::Lost;
use crate::id::{Attempt, Token};
use crate::run::LostBy;
use crate::store::StoreError;
use crate::sync::lock;

/// A store remembers how a run ended for at least this long.
const REMEMBERED_MS: i64 = 600_000;
/// A refresh by hand takes effect at most this often, or ten times within a lease that is shorter than
/// ten of these.
const BY_HAND_MS: i64 = 1_000;
/// Refreshes due within this time of each other go into one call.
const TOGETHER_MS: i64 = 50;
/// The pause after a failed refresh.
const RETRY_MS: i64 = 500;

/// How claims were lost if the store does not know the run any more.
pub(crate) const TAKEN: Lost = Lost::By(LostBy::Taken);

/// Who renews a grant's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The keeper, when a third of the lease has passed.
    Automatic,
    /// The caller.
    ByHand,
}

/// A grant as the keeper knows it.
pub(crate) struct Lease {
    pub(crate) attempt: Attempt,
    pub(crate) token: Token,
    length_ms: i64,
    renewal: Renewal,
    /// When its longest run time is over at the latest, whatever the store says or does not say.
    longest_ms: i64,
    /// When this process must assume the loss (boot clock).
    deadline_ms: AtomicI64,
    next_refresh_ms: AtomicI64,
    /// Whether the store must be asked because something happened to the run, whoever renews it.
    news: AtomicBool,
    last_refresh_ms: AtomicI64,
    /// Whether a renewal was due and the store has not answered one since.
    unanswered: AtomicBool,
    /// Why the last renewal failed, if it did.
    trouble: Mutex<Option<String>>,
    /// Whether the end of the lease alone does not end the grant: the store is asked until it answers.
    insists: AtomicBool,
    /// Whether it reached its longest run time, and is not renewed any more.
    capped: AtomicBool,
    /// Whether the store's last renewal found that the deadline had passed.
    renewed_late: AtomicBool,
    lost: Mutex<Option<Lost>>,
    /// Whether the caller has ended the run: the store's news about it is not reported any more.
    ended: AtomicBool,
    told: Arc<Mutex<Listeners>>,
}

/// What a grant needs at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// Nothing any more: it is lost.
    Gone,
    /// Its deadline has passed.
    Expired,
    /// The store must be asked.
    Due,
    /// Nothing yet.
    Later,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("run", &self.attempt.id)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Reads this process's own clock, which also runs while the machine is suspended.
pub(crate) fn now_ms() -> i64 {
    crate::world::boot_now_ms()
}

impl Lease {
    pub(crate) fn new(
        attempt: &Attempt,
        token: Token,
        lease_ms: u64,
        deadline_ms: i64,
        renewal: Renewal,
    ) -> Self {
        let lease_ms = lease_ms as i64;
        let begun_ms = deadline_ms - lease_ms;
        Self {
            attempt: attempt.clone(),
            token,
            length_ms: lease_ms,
            renewal,
            longest_ms: i64::MAX,
            deadline_ms: AtomicI64::new(deadline_ms),
            next_refresh_ms: AtomicI64::new(begun_ms + lease_ms / 3),
            news: AtomicBool::new(false),
            last_refresh_ms: AtomicI64::new(begun_ms),
            unanswered: AtomicBool::new(false),
            trouble: Mutex::new(None),
            insists: AtomicBool::new(false),
            capped: AtomicBool::new(false),
            renewed_late: AtomicBool::new(false),
            lost: Mutex::default(),
            ended: AtomicBool::new(false),
            told: Arc::default(),
        }
    }

    /// Ends it at this time at the latest.
    pub(crate) fn until(self, longest_ms: i64) -> Self {
        Self { longest_ms, ..self }
    }

    /// Returns when it first needs attention: a refresh, or its deadline.
    pub(crate) fn first_event_ms(&self) -> i64 {
        let refresh = self.next_refresh_ms.load(Ordering::Acquire);
        let deadline = self.deadline_ms.load(Ordering::Acquire);
        match self.is_renewed() {
            true if self.is_unsettled() => refresh.min(self.longest_ms),
            true => deadline.min(refresh),
            false => deadline,
        }
    }

    /// Whether the keeper renews it. Asked anew for each renewal: an answer that was on its way when renewing was stopped sets
    /// when the next one would be due.
    fn is_renewed(&self) -> bool {
        self.renewal == Renewal::Automatic && !self.capped.load(Ordering::Acquire)
    }

    /// Takes what must be done about it: news and a due renewal count as asked for from now on.
    pub(crate) fn take_attention(&self, now: i64) -> Attention {
        if lock(&self.lost).is_some() {
            return Attention::Gone;
        }
        if self.longest_ms <= now {
            self.stop_renewing();
        }
        let deadline = if self.is_unsettled() { i64::MAX } else { self.deadline_ms.load(Ordering::Acquire) };
        if deadline <= now {
            return Attention::Expired;
        }
        let first = self.first_event_ms();
        if !self.news.swap(false, Ordering::AcqRel) && (first > now + TOGETHER_MS || first >= deadline) {
            return Attention::Later;
        }
        self.next_refresh_ms.store(now + RETRY_MS, Ordering::Release);
        self.unanswered.store(true, Ordering::Release);
        Attention::Due
    }

    /// Notes that something happened to it, so that the store is asked.
    pub(crate) fn set_news(&self) {
        self.news.store(true, Ordering::Release);
    }

    /// Notes that nothing more is to be reported about it.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn time_left(&self) -> Duration {
        let left = self.deadline_ms.load(Ordering::Acquire) - now_ms();
        Duration::from_millis(left.max(0) as u64)
    }

    /// Returns the loss, if it is lost. Also notices the end of its lease.
    pub(crate) fn notice_loss(&self) -> Option<Lost> {
        self.lapse();
        let lost = *lock(&self.lost);
        lost.or_else(|| self.is_past_deadline().then(|| self.expiry()))
    }

    fn is_past_deadline(&self) -> bool {
        self.time_left().is_zero()
    }

    /// Returns what the end of its lease means.
    fn expiry(&self) -> Lost {
        let unanswered = self.unanswered.load(Ordering::Acquire) && !self.capped.load(Ordering::Acquire);
        if unanswered { Lost::Unreachable } else { Lost::Expired }
    }

    /// Returns whether only the store can say that it is over.
    fn is_unsettled(&self) -> bool {
        self.insists.load(Ordering::Acquire) && self.is_renewed()
    }

    pub(crate) fn stop_renewing(&self) {
        self.capped.store(true, Ordering::Release);
    }

    pub(crate) fn insist(&self) {
        self.insists.store(true, Ordering::Release);
    }

    /// Returns why the last renewal failed, if none was answered since.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    fn note_failure(&self, error: &StoreError) {
        self.unanswered.store(true, Ordering::Release);
        *lock(&self.trouble) = Some(error.to_string());
    }

    pub(crate) fn was_renewed_late(&self) -> bool {
        self.renewed_late.load(Ordering::Acquire)
    }

    pub(crate) fn was_refreshed_lately(&self) -> bool {
        self.since_refresh_ms() < BY_HAND_MS.min(self.length_ms / 10)
    }

    fn since_refresh_ms(&self) -> i64 {
        now_ms() - self.last_refresh_ms.load(Ordering::Acquire)
    }

    /// Returns what it means if the store does not know the run. Outcomes are remembered for ten
    /// minutes, so only another or an older store does not know a run that was heard of more recently.
    pub(crate) fn if_not_found(&self) -> Lost {
        match self.since_refresh_ms() {
            ..REMEMBERED_MS => Lost::WithTheStore,
            _ => Lost::By(LostBy::Taken),
        }
    }
}

#[cfg(test)]
mod tests;
