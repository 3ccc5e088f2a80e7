//! The thread that listens for all waiting runs of a connection.
//!
//! It owns its inbox. It takes the registry's mutex to copy the registry, or the mutex of one waiting
//! run to read or change that run, never both at once. It holds none of them while it calls the store,
//! probes, or tells a waiting run. It keeps neither the store handle nor the connection alive (`Weak`):
//! it ends in the round in which it finds them gone, and `Waiters` wakes it for that. `waiters.rs`
//! explains `closed`.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::hints::Hints;
use super::{ByRun, HEARTBEAT, Listening, Shared};
use crate::bounds::MOST_EXPLAINED;
use crate::handle::StoreHandle;
use crate::id::{ClientId, Ticket};
use crate::keeper::Alarm;
use crate::name::RunId;
use crate::step::{Answer, Standing, Step};
use crate::store::{Inbox, Missed, News, StoreError, StoreErrorKind, pages};
use crate::sync::lock;
use crate::waiter::{Known, Waiter};
use crate::world::{LivenessId, random_u64};

/// How often it probes whether the processes in the way are alive.
const PROBE: Duration = Duration::from_millis(500);
/// How soon a heartbeat that did not reach the store is sent again: two lost ones in a row would count
/// as silence.
const SECOND_TRY: Duration = Duration::from_secs(1);
/// How many pages of an answer it reads: enough for a million runs, more than any process has.
const MOST_PAGES: usize = 1_000;

/// The thread's state.
pub(super) struct WaitersThread {
    shared: Arc<Shared>,
    handle: Weak<StoreHandle>,
    /// Tells the keeper that something happened to its grants.
    keeper: Alarm,
    client: ClientId,
    /// `None` while it could not be opened.
    inbox: Option<Box<dyn Inbox>>,
    hints: Hints,
    /// Whether its thread was started.
    is_started: bool,
    /// Whether it was logged that there is no inbox.
    has_no_inbox: bool,
}

impl Drop for WaitersThread {
    /// However it ends, also by a panic, no run relies on it any more.
    fn drop(&mut self) {
        if !self.is_started {
            lock(&self.shared.waiters).listening = Listening::No;
            return;
        }
        self.inbox = None;
        if std::thread::panicking() {
            // The runs start another thread when they are told; if that panics too, it should not be at
            // once.
            std::thread::sleep(PROBE);
        }
        self.shared.set_listening(Listening::No, None);
    }
}

impl WaitersThread {
    pub(super) fn new(shared: Arc<Shared>, handle: &Arc<StoreHandle>, keeper: Alarm) -> Self {
        let (handle, client) = (Arc::downgrade(handle), handle.client);
        let hints = Hints::default();
        Self { shared, handle, keeper, client, inbox: None, hints, is_started: false, has_no_inbox: false }
    }

