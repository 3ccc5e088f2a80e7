//! [`StoreHandle`]: one namespace of one store, asked with a caller's time limits.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::id::{Attempt, ClientId};
use crate::name::Namespace;
use crate::origin::{Holder, Origin};
use crate::run::State;
use crate::step::{Answer, Cancelled, Step};
use crate::store::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::store::{Limits, LivenessLock, Page, Reach, Store, StoreError, View};
use crate::sync::lock;
use crate::world::{later, millis};

/// A caller who says that it will not wait is heard within this time.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// The longest last word.
const LAST_WORD: Duration = Duration::from_secs(1);
/// A request may be on its way for 5 minutes at most; a store refuses a later time of arrival.
const LONGEST_ON_THE_WAY: Duration = Duration::from_secs(298);

/// A store, the namespace that is used of it, who uses it, and for how long it is asked. It knows nothing of grants and
/// waits: those who look after them all have one.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) namespace: Namespace,
    pub(crate) client: ClientId,
    pub(crate) origin: Arc<Origin>,
    pub(crate) lease: Option<Duration>,
    pub(crate) keep_lapsed: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) commit_wait: Duration,
    pub(crate) interrupted: Option<Arc<AtomicBool>>,
    pub(crate) liveness_lock: Mutex<Option<Arc<LivenessLock>>>,
}

