//! Commits that a store may have lost: looked for, made again if their grant still exists, else
//! reported.

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
    /// The store finishes older work first.
    AskAgain,
}

impl RedisStore {
    /// Looks for the recent commits of this process. If one cannot be checked now, it is checked at the
    /// next answer.
    pub(super) fn check_commits(&self, namespace: &Namespace) {
        let is_recent = |commit: &Commit| self.clock_ms(namespace).is_ok_and(|now| commit.is_recent(now));
        for commit in self.rollback.commits(namespace) {
            if !is_recent(&commit) {
                continue;
            }
            let run = &commit.run;
            match self.find(namespace, &commit) {
                // It may have become too old meanwhile: the answer contained the current time.
                Ok(Found::Missing) if is_recent(&commit) => {
                    if let Ok(now) = self.clock_ms(namespace) {
                        self.rollback.report_more_commits(namespace, now);
                    }
                    self.rollback.report_missing_commit(&commit);
                }
                Ok(Found::There | Found::Missing) => {}
                Ok(Found::AskAgain) => return self.rollback.doubt(namespace),
                Err(error) => {
                    tracing::warn!(%run, %error, "could not check whether its commit is still there; trying again");
                    return self.rollback.doubt(namespace);
                }
            }
        }
    }

    /// Looks for a commit. A run whose grant outlived its commit still holds all its names: no other run
    /// was granted them, so it may commit again.
    fn find(&self, namespace: &Namespace, commit: &Commit) -> Result<Found, StoreError> {
        // By attempt: another run may have used the id since.
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
                tracing::warn!(%run, "the store had lost its commit but kept its grant; committed again");
                Ok(Found::There)
            }
            Answer::Finished(Finished::AskAgain) => Ok(Found::AskAgain),
            _ => Ok(Found::Missing),
        }
    }
}
