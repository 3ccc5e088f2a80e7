//! Commits that a store may have lost: looked for, made again where their grant is still there, and else reported.

use super::rollback::Commit;
use super::{RedisStore, no_limits};
use crate::id::Attempt;
use crate::name::Namespace;
use crate::run::{Outcome, State};
use crate::step::{Answer, Finished, Step, Who};
use crate::store::{Content, Store as _, StoreError, View};

/// What became of a commit.
enum Found {
    There,
    Missing,
    /// The store has older work to do first.
    AskAgain,
}

impl RedisStore {
    /// Looks for the recent commits of this process; what cannot be told now is asked at the next answer.
    pub(super) fn check_commits(&self, namespace: &Namespace) {
        let is_recent = |commit: &Commit| self.clock_ms(namespace).is_ok_and(|now| commit.is_recent(now));
        for commit in self.rollback.commits(namespace) {
            if !is_recent(&commit) {
                continue;
            }
            let run = &commit.run;
            match self.find(namespace, &commit) {
                // Its time may have come meanwhile: the answer said what time it is.
                Ok(Found::Missing) if is_recent(&commit) => self.rollback.report_missing_commit(&commit),
                Ok(Found::There | Found::Missing) => {}
                Ok(Found::AskAgain) => return self.rollback.doubt(namespace),
                Err(error) => {
                    tracing::warn!(%run, %error, "could not check whether its commit is still there; looking again");
                    return self.rollback.doubt(namespace);
                }
            }
        }
    }

    /// A run whose grant outlived its commit still holds all its names: nobody else was granted them, and the commit is
    /// its own to make.
    fn find(&self, namespace: &Namespace, commit: &Commit) -> Result<Found, StoreError> {
        // By attempt: another one may have used the id since.
        let attempt = Attempt { id: commit.run.clone(), nonce: commit.nonce };
        let Content::Run(Some(seen)) = self.view(namespace, &View::Attempt(attempt))?.content else {
            return Ok(Found::Missing);
        };
        match seen.run.state {
            State::Ended(Outcome::Committed) => Ok(Found::There),
            State::Ended(_) => Ok(Found::Missing),
            _ => self.commit_anew(namespace, commit),
        }
    }

    fn commit_anew(&self, namespace: &Namespace, commit: &Commit) -> Result<Found, StoreError> {
        let Commit { run, nonce, note, .. } = commit;
        let who = Who { run: run.clone(), nonce: Some(*nonce), by: None };
        match self.carry_out(namespace, &Step::Commit { who, note: note.clone() }, &no_limits())?.answer {
            Answer::Finished(Finished::Ended { outcome: Outcome::Committed, .. }) => {
                tracing::warn!(%run, "the store had lost its commit and kept its grant; committed anew");
                Ok(Found::There)
            }
            Answer::Finished(Finished::AskAgain) => Ok(Found::AskAgain),
            _ => Ok(Found::Missing),
        }
    }
}
