//! [`Grant`]: a run that holds its names.

mod by_id;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::by_id::{fail, refresh_one, verify};
use self::by_id::{look, stands};
use crate::commit::{Committing, Known};
use crate::connection::Connection;
use crate::endings::{Ending, How, Reached, Release};
use crate::error::{Error, Lost};
use crate::id::{Attempt, Token};
use crate::lease::{Lease, Renewal};
use crate::name::RunId;
use crate::parent::Parent;
use crate::record::{Input, LONGEST_NOTE};
use crate::spec::Spec;
use crate::step::{Answer, Refreshed, Running, Step, Who};
use crate::store::{Limits, View};

/// A run that holds all its claims. End it with [`commit`](Self::commit) or [`fail`](Self::fail); if it
/// is dropped, it fails. The drop does not wait for the store: see
/// [`Flowlock::flush`](crate::Flowlock::flush).
///
/// ```
/// # let flowlock = flowlock::Flowlock::open("memory:")?;
/// let grant = flowlock.job("import").output("sales").acquire()?;
/// let path = format!("sales-{}.csv", grant.token()); // no other run ever has this token
/// // … write the file …
/// grant.commit_with(&path)?;
///
/// let report = flowlock.job("report").input("sales").acquire()?;
/// assert_eq!(report.inputs()[0].note.as_deref(), Some(path.as_str()));
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a grant that is dropped fails its run"]
pub struct Grant {
    connection: Arc<Connection>,
    pub(crate) held: Arc<Lease>,
    spec: Arc<Spec>,
    inputs: Vec<Input>,
    ended: bool,
}

/// A store's word that a run is running.
pub(crate) struct Heard {
    pub(crate) running: Running,
    /// When the store was asked (boot clock).
    pub(crate) sent_ms: i64,
    pub(crate) work: Work,
}

/// Whether somebody may have begun the work of a run that a process takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nobody has: only this process knows the run's secret.
    NotBegun,
    /// An earlier process with the same secret may have, and may still be at it.
    MayHaveBegun,
}

/// A run that committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The version that its outputs have now: the grant's token.
    pub version: Token,
    /// Whether the deadline had passed. The commit succeeded because no other run had needed the names.
    pub late: bool,
}

/// The result of a renewal by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// What is left of the lease.
    pub lease_left: Duration,
    /// Whether the lease had ended. It began again because no other run had needed the names.
    pub late: bool,
}

impl Grant {
    /// Makes a grant of a run that the store says is running.
    ///
    /// The lease counts from before the request was sent, and the request may have taken long: it waited
    /// for a turn to write, or the server was slow. Or the store's answer is about a lease that began
    /// earlier: the first answer was lost, or this process comes back to the run. If only a little of the
    /// lease is left, work that begins now may be ended at once, or run beside another run's work. So a
    /// lease of which most is gone is renewed first, once.
    ///
    /// # Errors
    /// [`Error::Lost`] if the lease has ended and cannot be renewed, or the run is lost. The run is given
    /// back, unless somebody may have begun its work.
    pub(crate) fn begin(
        connection: &Arc<Connection>,
        attempt: &Attempt,
        spec: Arc<Spec>,
        Heard { running, sent_ms, work }: Heard,
        renewal: Renewal,
        limits: &Limits,
    ) -> Result<Self, Error> {
        // Of what the store gives a run that begins; the answer itself may be about an older lease.
        let whole_ms = spec.max_runtime_ms.map_or(spec.lease_ms, |most| most.min(spec.lease_ms));
        let enough = Duration::from_millis(whole_ms / 2);
        // Counted from before the request was sent, so the holder gives up no later than the store.
        let deadline_ms = sent_ms + running.lease_left_ms;
        let longest_ms = spec.max_runtime_ms.map_or(i64::MAX, |most| sent_ms.saturating_add_unsigned(most));
        let held = Lease::new(attempt, running.token, spec.lease_ms, deadline_ms, renewal).until(longest_ms);
        let held = Arc::new(held);
        connection.keep(&held);
        let (connection, inputs) = (connection.clone(), running.inputs);
        let mut grant = Self { connection, held, spec, inputs, ended: false };
        if grant.time_left() >= enough {
            return Ok(grant);
        }
        tracing::debug!(run = %grant.run_id(), "most of the lease is gone; renewing it before the work begins");
        let renewed = grant.refresh_within(limits);
        match grant.lost() {
            None => Ok(grant),
            Some(by) => {
                grant.leave(work, limits);
                // If the store cannot be asked, that is the reason to report.
                renewed.and_then(|()| Err(grant.lost_error(by)))
            }
        }
    }

    /// Gives up a run that this process does not begin to work under. Another process's work goes on.
    fn leave(&mut self, work: Work, limits: &Limits) {
        match work {
            Work::NotBegun => self.end_within(Release::NotBegun, limits),
            Work::MayHaveBegun => {
                self.ended = true;
                self.connection.release(&self.held);
            }
        }
    }

