//! The async twins (feature `async`, tokio): the same steps, without a thread per waiter.
//!
//! A future that is dropped while it waits leaves the line. A commit goes on once it was polled, even if
//! its future is dropped.

use std::future::poll_fn;
use std::task::Poll;

use crate::error::Error;
use crate::grant::{Committed, Grant};
use crate::held::Held;
use crate::job::{Acquired, Job};
use crate::store::{StoreError, StoreErrorKind};
use crate::wait::{Begun, Pending};

impl Job {
    /// Asks once; see [`try_acquire`](Self::try_acquire).
    pub async fn try_acquire_async(&self) -> Result<Acquired, Error> {
        let job = self.clone();
        off_the_runtime(move || job.try_acquire()).await
    }

    /// Waits until all claims are held; see [`acquire`](Self::acquire). Holds no thread while it waits.
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
        let job = self.clone();
        let mut pending = match off_the_runtime(move || job.begin()).await? {
            Begun::Granted(grant) => return Ok(grant),
            Begun::Waiting(pending) => Leaving(Some(pending)),
        };
        loop {
            let asked = match pending.news().await {
                News::Told => pending.with(Pending::ask_patiently).await?,
                News::Over => Some(pending.with(Pending::give_up).await?),
            };
            if let Some(grant) = asked {
                return Ok(grant);
            }
        }
    }
}

enum News {
    Told,
    Over,
}

/// A waiting run that leaves the line off the runtime, whenever its future is dropped.
struct Leaving(Option<Pending>);

impl Leaving {
    async fn news(&self) -> News {
        let Some(pending) = &self.0 else { return News::Over };
        let told =
            poll_fn(
                |context| {
                    if pending.poll_news(context.waker()) { Poll::Ready(News::Told) } else { Poll::Pending }
                },
            );
        let looks = pending.looks_for_itself().map(|at| (at, News::Told));
        let ends = pending.until().map(|at| (at, News::Over));
        match [looks, ends].into_iter().flatten().min_by_key(|(at, _)| *at) {
            None => told.await,
            Some((at, then)) => tokio::time::timeout_at(at.into(), told).await.unwrap_or(then),
        }
    }

    /// Asks the store on a blocking thread. Should the future be dropped meanwhile, a grant that comes back
    /// is dropped there, which fails its run.
    async fn with<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut Pending) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(mut pending) = self.0.take() else {
            return Err(broken_off());
        };
        let (pending, answer) = off_the_runtime(move || {
            let answer = ask(&mut pending);
            Ok((pending, answer))
        })
        .await?;
        self.0 = Some(pending);
        answer
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let (Some(pending), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(pending));
        }
    }
}

impl Grant {
    /// Marks all outputs as written, or none; see [`commit`](Self::commit).
    pub async fn commit_async(self) -> Result<Committed, Error> {
        off_the_runtime(move || self.commit()).await
    }

    /// The same with a note; see [`commit_with`](Self::commit_with).
    pub async fn commit_with_async(self, note: String) -> Result<Committed, Error> {
        off_the_runtime(move || self.commit_with(&note)).await
    }

    /// Ends the run without writing anything; see [`fail`](Self::fail).
    pub async fn fail_async(self) {
        let _ = off_the_runtime(move || {
            self.fail();
            Ok(())
        })
        .await;
    }

    /// Completes when the claims are lost.
    pub async fn until_lost(&self) -> crate::error::Lost {
        let (tell, told) = tokio::sync::oneshot::channel();
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

/// A registration for the news of a loss, taken back when it is dropped.
struct Listening<'g> {
    held: &'g Held,
    number: u64,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.held.forget(self.number);
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(broken_off()),
    })
}

fn broken_off() -> Error {
    StoreError::new(StoreErrorKind::Unknown, "the runtime shut down while the store was asked").into()
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
