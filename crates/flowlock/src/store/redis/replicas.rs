//! Steps that a number of replicas must have: how many, and what follows if too few have one.

use std::time::Duration;

use super::RedisStore;
use super::url::Durability;
use crate::id::Attempt;
use crate::name::Namespace;
use crate::run::Outcome;
use crate::step::{Acquire, Answer, Finished, Standing, Step};
use crate::store::{Limits, StoreError, StoreErrorKind};

impl RedisStore {
    /// Returns how many replicas must have a step, and how long to wait for them.
    pub(super) fn replicas_for(&self, step: &Step) -> Option<(u32, Duration)> {
        match (self.client.options().durability, step) {
            (
                Durability::Replicas { count, within },
                Step::Acquire(_)
                | Step::Accept { .. }
                | Step::Commit { .. }
                | Step::Create { .. }
                | Step::Remove { .. },
            ) => Some((count, within)),
            _ => None,
        }
    }

    /// Checks that enough replicas have the step; else gives a grant back.
    pub(super) fn require_replicas(
        &self,
        namespace: &Namespace,
        step: &Step,
        answer: Answer,
        acknowledged: Option<u32>,
        limits: &Limits,
    ) -> Result<Answer, StoreError> {
        let Some((wanted, within)) = self.replicas_for(step) else { return Ok(answer) };
        let found = acknowledged.unwrap_or(0);
        if found >= wanted {
            return Ok(answer);
        }
        let short = format!("{found} of {wanted} replicas had it within {} ms", within.as_millis());
        match (&answer, step) {
            (
                Answer::Standing(Standing::Running(_)),
                Step::Acquire(Acquire { attempt, .. }) | Step::Accept { attempt, .. },
            ) => Err(self.give_back_unreplicated(namespace, attempt, &short, limits)),
            (
                Answer::Finished(Finished::Ended { outcome: Outcome::Committed, .. }),
                Step::Commit { who, .. },
            ) => {
                self.rollback.tell(format!(
                    "{} is committed, but only {short}: a failover before the others have it would lose the commit",
                    who.run
                ));
                Ok(answer)
            }
            (Answer::Done, Step::Create { .. } | Step::Remove { .. }) => {
                self.rollback.tell(format!(
                    "the change is made, but only {short}: a failover before the others have it would undo it"
                ));
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    /// Gives back a grant that too few replicas have; returns the error that says so.
    fn give_back_unreplicated(
        &self,
        namespace: &Namespace,
        attempt: &Attempt,
        short: &str,
        limits: &Limits,
    ) -> StoreError {
        // Until this is answered, the grant may still exist.
        if let Err(error) = self.carry_out(namespace, &Step::GiveBack(attempt.clone()), limits) {
            return error.into_unknown();
        }
        let message = format!(
            "the grant was given back: {short}; check the replicas, or ask for less with durability=replicas(N,MS) in the URL"
        );
        StoreError::new(StoreErrorKind::NotReplicated, message)
    }
}