    /// Returns the run's id.
    pub fn run_id(&self) -> &RunId {
        &self.held.attempt.id
    }

    /// Returns what makes another run a child of this one: see [`Job::parent`](crate::Job::parent).
    pub fn as_parent(&self) -> Parent {
        Parent::from(&self.held.attempt)
    }

    /// Returns what the run asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the fencing token.
    pub fn token(&self) -> Token {
        self.held.token
    }

    /// Returns the inputs, with the versions and notes that they had when all claims were granted.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Returns the time, by this process's clock, after which it must assume that it lost its names.
    pub fn time_left(&self) -> Duration {
        self.held.time_left()
    }

    /// Returns how the claims were lost, if they were; at the deadline at the latest. A loss is final,
    /// unless the holder [insists](Self::insist), or [renews](Self::refresh) a lease that had merely
    /// ended.
    pub fn lost(&self) -> Option<Lost> {
        self.held.notice_loss()
    }

    /// Keeps the grant alive, from now on, when only its lease ends. Needs automatic renewal. While the
    /// store does not answer, it is asked again and again; if it still has the grant, because no other
    /// run needed the names, the lease begins again. Use it for work that should rather be finished than
    /// stopped while the store is unreachable; at the end, [`commit`](Self::commit) reports the outcome.
    ///
    /// [`lost`](Self::lost) returns [`Lost::Unreachable`] or [`Lost::Expired`] while the deadline has
    /// passed, and may return `None` again later. Callbacks of [`on_lost`](Self::on_lost) are only
    /// called if the store reports a loss, or if the run reached its longest run time.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("import").output("sales").acquire()?;
    /// grant.insist();
    /// grant.on_lost(|how| eprintln!("stop the work: {}", how.as_str()));
    /// # grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn insist(&self) {
        self.held.insist();
    }

    /// Stops renewing: the claims are held until the lease ends, and everything else stays as it is. Use
    /// it for work that was given up but may still be going on. A renewal that was already sent still counts,
    /// and so does a later [`refresh`](Self::refresh); neither makes the keeper renew again.
    pub fn stop_renewing(&self) {
        self.held.stop_renewing();
    }

    /// Returns why the last renewal got no answer, if the store could not be asked since then.
    pub fn trouble(&self) -> Option<String> {
        self.held.trouble()
    }

    /// Calls `told` once, from another thread, when the claims are lost; at once if they already are.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("j").lock("x").acquire()?;
    /// grant.on_lost(|how| eprintln!("stop the work: {how:?}"));
    /// # grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn on_lost(&self, told: impl FnOnce(Lost) + Send + 'static) {
        self.held.on_lost(Box::new(told));
    }

    /// Renews the lease by hand. A call within a second of the last renewal, or within a tenth of a lease
    /// that is shorter than 10 s, only repeats its answer.
    ///
    /// A lease that had ended begins again if no other run has needed the names (`late`). Then the
    /// claims are not [lost](Self::lost), although callbacks of [`on_lost`](Self::on_lost) were called.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("j").lock("x").lease(Duration::from_secs(300)).fixed_lease().acquire()?;
    /// // … one part of the work …
    /// assert!(!grant.refresh()?.late);
    /// # grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn refresh(&self) -> Result<Renewed, Error> {
        if self.held.was_refreshed_lately() {
            self.held.reinstate();
        } else {
            self.refresh_within(&self.connection.limits_of_caller())?;
        }
        match self.lost() {
            Some(by) => Err(self.lost_error(by)),
            None => Ok(Renewed { lease_left: self.time_left(), late: self.held.was_renewed_late() }),
        }
    }

    fn refresh_within(&self, limits: &Limits) -> Result<(), Error> {
        while crate::lease::refresh_one(&self.connection, &self.held, limits)? == Refreshed::AskAgain {
            limits.may_ask_again()?;
        }
        self.held.reinstate();
        Ok(())
    }

    /// Asks the store whether the claims are still held. Call it just before a change that cannot be
    /// undone, such as a rename.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("import").output("sales").acquire()?;
    /// // … write sales.new …
    /// grant.verify()?;
    /// // … rename sales.new to sales …
    /// grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn verify(&self) -> Result<(), Error> {
        if let Some(by) = self.lost() {
            return Err(self.lost_error(by));
        }
        let seen = look(&self.connection, &View::Attempt(self.held.attempt.clone()))?;
        let stands = match seen {
            None => Err(self.lost_error(self.held.if_not_found())),
            Some(seen) if !seen.run.state.follows_a_grant() => Err(self.lost_error(Lost::WithTheStore)),
            Some(seen) => stands(&seen),
        };
        if let Err(Error::Lost { by, .. }) = &stands {
            self.held.lose(*by);
        }
        stands.map(drop)
    }

    /// Marks all outputs as written, or none. Asks the store even if the deadline has passed: if no
    /// other run needed the names, the commit succeeds, late.
    pub fn commit(self) -> Result<Committed, Error> {
        self.finish(None)
    }

    /// Commits like [`commit`](Self::commit), with a note for readers of up to 4 KiB, such as the path
    /// of the file that was written. With a longer note the run fails.
    pub fn commit_with(mut self, note: &str) -> Result<Committed, Error> {
        if let Err(error) = check_note(note) {
            self.end_badly();
            return Err(error);
        }
        self.finish(Some(note.to_owned()))
    }

    fn finish(self, note: Option<String>) -> Result<Committed, Error> {
        let version = self.token();
        let late = self.begin_commit(note).finish()?;
        Ok(Committed { version, late })
    }

    /// Ends the run for this process, whatever the store answers.
    pub(crate) fn begin_commit(mut self, note: Option<String>) -> Committing {
        self.ended = true;
        self.connection.release(&self.held);
        let known = Known { held: self.held.clone(), spec: self.spec.clone() };
        Committing::begin(&self.connection, Who::from(&self.held.attempt), note, Some(known))
    }

    /// Ends the run without writing anything. If the store cannot be told in time, that is logged, and it
    /// is told in the background, as after a drop.
    pub fn fail(mut self) {
        self.end_badly();
    }

    /// Fails the run within these limits; without any, the thread that ends dropped runs does it.
    #[cfg(feature = "async")]
    pub(crate) fn fail_within(mut self, limits: Option<&Limits>) {
        match limits {
            Some(limits) => self.end_within(Release::Failed, limits),
            None => self.hand_over(Release::Failed, Reached::Yes),
        }
    }

    /// Gives back a run whose work did not begin. It is withdrawn, which is not a failure, and its
    /// outputs are as they were before. If the store cannot be told in time, that is logged, and it is
    /// told in the background, as after a drop.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// use flowlock::OnFail;
    /// flowlock.create(&["sales"], Default::default())?;
    /// flowlock.job("import").output("sales").on_fail(OnFail::Incomplete).acquire()?.give_back();
    /// flowlock.job("report").input("sales").acquire()?.commit()?; // as if nothing had been
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn give_back(mut self) {
        self.end_by(Release::NotBegun);
    }

    fn end_badly(&mut self) {
        self.end_by(Release::Failed);
    }

    fn end_by(&mut self, release: Release) {
        let limits = self.connection.limits_of_caller();
        self.end_within(release, &limits);
    }

    fn end_within(&mut self, release: Release, limits: &Limits) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.connection.release(&self.held);
        if let Err(error) = self.connection.send_last_step(&release.step(&self.held.attempt), limits) {
            tracing::warn!(run = %self.run_id(), %error, "could not end the run; it ends with its lease, unless the store can be told before");
            self.hand_over(release, Reached::No);
        }
    }

    /// The run, as only this process knows it: with what tells it from others of the same id.
    pub fn attempt(&self) -> &Attempt {
        &self.held.attempt
    }

    /// Detaches the run from this process: from now on it is operated by its id alone, and lives until
    /// its lease ends.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let run = flowlock.job("build").output("app").acquire()?.detach()?;
    /// // Elsewhere, with nothing but the id:
    /// flowlock.refresh(&run)?;
    /// flowlock.commit(&run, None)?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn detach(mut self) -> Result<RunId, Error> {
        let asked = self.connection.step_for_caller(&Step::Detach(self.held.attempt.clone()));
        let answer = asked.inspect_err(|_| self.end_badly())?;
        if answer != Answer::Done {
            let lost = self.verify().err().unwrap_or_else(|| self.lost_error(Lost::Expired));
            self.end_badly();
            return Err(lost);
        }
        self.ended = true;
        self.connection.release(&self.held);
        Ok(self.run_id().clone())
    }

    /// Gives back a grant that no caller took: its work never began.
    #[cfg(feature = "async")]
    pub(crate) fn hand_back(mut self) {
        tracing::debug!(run = %self.run_id(), "no caller waits for the grant any more; giving it back");
        self.hand_over(Release::NotBegun, Reached::Yes);
    }

    /// Ends the run without waiting for the store.
    fn hand_over(&mut self, release: Release, reached: Reached) {
        self.ended = true;
        self.connection.release(&self.held);
        let how = How::Release(release);
        self.connection.end_later(Ending::new(&self.held.attempt, &self.spec, how, reached));
    }

    #[cfg(feature = "async")]
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn lost_error(&self, by: Lost) -> Error {
        Error::Lost { run: self.run_id().clone(), by }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if !self.ended {
            let run = self.run_id();
            if std::thread::panicking() {
                tracing::warn!(%run, "the work panicked; its run failed");
            } else {
                tracing::warn!(%run, "a grant was dropped without commit or fail; its run failed");
            }
            self.hand_over(Release::Failed, Reached::Yes);
        }
    }
}

/// Refuses a note that is too long.
pub(crate) fn check_note(note: &str) -> Result<(), Error> {
    if note.len() > LONGEST_NOTE {
        let problem = format!("it has {} bytes; at most {LONGEST_NOTE} are kept", note.len());
        return Err(Error::InvalidRequest { what: "note", problem });
    }
    Ok(())
}
