//! Operating a namespace by hand: runs by id, records, unlock, and its removal.

mod look;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::blocker::Blocked;
use crate::claim::Claims;
use crate::commit::Committing;
use crate::endings::Concern;
use crate::error::Error;
use crate::flowlock::Flowlock;
use crate::grant::{self, Renewed};
use crate::id::{Attempt, Token};
use crate::name::{JobName, Name, RunId};
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::step::{Answer, Holders, Sent, Step, Unlock, Who};
use crate::store::{StoreError, StoreErrorKind};
use crate::world::later;

/// How long a short administrative step waits for the end of a pause after a failover, whatever the
/// server says.
const LONGEST_FAILOVER_PAUSE: Duration = Duration::from_mins(10);

impl Flowlock {
    /// Renews the lease of a detached run.
    pub fn refresh(&self, run: &RunId) -> Result<Renewed, Error> {
        grant::refresh_one(&self.connection, &self.detached(run))
    }

    /// Commits a detached run; returns whether its deadline had passed.
    pub fn commit(&self, run: &RunId, note: Option<&str>) -> Result<bool, Error> {
        note.map_or(Ok(()), grant::check_note)?;
        Committing::begin(&self.connection, self.detached(run), note.map(str::to_owned), None).finish()
    }

    /// Fails a detached run.
    pub fn fail(&self, run: &RunId) -> Result<(), Error> {
        grant::fail(&self.connection, &self.detached(run))
    }

    /// Ends a detached run whose work did not begin, as [`Grant::give_back`](crate::Grant::give_back) does: it is no failure,
    /// and what it would have written is as it was before. Only who detached it knows its attempt.
    ///
    /// # Errors
    /// [`Error::Store`] if the store cannot be asked.
    pub fn give_back(&self, attempt: &Attempt) -> Result<(), Error> {
        Ok(self.connection.step_for_caller(&Step::GiveBack(attempt.clone())).map(drop)?)
    }

    /// Returns the token of a run that holds its claims now.
    ///
    /// # Errors
    /// [`Error::Lapsed`] if its lease has ended and no other run has needed its names, [`Error::Lost`]
    /// once another run has them, [`Error::NotBegun`] while it waits.
    pub fn verify(&self, run: &RunId) -> Result<Token, Error> {
        grant::verify(&self.connection, run)
    }

