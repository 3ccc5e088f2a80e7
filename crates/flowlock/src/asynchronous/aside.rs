//! Work that a thread of the connection does for a future.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::connection::Connection;
use crate::endings::{About, Question};
use crate::error::Error;
use crate::grant::Grant;
use crate::job::Acquired;
use crate::store::{Limits, StoreError, StoreErrorKind};
use crate::wait::{Begun, Pending};

/// What happens to work whose future is dropped before a worker begins it.
#[derive(Clone, Copy)]
pub(super) enum IfDropped<'d> {
    /// It is not done. If a worker has begun it, what comes of it is ended; this says what that may be.
    NotDone(&'d (dyn Fn() -> Option<About> + Sync)),
    /// It is done nevertheless: the decision was made when the future was first polled.
    DoneAllTheSame,
}

/// The limits of a call when its turn comes; an error if that was too late.
pub(super) type InTurn = Result<Limits, StoreError>;

/// Has a worker of the connection do `work`.
pub(super) async fn aside<T: Delivered>(
    connection: &Arc<Connection>,
    if_dropped: IfDropped<'_>,
    work: impl FnOnce(InTurn) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (give, take) = oneshot::channel();
    let (theirs, called) = (connection.clone(), Instant::now());
    let question = match if_dropped {
        IfDropped::NotDone(about) => Some(Question::new(connection, about)),
        IfDropped::DoneAllTheSame => None,
    };
    let asking = question.as_ref().map(Question::asking);
    connection.workers.carry_out(Box::new(move || {
        // Dropped last, when all that came of it was handed over.
        let asking = asking;
        if asking.as_ref().is_some_and(|asking| !asking.begin()) {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(|| work(theirs.limits_of_call(called))));
        if let Ok(answer) = &done
            && answer.as_ref().is_ok_and(T::is_answer)
        {
            theirs.workers.note_answer(answer);
        }
        // The receiver may be gone, now or before it looks.
        let _ = give.send(done.map(|answer| answer.map(|it| Parcel(Some(it)))));
    }));
    let taken = take.await;
    if let Some(question) = question {
        question.answer();
    }
    match taken {
        Ok(Ok(answer)) => answer.and_then(Parcel::open),
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => Err(broken_off()),
    }
}

/// A value on its way from a worker to a future that may be dropped.
struct Parcel<T: Delivered>(Option<T>);

impl<T: Delivered> Parcel<T> {
    fn open(mut self) -> Result<T, Error> {
        self.0.take().ok_or_else(broken_off)
    }
}

impl<T: Delivered> Drop for Parcel<T> {
    fn drop(&mut self) {
        if let Some(it) = self.0.take() {
            it.nobody_takes();
        }
    }
}

/// What a worker hands to a future.
pub(super) trait Delivered: Send + 'static {
    /// Whether it is the store's answer.
    fn is_answer(&self) -> bool {
        true
    }
    /// Called if the future is gone.
    fn nobody_takes(self);
}

impl Delivered for () {
    fn is_answer(&self) -> bool {
        false
    }

    fn nobody_takes(self) {}
}

impl Delivered for Acquired {
    fn nobody_takes(self) {
        if let Self::Granted(grant) = self {
            grant.hand_back();
        }
    }
}

impl Delivered for Begun {
    fn nobody_takes(self) {
        match self {
            Self::Granted(grant) => grant.hand_back(),
            Self::Waiting(pending) => drop(pending),
        }
    }
}

impl Delivered for (Pending, Result<Option<Grant>, Error>) {
    fn is_answer(&self) -> bool {
        self.1.is_ok() && self.0.rest().is_zero()
    }

    fn nobody_takes(self) {
        if let (_, Ok(Some(grant))) = self {
            grant.hand_back();
        }
    }
}

pub(super) fn broken_off() -> Error {
    StoreError::new(StoreErrorKind::Unknown, "the thread that asked the store ended without an answer").into()
}
