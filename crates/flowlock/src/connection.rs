//! [`Connection`]: a store handle, and those who look after its grants and waits.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::endings::{Concern, Ending, Endings};
use crate::handle::StoreHandle;
use crate::keeper::Keeper;
use crate::lease::Lease;
use crate::store::{Limits, Page, StoreError, View, pages};
use crate::waiters::Waiters;
use crate::world::later;

/// What all clones of a [`Flowlock`](crate::Flowlock), its grants and its waits share. Its threads do not keep it alive:
/// when the last of those is dropped, they end.
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

    /// Looks after a grant from now on. Once one of them lasts, its thread listens as well: it wants to hear at once that
    /// it was unlocked.
    pub(crate) fn keep(self: &Arc<Self>, held: &Arc<Lease>) {
        let connection = Arc::downgrade(self);
        let listen = move || {
            if let Some(connection) = connection.upgrade() {
                connection.listen();
            }
        };
        self.keeper.keep(&self.handle, held, listen);
    }

    /// Looks after a grant no more, and says nothing more about it.
    pub(crate) fn release(&self, held: &Arc<Lease>) {
        self.keeper.release(held);
    }

    /// The waiting runs, with a thread that listens for them now or soon. Never waits.
    pub(crate) fn listen(&self) -> &Waiters {
        let waiters = self.waiters.get_or_init(Waiters::default);
        waiters.open(&self.handle, &self.keeper);
        waiters
    }

    /// The waiting runs, if there ever were any.
    pub(crate) fn waiters(&self) -> Option<&Waiters> {
        self.waiters.get()
    }

    /// Hands over what a drop leaves to be said. Waits for nothing, unless no thread can be started.
    pub(crate) fn end_later(&self, ending: Ending) {
        self.endings.hand_over(&self.handle, ending);
    }

    /// Has something asked for until the store answers.
    #[cfg(feature = "async")]
    pub(crate) fn ask_later(&self, patient: Box<dyn crate::repeats::Patient>) {
        self.repeats.take_over(&self.handle, patient);
    }

    /// The limits of a call that was made at `called`, when its turn comes; see [`Workers::until`](crate::workers::Workers::until).
    #[cfg(feature = "async")]
    pub(crate) fn limits_of_call(&self, called: Instant) -> Result<Limits, StoreError> {
        let until = self.workers.until(called, self.store_timeout)?;
        Ok(self.callers_limits(until))
    }

    /// Waits until everything that was dropped before is said. Returns whether nothing is left.
    pub(crate) fn flush(&self, at_most: Duration) -> bool {
        self.endings.settle(&Concern::All, &Limits::within(at_most), at_most).is_whole
    }

    /// Waits until what was dropped before and is of concern is said; see [`Endings::settle`]. Returns the limits for what
    /// the caller asks then: they begin anew if the store answered meanwhile.
    pub(crate) fn settle(&self, of_concern: &Concern<'_>, limits: Limits) -> Limits {
        // Half of the time is the question's own.
        if !self.endings.settle(of_concern, &limits, limits.left() / 2).has_answered {
            return limits;
        }
        let anew = later(Instant::now(), self.store_timeout);
        Limits { until: limits.until.max(anew), ..limits }
    }

    /// Reads; repeated as a step is, and no longer than the caller wants to wait.
    pub(crate) fn view(&self, view: &View) -> Result<Page, StoreError> {
        let limits = self.settle(&Concern::of_view(view), self.limits_of_caller());
        pages::checked(view, self.view_in(&self.namespace, view, &limits)?)
    }
}