    /// Marks names as written, by hand. Runs that waited for them may start.
    ///
    /// # Errors
    /// [`Error::Held`] if a run holds one of them and `settings` say to respect that.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// flowlock.create(&["sales"], Default::default())?;
    /// flowlock.job("report").input("sales").acquire()?.commit()?;
    /// flowlock.remove(&["sales"], flowlock::step::Holders::Respect)?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn create(&self, names: &[&str], settings: Creation) -> Result<(), Error> {
        settings.note.as_deref().map_or(Ok(()), grant::check_note)?;
        let job = JobName::parse("outputs create")?;
        let (names, run) = (checked(names)?, RunId::fresh(&job));
        let spec = Arc::new(Spec {
            job,
            claims: Claims::default(),
            lease_ms: 1_000,
            if_written: IfWritten::default(),
            on_fail: OnFail::default(),
            parent: None,
            record_life_ms: settings.record_life.map(crate::world::millis),
            max_runtime_ms: None,
            keep_lapsed_ms: KEEP_LAPSED_MS,
        });
        let (note, holders, by) = (settings.note, settings.holders, self.connection.origin.clone());
        let step = |names: &[Name], sent| {
            let (names, spec, run, note, by) =
                (names.to_vec(), spec.clone(), run.clone(), note.clone(), by.clone());
            Step::Create { names, spec, run, note, holders, sent, by }
        };
        let versions = self.versions(&names)?;
        self.change_records(&names, step, versions, &Cell::default()).map(drop)
    }

    /// Removes records by hand; returns whether there was one. Runs that are queued to read them wait
    /// for them again.
    pub fn remove(&self, names: &[&str], holders: Holders) -> Result<bool, Error> {
        let by = self.connection.origin.clone();
        let step =
            |names: &[Name], sent| Step::Remove { names: names.to_vec(), holders, sent, by: by.clone() };
        let unsure = Cell::default();
        let names = checked(names)?;
        let versions = self.versions_or_none(&names)?;
        let answer = self.change_records(&names, step, versions, &unsure)?;
        Ok(answer == Answer::Done || unsure.get())
    }

    /// Revokes exactly one grant: this run with this token. Returns whether it still existed.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("hung").output("sales").acquire()?;
    /// assert!(flowlock.unlock(grant.run_id(), grant.token(), flowlock::step::Unlock::Now)?);
    /// assert!(grant.commit().is_err());
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn unlock(&self, run: &RunId, token: Token, how: Unlock) -> Result<bool, Error> {
        let step = Step::Unlock { run: run.clone(), token, how, by: self.connection.origin.clone() };
        self.took_effect(&step, &Concern::Run(run))
    }

    /// Removes this connection's namespace, with the outcomes that are not remembered any more. Returns
    /// whether it existed. If it is used again, its tokens continue from where they were.
    ///
    /// # Errors
    /// [`Error::NamespaceInUse`] if runs or records are in it, or if a run ended in it less than ten
    /// minutes ago.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// flowlock.create(&["sales"], Default::default())?;
    /// assert!(flowlock.remove_namespace().is_err());
    /// flowlock.remove(&["sales"], flowlock::step::Holders::Respect)?;
    /// assert!(flowlock.remove_namespace()?);
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn remove_namespace(&self) -> Result<bool, Error> {
        let step = Step::RemoveNamespace { by: self.connection.origin.clone() };
        self.took_effect(&step, &Concern::All)
    }

    fn detached(&self, run: &RunId) -> Who {
        Who { run: run.clone(), nonce: None, by: Some(self.connection.origin.clone()) }
    }

    /// Returns the versions of the records of these names: 0 for a name that was never written.
    fn versions(&self, names: &[Name]) -> Result<Vec<Token>, Error> {
        let versions: Vec<Token> = self.names(names)?.into_iter().map(|seen| seen.version).collect();
        if versions.len() != names.len() {
            return Err(StoreError::damaged("the store left out names that it was asked about").into());
        }
        Ok(versions)
    }

    /// Returns the same, but 0 also for a record that cannot be read, so that it can be removed.
    fn versions_or_none(&self, names: &[Name]) -> Result<Vec<Token>, Error> {
        let is_damaged =
            |error: &Error| matches!(error, Error::Store(error) if error.kind() == StoreErrorKind::Damaged);
        match self.versions(names) {
            Err(error) if is_damaged(&error) => {}
            all => return all,
        }
        let one = |name: &Name| match self.versions(std::slice::from_ref(name)) {
            Err(error) if is_damaged(&error) => Ok(Token(0)),
            versions => Ok(versions?.into_iter().next().unwrap_or_default()),
        };
        names.iter().map(one).collect()
    }

    /// Writes or removes records by hand. After a lost answer, only records are touched that were not
    /// written since: a job that committed meanwhile was told that it did.
    fn change_records(
        &self,
        names: &[Name],
        step: impl Fn(&[Name], Sent) -> Step,
        versions: Vec<Token>,
        unsure: &Cell<bool>,
    ) -> Result<Answer, Error> {
        let (first, again) = (step(names, Sent::First), step(names, Sent::Again(versions)));
        self.administer(|| if unsure.get() { &again } else { &first }, &Concern::Names(names), unsure)
    }

    /// Returns whether there was something to act on. If an answer was lost, the lost step may already
    /// have acted on it.
    fn took_effect(&self, step: &Step, of_concern: &Concern<'_>) -> Result<bool, Error> {
        let unsure = Cell::default();
        let answer = self.administer(|| step, of_concern, &unsure)?;
        Ok(answer == Answer::Done || unsure.get())
    }

    /// Carries out a short administrative step. Repeats it while older work comes first, as long as the
    /// store may be asked. Also waits once for the end of a pause after a failover.
    fn administer<'s>(
        &self,
        step: impl Fn() -> &'s Step,
        of_concern: &Concern<'_>,
        unsure: &Cell<bool>,
    ) -> Result<Answer, Error> {
        let mut limits = self.connection.settle(of_concern, self.connection.limits_of_caller());
        let mut paused = false;
        let note = |error: &StoreError| unsure.set(unsure.get() || error.is_unknown());
        loop {
            match self.connection.step_noting(&step, note, &limits)? {
                Answer::Refused(Blocked { by, retry_after_ms: Some(ms), .. }) if by.is_empty() => {
                    if ms > 0 && !std::mem::replace(&mut paused, true) {
                        let pause = Duration::from_millis(ms).min(LONGEST_FAILOVER_PAUSE);
                        limits.until = later(limits.until, pause);
                        limits.sleep(pause);
                    }
                    limits.may_ask_again()?;
                }
                Answer::Refused(blocked) => {
                    return Err(Error::Held { blocked: Box::new(blocked) });
                }
                Answer::InUse(why) => {
                    let namespace = self.connection.namespace.clone();
                    return Err(Error::NamespaceInUse { namespace, why });
                }
                answer => return Ok(answer),
            }
        }
    }
}

/// How [`Flowlock::create`] writes records.
#[derive(Debug, Clone)]
pub struct Creation {
    /// How long they live; for ever if `None`.
    pub record_life: Option<Duration>,
    /// Their note.
    pub note: Option<String>,
    /// What to do about holders.
    pub holders: Holders,
}

impl Default for Creation {
    fn default() -> Self {
        Self { record_life: None, note: None, holders: Holders::Respect }
    }
}

fn checked(names: &[&str]) -> Result<Vec<Name>, Error> {
    let mut names = names.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    names.dedup();
    if names.len() > crate::claim::MOST_CLAIMS {
        let problem =
            format!("{} names; at most {} fit into one step", names.len(), crate::claim::MOST_CLAIMS);
        return Err(Error::InvalidRequest { what: "names", problem });
    }
    Ok(names)
}
