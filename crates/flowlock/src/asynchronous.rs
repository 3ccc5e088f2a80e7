//! The async variants of the methods (feature `async`, tokio): the same steps, without a thread per
//! waiting run.
//!
//! A future that is dropped before its request was sent sends none. One that is dropped while it waits
//! leaves the queue. A grant that arrives after the drop is given back, which is not a failure. A commit
//! continues once it was polled, even if its future is dropped.
//!
//! Threads of the connection ask the store, not threads of the runtime. So a runtime that shuts down
//! does not wait for anything here, and needs neither its timer nor any other feature.

mod aside;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use self::aside::{Delivered, IfDropped, InTurn, aside, broken_off};
use crate::at_exit::Left;
use crate::commit::Committing;
use crate::connection::Connection;
use crate::error::Error;
use crate::grant::{Committed, Grant, check_note};
use crate::job::{Acquired, Job};
use crate::lease::Lease;
use crate::repeats::{Asked, Patient};
use crate::store::Limits;
use crate::wait::{Begun, Pending};
use crate::world::later;

impl Job {
    /// Asks once; see [`try_acquire`](Self::try_acquire). If the future is dropped before the request
    /// was sent, none is sent; a grant that arrives later is given back.
    pub async fn try_acquire_async(&self) -> Result<Acquired, Error> {
        self.ask_aside(Self::try_acquire).await
    }

    /// Waits until all claims are held; see [`acquire`](Self::acquire). Holds no thread while it waits.
    ///
    /// If the future is dropped, as in `select!`, a request that was not sent yet is not sent, the run
    /// leaves the queue, and a grant that arrives is given back: that is not a failure, also with
    /// [`OnFail::Incomplete`](crate::OnFail::Incomplete).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
    /// let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("import").output("sales").acquire_async().await?;
    /// grant.commit_async().await?;
    /// # Ok::<(), flowlock::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn acquire_async(&self) -> Result<Grant, Error> {
        let mut pending = match self.ask_aside(Self::begin).await? {
            Begun::Granted(grant) => return Ok(grant),
            Begun::Waiting(pending) => {
                Waits { connection: self.connection().clone(), pending: Some(pending) }
            }
        };
        loop {
            let asked = match pending.news().await {
                News::Told => pending.with(Pending::ask_in_turn).await?,
                News::Over => pending.with(Pending::give_up_in_turn).await?,
                News::Look if pending.connection.is_interrupted() => {
                    pending.with(|pending, _| pending.leave_if_interrupted().map(|()| None)).await?
                }
                News::Look => continue,
            };
            if let Some(grant) = asked {
                return Ok(grant);
            }
            pending.rest().await;
        }
    }

    /// Asks on a worker, as long as this future exists.
    async fn ask_aside<T: Delivered>(
        &self,
        ask: impl FnOnce(&Job) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let asking = Asking::default();
        let (job, given_up) = (self.as_here(), asking.given_up.clone());
        let about = || self.about();
        aside(self.connection(), IfDropped::NotDone(&about), move |limits| {
            ask(&job.within(Limits { given_up: Some(given_up), ..limits? }))
        })
        .await
    }
}

/// A future that asks something. Dropping it gives up the question.
#[derive(Default)]
struct Asking {
    given_up: Arc<AtomicBool>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        // The flag publishes nothing else. A thread that sees it late sends the request, as if the drop
        // had come later.
        self.given_up.store(true, Ordering::Release);
    }
}

#[derive(Debug, Clone, Copy)]
enum News {
    Told,
    Over,
    /// It is time to look whether the caller will not wait.
    Look,
}

/// A waiting run. A worker has it while the store is asked.
struct Waits {
    connection: Arc<Connection>,
    pending: Option<Pending>,
}

impl Waits {
    async fn news(&self) -> News {
        let Some(pending) = &self.pending else { return News::Over };
        let looks = pending.looks_for_itself().map(|at| (at, News::Told));
        let ends = pending.until().map(|at| (at, News::Over));
        let hears = self.connection.hears_within().map(|pause| (later(Instant::now(), pause), News::Look));
        let first = [looks, ends, hears].into_iter().flatten().min_by_key(|(at, _)| *at);
        let mut alarm = first.map(|(at, then)| (self.connection.timer.sleep_until(at), then));
        let told = |context: &mut Context<'_>| {
            if pending.take_news_or_register(context.waker()) {
                return Poll::Ready(News::Told);
            }
            match &mut alarm {
                Some((sleep, then)) => Pin::new(sleep).poll(context).map(|()| *then),
                None => Poll::Pending,
            }
        };
        poll_fn(told).await
    }

    /// Pauses while the store is unreachable, and then asks again.
    async fn rest(&self) {
        let Some(pending) = &self.pending else { return };
        let rest = pending.rest();
        if rest.is_zero() {
            return;
        }
        let end = later(Instant::now(), rest);
        self.connection.timer.sleep_until(pending.until().map_or(end, |until| until.min(end))).await;
        pending.tell();
    }

    /// Asks the store on a worker.
    async fn with(
        &mut self,
        ask: impl FnOnce(&mut Pending, InTurn) -> Result<Option<Grant>, Error> + Send + 'static,
    ) -> Result<Option<Grant>, Error> {
        let Some(mut pending) = self.pending.take() else {
            return Err(broken_off());
        };
        let ending = pending.about();
        let about = || Some(ending.clone());
        let if_dropped = IfDropped::NotDone(&about);
        let (pending, answer) = aside(&self.connection, if_dropped, move |limits| {
            let answer = ask(&mut pending, limits);
            Ok((pending, answer))
        })
        .await?;
        self.pending = Some(pending);
        answer
    }
}

