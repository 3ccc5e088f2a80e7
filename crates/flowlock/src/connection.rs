//! [`Connection`]: a store handle, and the threads that look after its grants and waits.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::endings::{Concern, Ending, Endings};
use crate::handle::StoreHandle;
use crate::id::Attempt;
use crate::keeper::Keeper;
use crate::lease::Lease;
use crate::store::{Limits, Page, StoreError, View, pages};
use crate::waiters::Waiters;
use crate::world::later;

/// Shared by all clones of a [`Flowlock`](crate::Flowlock), its grants and its waits. Its threads do not
/// keep it alive: when the last of those is dropped, they end.
#[derive(Debug)]
pub(crate) struct Connection {
    handle: Arc<StoreHandle>,
    keeper: Keeper,
    waiters: OnceLock<Waiters>,
    endings: Endings,
    #[cfg(feature = "async")]
    pub(crate) workers: crate::workers::Workers,
    #[cfg(feature = "async")]
    repeats: crate::repeats::Repeats,
    #[cfg(feature = "async")]
    pub(crate) timer: crate::timer::Timer,
}

impl Deref for Connection {
    type Target = StoreHandle;

    fn deref(&self) -> &StoreHandle {
        &self.handle
    }
}

impl Connection {
    pub(crate) fn new(handle: StoreHandle) -> Self {
        Self {
            handle: Arc::new(handle),
            keeper: Keeper::default(),
            waiters: OnceLock::new(),
            endings: Endings::default(),
            #[cfg(feature = "async")]
            workers: crate::workers::Workers::default(),
            #[cfg(feature = "async")]
            repeats: crate::repeats::Repeats::default(),
            #[cfg(feature = "async")]
            timer: crate::timer::Timer::default(),
        }
    }

    /// Looks after a grant from now on. Once a grant lasts, the waiters' thread listens as well, so that
    /// an unlock is heard at once.
    pub(crate) fn keep(self: &Arc<Self>, held: &Arc<Lease>) {
        let connection = Arc::downgrade(self);
        let listen = move || {
            if let Some(connection) = connection.upgrade() {
                connection.listen();
            }
        };
        self.keeper.keep(&self.handle, held, listen);
    }

    /// Stops looking after a grant, and reports nothing more about it.
    pub(crate) fn release(&self, held: &Arc<Lease>) {
        self.keeper.release(held);
    }

    /// Returns the waiting runs, with a thread that listens for them now or soon. Never waits.
    pub(crate) fn listen(&self) -> &Waiters {
        let waiters = self.waiters.get_or_init(Waiters::default);
        waiters.open(&self.handle, &self.keeper);
        waiters
    }

    #[cfg(test)]
    pub(crate) fn handle(&self) -> &Arc<StoreHandle> {
        &self.handle
    }

    /// Returns the waiting runs, if there ever were any.
    pub(crate) fn waiters(&self) -> Option<&Waiters> {
        self.waiters.get()
    }

    /// Returns the runs that must still be ended.
    #[cfg(feature = "async")]
    pub(crate) fn endings(&self) -> &Endings {
        &self.endings
    }

    /// Hands over a run that must be ended, because it was dropped or could not be ended at once. Does not
    /// wait, unless no thread can be started.
    pub(crate) fn end_later(&self, ending: Ending) {
        self.endings.hand_over(&self.handle, ending);
    }

    /// Returns whether the store must still be told of the end of this very attempt.
    pub(crate) fn is_ending(&self, attempt: &Attempt) -> bool {
        self.endings.has(attempt)
    }

    /// Has a commit repeated until the store answers.
    #[cfg(feature = "async")]
    pub(crate) fn ask_later(&self, patient: Box<dyn crate::repeats::Patient>) {
        self.repeats.take_over(&self.handle, patient);
    }

    /// Returns the limits of a call that was made at `called`, when its turn comes; see
    /// [`Workers::until`](crate::workers::Workers::until).
    #[cfg(feature = "async")]
    pub(crate) fn limits_of_call(&self, called: Instant) -> Result<Limits, StoreError> {
        let until = self.workers.until(called, self.store_timeout)?;
        Ok(self.callers_limits(until))
    }

    /// Waits until the store knows of everything that was dropped or left before. Returns whether nothing is
    /// left.
    pub(crate) fn flush(&self, at_most: Duration) -> bool {
        self.endings.settle(&Concern::All, &Limits::within(at_most), at_most).is_whole
    }

    /// Waits until the store knows of the earlier drops that are of concern; see [`Endings::settle`].
    /// Returns the limits for the caller's next question: they begin again if the store answered
    /// meanwhile.
    pub(crate) fn settle(&self, of_concern: &Concern<'_>, limits: Limits) -> Limits {
        // Half of the time is left for the question itself.
        if !self.endings.settle(of_concern, &limits, limits.left() / 2).has_answered {
            return limits;
        }
        let anew = later(Instant::now(), self.store_timeout);
        Limits { until: limits.until.max(anew), ..limits }
    }

    /// Reads. Repeats the read as a step is repeated, no longer than the caller wants to wait.
    pub(crate) fn view(&self, view: &View) -> Result<Page, StoreError> {
        let limits = self.settle(&Concern::of_view(view), self.limits_of_caller());
        pages::checked(view, self.view_in(&self.namespace, view, &limits)?)
    }
}