    pub(super) fn run(mut self) {
        self.is_started = true;
        self.open_inbox();
        let mut heartbeat = Instant::now() + HEARTBEAT;
        let mut probe = Instant::now();
        while !self.shared.closed.load(Ordering::Acquire) {
            let next = self.next_look(heartbeat, probe);
            let news = self.wait(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            let Some(handle) = self.handle.upgrade() else { return };
            heartbeat = heartbeat.min(self.spread(news, now));
            if self.probe_if_due(&handle, now, &mut probe) {
                heartbeat = now;
            }
            let waiters = self.shared.waiters();
            // Every waiter is looked at: more than one may be due.
            if waiters.iter().filter(|(_, waiter)| waiter.mark_stale_if_due(now, &[])).count() > 0 {
                heartbeat = now;
            }
            if now >= heartbeat {
                heartbeat = self.heartbeat(&handle, &waiters, now);
                drop(handle);
                if self.has_no_inbox {
                    self.open_inbox();
                }
            }
        }
    }

    fn open_inbox(&mut self) {
        let Some(handle) = self.handle.upgrade() else { return };
        match handle.store.inbox(&handle.namespace, self.client) {
            Ok(inbox) => {
                self.has_no_inbox = false;
                self.shared.set_listening(Listening::Yes, Some(inbox.interrupter()));
                self.inbox = Some(inbox);
                // News that came before was missed: an unlock, or a takeover by another server.
                self.keeper.look_at_all();
            }
            Err(error) => self.go_without_inbox(&error),
        }
    }

    /// Listens by heartbeats alone; tells the runs and the log once.
    fn go_without_inbox(&mut self, error: &StoreError) {
        if std::mem::replace(&mut self.has_no_inbox, true) {
            tracing::debug!(%error, "still no inbox for wake-ups");
        } else {
            tracing::warn!(%error,
                "no inbox for wake-ups; a hand-off is noticed at the next heartbeat, within 5 s");
            self.shared.set_listening(Listening::Yes, None);
        }
    }

    fn wait(&mut self, at_most: Duration) -> News {
        if let Some(inbox) = &mut self.inbox {
            return inbox.wait(at_most);
        }
        std::thread::sleep(at_most.min(PROBE));
        News::default()
    }

    /// Tells the runs concerned; returns when to ask about all.
    fn spread(&mut self, heard: News, now: Instant) -> Instant {
        let is_ours = |run: &RunId| self.shared.is_waiting(run) || self.keeper.keeps(run);
        let news = self.hints.pass_on(heard, now, is_ours);
        for run in news.runs {
            // Its id may also be that of an earlier run, whose wait or grant is still here.
            self.shared.tell(&run);
            self.keeper.look_at(&run);
        }
        if news.missed != Missed::Nothing {
            self.keeper.look_at_all();
            self.shared.waiters().iter().for_each(|(_, waiter)| waiter.mark_doubtful());
        }
        match news.missed {
            Missed::Nothing => now + HEARTBEAT,
            Missed::Here => now,
            // All processes are told at once, but should not all ask at once.
            Missed::Everywhere => now + Duration::from_millis(random_u64() % 500),
        }
    }

    /// Returns when to look next: at the next heartbeat, probe or look; in a minute if no run waits.
    fn next_look(&self, heartbeat: Instant, probe: Instant) -> Instant {
        let waiters = self.shared.waiters();
        let hint = self.hints.next();
        if waiters.is_empty() {
            return hint.unwrap_or_else(|| Instant::now() + Duration::from_mins(1));
        }
        let mut next = hint.map_or(heartbeat, |hint| hint.min(heartbeat));
        for (_, waiter) in waiters {
            let state = lock(&waiter.state);
            next = next.min(state.look_again.unwrap_or(next));
            if !state.waiting.probe.is_empty() {
                next = next.min(probe);
            }
        }
        next
    }

    /// Probes if it is time to; returns whether somebody was dead.
    fn probe_if_due(&self, handle: &StoreHandle, now: Instant, at: &mut Instant) -> bool {
        if now < *at {
            return false;
        }
        *at = now + PROBE;
        self.bury_the_dead(handle, now)
    }

    /// Probes the processes in the way of this process's runs, without reading the store, and reports
    /// the dead.
    fn bury_the_dead(&self, handle: &StoreHandle, now: Instant) -> bool {
        let mut suspects: Vec<(Ticket, LivenessId)> = Vec::new();
        let waiters = self.shared.waiters();
        for (_, waiter) in &waiters {
            suspects.extend(lock(&waiter.state).waiting.probe.iter().copied());
        }
        suspects.sort_unstable();
        suspects.dedup();
        let dead: Vec<Ticket> = suspects
            .into_iter()
            .filter(|(_, liveness)| !handle.store.is_alive(*liveness))
            .map(|(ticket, _)| ticket)
            .collect();
        if dead.is_empty() {
            return false;
        }
        for (_, waiter) in &waiters {
            waiter.mark_stale_if_due(now, &dead);
        }
        if let Err(error) = handle.store.step(&handle.namespace, &Step::Bury(dead)) {
            tracing::warn!(%error, "could not report a dead process; trying again");
        }
        true
    }

    /// Tells the store that the process is alive, and the runs what the store answers; returns when to
    /// do so again.
    fn heartbeat(&self, handle: &StoreHandle, waiters: &[(RunId, Arc<Waiter>)], now: Instant) -> Instant {
        let explain = to_explain(waiters, now);
        let mut by_run = ByRun::new();
        for (run, waiter) in waiters {
            by_run.entry(run.clone()).or_default().push(waiter.clone());
        }
        if !self.hear(handle, &explain, by_run) {
            return now + SECOND_TRY;
        }
        // There may be more to ask about than one answer explains.
        if waiters.iter().any(|(_, waiter)| waiter.is_stale()) { now } else { after(now) }
    }

    /// Returns whether the store was reached.
    fn hear(&self, handle: &StoreHandle, explain: &[RunId], mut waiters: ByRun) -> bool {
        // Every wait of a run is looked at.
        let is_urgent = |run: &&RunId| {
            waiters.get(*run).into_iter().flatten().filter(|waiter| waiter.take_stale()).count() > 0
        };
        let urgent: HashSet<RunId> = explain.iter().filter(is_urgent).cloned().collect();
        let mut from = (!waiters.is_empty()).then_some(Ticket(0));
        let mut pages = 0..MOST_PAGES;
        while let Some(page) = from
            && !self.shared.closed.load(Ordering::Acquire)
        {
            if pages.next().is_none() {
                tracing::warn!("the store lists more runs of this process than there can be; trying again");
                return false;
            }
            let beat = Step::Heartbeat { client: self.client, from: page, explain: explain.to_vec() };
            let heard = handle.store.step(&handle.namespace, &beat);
            let heard = heard.and_then(|answer| match answer {
                Answer::Heard { runs, next } => Ok(Some((runs, pages::next_ticket(page, next)?))),
                _ => Ok(None),
            });
            let runs = match heard {
                Ok(Some((runs, next))) => {
                    from = next;
                    runs
                }
                Ok(None) => return true,
                // In another store there is nothing to wait for: each run asks for itself, and learns
                // that.
                Err(error) if error.kind() == StoreErrorKind::Replaced => break,
                Err(error) => {
                    tracing::warn!(%error, "no heartbeat; trying again");
                    return false;
                }
            };
            for (run, standing) in runs {
                // If there is none, it came after the list was made, or left before.
                if let Some(waits) = waiters.remove(&run) {
                    take_in(&run, &waits, &standing, &urgent);
                }
            }
        }
        // No page lists them: they do not wait any more.
        waiters.values().flatten().for_each(|waiter| let_it_ask(waiter));
        true
    }
}

/// Takes in where a run stands. An answer that does not explain an `urgent` one leaves it so.
fn take_in(run: &RunId, waits: &[Arc<Waiter>], standing: &Standing, urgent: &HashSet<RunId>) {
    for waiter in waits {
        match standing {
            Standing::Waiting(waiting) => waiter.set_waiting(waiting.clone()),
            Standing::StillWaiting { state, present } => {
                waiter.set_still_waiting(*state, *present);
                if urgent.contains(run) {
                    waiter.mark_stale();
                }
            }
            _ => let_it_ask(waiter),
        }
        // All but one are over; they learn it by asking.
        if waits.len() > 1 {
            waiter.tell();
        }
    }
}

/// The run was granted, or has ended.
fn let_it_ask(waiter: &Waiter) {
    waiter.take_stale();
    waiter.tell();
}

/// Returns the runs that a heartbeat asks about: first those whose state is known to be out of date,
/// then those that were explained longest ago; not those whose state is still known.
fn to_explain(waiters: &[(RunId, Arc<Waiter>)], now: Instant) -> Vec<RunId> {
    let key = |waiter: &Waiter| {
        let state = lock(&waiter.state);
        (state.known != Known::Stale, state.explained)
    };
    let asked = waiters.iter().filter(|(_, waiter)| !waiter.knows_enough(now));
    let mut all: Vec<_> = asked.map(|(run, waiter)| (key(waiter), run)).collect();
    all.sort_unstable();
    // A run may have several waits.
    let mut seen = HashSet::new();
    all.retain(|(_, run)| seen.insert(*run));
    all.into_iter().take(MOST_EXPLAINED).map(|(_, run)| run.clone()).collect()
}

/// Returns when the next heartbeat is due: at the same interval, slightly varied between processes.
fn after(now: Instant) -> Instant {
    now + HEARTBEAT.saturating_sub(Duration::from_millis(random_u64() % 200))
}

#[cfg(test)]
mod tests;