impl Grant {
    /// Marks all outputs as written, or none; see [`commit`](Self::commit).
    ///
    /// Once polled, it continues on a thread of the connection, even if the future is dropped. A runtime
    /// that shuts down meanwhile does not wait for it and does not learn the outcome. The commit is made
    /// if the store answers in time and the process lives that long (its normal end waits up to 2 s);
    /// else the run ends with its lease. The records of its outputs tell which.
    pub async fn commit_async(self) -> Result<Committed, Error> {
        self.commit_aside(None).await
    }

    /// Commits with a note; see [`commit_with`](Self::commit_with).
    pub async fn commit_with_async(self, note: String) -> Result<Committed, Error> {
        if let Err(error) = check_note(&note) {
            self.fail_async().await;
            return Err(error);
        }
        self.commit_aside(Some(note)).await
    }

    /// Asks once on a worker, and then repeats the commit on a thread where no other caller waits for
    /// it.
    async fn commit_aside(self, note: Option<String>) -> Result<Committed, Error> {
        let (give, take) = oneshot::channel();
        let (connection, version) = (self.connection().clone(), self.token());
        let (theirs, left, called) = (connection.clone(), Left::new(), Instant::now());
        connection.workers.carry_out(Box::new(move || {
            let commit = self.begin_commit(note);
            let patient = Box::new(PatientCommit { connection: theirs.clone(), commit, give, _left: left });
            let asked = match theirs.limits_of_call(called) {
                // The panic hook reports the panic; the caller learns that there is no answer.
                Ok(limits) => {
                    catch_unwind(AssertUnwindSafe(|| patient.ask(limits))).unwrap_or(Asked::Answered)
                }
                Err(_) => Asked::Silence(Some(patient)),
            };
            if let Asked::Silence(Some(unanswered)) = asked {
                theirs.ask_later(unanswered);
            }
        }));
        let late = take.await.map_err(|_| broken_off())??;
        Ok(Committed { version, late })
    }

    /// Ends the run without writing anything; see [`fail`](Self::fail).
    pub async fn fail_async(self) {
        let (connection, left) = (self.connection().clone(), Left::new());
        let _ = aside(&connection, IfDropped::DoneAllTheSame, move |limits| {
            let _left = left;
            self.fail_within(limits.ok().as_ref());
            Ok(())
        })
        .await;
    }

    /// Completes when the claims are lost.
    pub async fn until_lost(&self) -> crate::error::Lost {
        let (tell, told) = oneshot::channel();
        let number = self.held.on_lost(Box::new(move |by| {
            let _ = tell.send(by);
        }));
        // A future that is dropped, as in `select!`, leaves nothing behind.
        let _listening = Listening { held: &self.held, number };
        match told.await {
            Ok(by) => by,
            Err(_) => self.lost().unwrap_or(crate::error::Lost::Expired),
        }
    }
}

/// A commit, and the channel for its outcome.
struct PatientCommit {
    connection: Arc<Connection>,
    commit: Committing,
    give: oneshot::Sender<Result<bool, Error>>,
    _left: Left,
}

impl Patient for PatientCommit {
    fn until(&self) -> Instant {
        self.commit.until()
    }

    fn ask(self: Box<Self>, limits: Limits) -> Asked {
        let Some(answer) = self.commit.ask(limits) else { return Asked::Silence(Some(self)) };
        self.connection.workers.note_answer(&answer);
        let is_answered = !matches!(answer, Err(Error::Unknown { .. }));
        // The receiver may be gone.
        let _ = self.give.send(answer);
        if is_answered { Asked::Answered } else { Asked::Silence(None) }
    }

    fn give_up(self: Box<Self>) {
        let _ = self.give.send(Err(self.commit.give_up()));
    }
}

/// A registration for the news of a loss, removed when it is dropped.
struct Listening<'g> {
    held: &'g Lease,
    number: u64,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.held.forget(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    #[test]
    fn a_cancelled_wait_for_a_loss_leaves_nothing_behind() {
        let flowlock = crate::Flowlock::open("memory:").unwrap();
        let grant = flowlock.job("job").lock("a").acquire().unwrap();
        for _ in 0..3 {
            let mut until_lost = Box::pin(grant.until_lost());
            let polled = until_lost.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            assert_eq!(grant.held.listeners(), 1);
        }
        assert_eq!(grant.held.listeners(), 0);
        grant.commit().unwrap();
    }
}