impl StoreHandle {
    /// Whether this is the same namespace of the same store.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        // Two stores in memory have the same URL.
        let is_same_store = || {
            Arc::ptr_eq(&self.store, &other.store)
                || self.store.reach() != Reach::Process && self.store.url() == other.store.url()
        };
        self.namespace == other.namespace && is_same_store()
    }

    /// The lease of a job that sets none.
    pub(crate) fn default_lease(&self) -> Duration {
        self.lease.unwrap_or_else(|| self.store.default_lease())
    }

    /// Carries out a step; repeats it while the store has passing trouble, for `store_timeout` at most and no longer than the
    /// caller wants to wait.
    pub(crate) fn step_for_caller(&self, step: &Step) -> Result<Answer, StoreError> {
        self.step_within(step, &self.limits_of_caller())
    }

    /// The same with limits of its own. Tells `note` why a try failed: if one may have taken effect, then the answer may be
    /// about what that did, and the step may be another one.
    pub(crate) fn step_noting<'s>(
        &self,
        step: impl Fn() -> &'s Step,
        note: impl Fn(&StoreError),
        limits: &Limits,
    ) -> Result<Answer, StoreError> {
        repeat(limits, passing_for(step()), || {
            self.store.step_within(&self.namespace, step(), limits).inspect_err(&note)
        })
    }

    /// The same with limits of its own. One repetition is always allowed, unless all the time went into the first try.
    pub(crate) fn step_within(&self, step: &Step, limits: &Limits) -> Result<Answer, StoreError> {
        repeat(limits, passing_for(step), || self.store.step_within(&self.namespace, step, limits))
    }

    /// As long as the store is asked, or until the caller says that it will not wait.
    pub(crate) fn limits_of_caller(&self) -> Limits {
        self.callers_limits(later(Instant::now(), self.store_timeout))
    }

    /// Until then, or until the caller says that it will not wait.
    pub(crate) fn callers_limits(&self, until: Instant) -> Limits {
        Limits { interrupted: self.interrupted.clone(), ..Limits::until(until) }
    }

    /// How long to wait for names at a time, so that a caller who says that it will not wait is heard.
    pub(crate) fn piece_of_wait(&self) -> Duration {
        self.hears_within().unwrap_or(Duration::from_hours(1))
    }

    /// How often to look whether the caller will not wait; `None` if it cannot say so.
    pub(crate) fn hears_within(&self) -> Option<Duration> {
        self.interrupted.is_some().then_some(HEARD_WITHIN)
    }

    /// Whether the caller says that it will not wait.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.callers_limits(Instant::now()).is_interrupted()
    }

    /// Reads another namespace within these limits; repeated as a step is.
    pub(crate) fn view_in(
        &self,
        namespace: &Namespace,
        view: &View,
        limits: &Limits,
    ) -> Result<Page, StoreError> {
        repeat_look(limits, StoreError::is_transient, || self.store.view_within(namespace, view, limits))
    }

    /// Lists namespaces within these limits; repeated as a step is.
    pub(crate) fn list_namespaces(&self, limits: &Limits) -> Result<Vec<Namespace>, StoreError> {
        repeat_look(limits, StoreError::is_transient, || self.store.namespaces(limits))
    }

    /// Takes back a request whose answer did not arrive, and that may arrive until `sent_ms`. Should it have been granted,
    /// nobody would ever renew or end it.
    pub(crate) fn withdraw(
        &self,
        attempt: &Attempt,
        sent_ms: i64,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        // The store's clock may have been set back since: what was sent before then arrives in time for longer.
        let latest_ms = self.latest_ms(limits)?.max(sent_ms);
        let cancel = Step::Cancel { attempt: attempt.clone(), latest_ms };
        match self.step_within(&cancel, limits)? {
            Answer::Cancelled(Cancelled::TooLate(State::Running)) => {
                tracing::warn!(run = %attempt.id, "the request was granted, but its answer was lost; giving the names back");
                self.step_within(&Step::GiveBack(attempt.clone()), limits).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// This process as the holder of a run.
    pub(crate) fn holder(&self) -> Result<Holder, StoreError> {
        let mut liveness_lock = lock(&self.liveness_lock);
        if liveness_lock.is_none() {
            *liveness_lock = self.store.new_liveness_lock()?.map(Arc::new);
        }
        let liveness = liveness_lock.as_ref().map(|liveness_lock| liveness_lock.liveness);
        Ok(Holder { client: self.client, liveness, origin: self.origin.clone() })
    }

    /// Says something at the end of a run. Once the caller waits no longer it is a last word.
    pub(crate) fn send_last_step(&self, step: &Step, limits: &Limits) -> Result<Answer, StoreError> {
        self.ask_at_last(limits, |limits| self.step_within(step, limits))
    }

    /// Asks within these limits; once more, as a last word, if the caller waits no longer.
    pub(crate) fn ask_at_last<T>(
        &self,
        limits: &Limits,
        ask: impl Fn(&Limits) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match ask(limits) {
            Err(_) if self.is_interrupted() => ask(&Limits::within(self.last_word())),
            answer => answer,
        }
    }

    /// How long a caller that waits no longer still tries to say that it leaves; else its silence says it.
    pub(crate) fn last_word(&self) -> Duration {
        self.store_timeout.min(LAST_WORD)
    }

    /// The latest arrival of a step sent now. The first question to a store may be this one.
    pub(crate) fn latest_ms(&self, limits: &Limits) -> Result<i64, StoreError> {
        let clock = || self.store.clock_within(&self.namespace, limits);
        Ok(repeat_look(limits, StoreError::is_transient, clock)?
            .saturating_add_unsigned(millis(self.store_timeout.min(LONGEST_ON_THE_WAY)))
            .saturating_add(1_000))
    }
}

/// Whether an error may pass, so that the store is asked again.
type Passing = fn(&StoreError) -> bool;

/// Returns after which errors a step is repeated. What a run has begun is not given up because a connection could not be
/// made: this process has made one before.
fn passing_for(step: &Step) -> Passing {
    match step {
        Step::Accept { .. }
        | Step::Refresh(_)
        | Step::Commit { .. }
        | Step::Fail(_)
        | Step::Cancel { .. }
        | Step::GiveBack(_)
        | Step::Detach(_) => StoreError::is_no_refusal,
        _ => StoreError::is_transient,
    }
}

/// Asks again while the store has passing trouble; once more in any case, unless the first try took all the time or the
/// caller will not wait.
fn repeat<T>(
    limits: &Limits,
    passing: Passing,
    mut ask: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut unknown = false;
    let asked = repeat_look(limits, passing, || ask().inspect_err(|error| unknown |= error.is_unknown()));
    // A plain refusal now says nothing about the try before it.
    asked.map_err(|error| if unknown { error.into_unknown() } else { error })
}

/// The same for what changes nothing: no earlier try can have had an effect.
fn repeat_look<T>(
    limits: &Limits,
    passing: Passing,
    mut ask: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut pause = FIRST_PAUSE;
    let mut repeated = false;
    loop {
        let error = match limits.is_still_wanted().and_then(|()| ask()) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let last = limits.left().is_zero() && (repeated || error.is_out_of_time());
        if !passing(&error) || last || limits.is_interrupted() || limits.is_given_up() {
            return Err(error);
        }
        tracing::debug!(%error, "the store did not answer; asking again");
        limits.sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        repeated = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flowlock;
    use crate::store::memory::MemoryStore;

    /// A sending that is on its way arrives in time for as long as the clock needs to come there again.
    #[test]
    fn what_is_withdrawn_stays_so_though_the_stores_clock_was_set_back() {
        use crate::store::memory::TestWorld;
        let world = Arc::new(TestWorld::default());
        let flowlock = Flowlock::with_store(Arc::new(MemoryStore::with_world(world.clone())));
        world.advance(Duration::from_secs(200));
        let sent_ms = flowlock.connection.latest_ms(&Limits::within(Duration::from_secs(2))).unwrap();
        world.reboot();
        let attempt = Attempt { id: crate::RunId::parse("job.1").unwrap(), nonce: crate::id::Nonce(1) };
        flowlock.connection.withdraw(&attempt, sent_ms, &Limits::within(Duration::from_secs(2))).unwrap();
        world.advance(Duration::from_mins(1));
        let request = crate::step::Acquire {
            attempt,
            spec: flowlock.job("job").lock("a").spec().unwrap(),
            holder: flowlock.connection.holder().unwrap(),
            patience: crate::step::Patience::Try,
            latest_ms: sent_ms,
        };
        let answer = flowlock.connection.step_for_caller(&Step::Acquire(request)).unwrap();
        let cancelled = crate::run::Outcome::Cancelled;
        let ended = crate::step::Standing::Ended { outcome: cancelled, blocked: None };
        assert_eq!(answer, Answer::Standing(ended));
    }
}
