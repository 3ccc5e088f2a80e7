//! A run, what its process does, and its state.

use std::cell::RefCell;
use std::sync::Arc;

use flowlock::step::{Acquire, Answer, Patience, Running, Standing, Step, Unlock, Who};
use flowlock::store::{Content, View};
use flowlock::{Attempt, Blocked, Holder, Run, Spec, State, Ticket, Token};

use super::super::word::{blocker, word};
use super::Stage;

/// A run and its process.
#[derive(Debug)]
pub struct Actor<'s> {
    pub(in crate::conformance) stage: &'s Stage,
    pub(in crate::conformance) spec: Arc<Spec>,
    pub(in crate::conformance) attempt: Attempt,
    pub(in crate::conformance) holder: Holder,
    pub(in crate::conformance) latest_ms: i64,
    pub(in crate::conformance) patience: Patience,
    pub(in crate::conformance) first: RefCell<Option<Answer>>,
}

impl Actor<'_> {
    /// Sends the request; returns the whole answer.
    #[track_caller]
    pub(in crate::conformance) fn sends(&self, patience: Patience) -> Answer {
        let request = Acquire {
            attempt: self.attempt.clone(),
            spec: self.spec.clone(),
            holder: self.holder.clone(),
            patience,
            latest_ms: self.latest_ms,
        };
        self.stage.step(&Step::Acquire(request))
    }

    /// Sends the same request again, valid from now; returns the answer as a word.
    #[track_caller]
    pub(in crate::conformance) fn again(&self) -> String {
        word(&self.sends(self.patience))
    }

    /// Returns the blockers in the answer to its repeated request.
    pub(in crate::conformance) fn blocked_again(&self) -> Blocked {
        blocked_in(self.sends(self.patience))
    }

    /// Returns the answer to its first request.
    pub(in crate::conformance) fn first(&self) -> Answer {
        self.first.borrow().clone().expect("the request was sent")
    }

    /// Returns the blockers in the first answer.
    pub(in crate::conformance) fn first_blocked(&self) -> Blocked {
        blocked_in(self.first())
    }

    /// Returns what its process was told when it began.
    pub(in crate::conformance) fn began(&self) -> Running {
        match self.first() {
            Answer::Standing(Standing::Running(running)) => running,
            other => panic!("it does not run: {other:?}"),
        }
    }

    /// Asserts the run's state, without changing it.
    #[track_caller]
    pub(in crate::conformance) fn is(&self, expected: &str) -> &Self {
        assert_eq!(self.state(), expected, "where {} stands", self.attempt.id);
        self
    }

    /// Returns the run's state, and whether it is absent, lapsed or revoked.
    pub(in crate::conformance) fn state(&self) -> String {
        let Some(run) = self.seen() else { return self.ended() };
        let absent = run.state.is_waiting() && !run.present;
        let marks = [
            (true, run.state.as_str()),
            (absent, "absent"),
            (run.lapsed, "lapsed"),
            (run.revoked, "revoked"),
        ];
        marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect::<Vec<_>>().join(", ")
    }

    /// Returns whether the store knows the run, alive or ended.
    pub(in crate::conformance) fn is_remembered(&self) -> bool {
        matches!(self.stage.view(&View::Run(self.attempt.id.clone())), Content::Run(Some(_)))
    }

    /// Returns the run as the store shows it, while it is alive.
    pub(in crate::conformance) fn seen(&self) -> Option<Run> {
        let id = self.attempt.id.clone();
        match self.stage.view(&View::Run(id)) {
            Content::Run(seen) => seen
                .map(|seen| seen.run)
                .filter(|run| run.attempt == self.attempt && !matches!(run.state, State::Ended(_))),
            other => panic!("not a run: {other:?}"),
        }
    }

    /// Returns how it ended, by asking: a refresh of an ended run changes nothing.
    fn ended(&self) -> String {
        match self.first.borrow().as_ref() {
            Some(Answer::Standing(Standing::Ended { .. }) | Answer::Invalid(_)) => word(&self.first()),
            _ => self.refreshes(),
        }
    }

    /// Returns who unlocked or ended it by hand, and how many milliseconds ago.
    pub(in crate::conformance) fn acted_on_by(&self) -> Option<(String, i64)> {
        match self.stage.view(&View::Run(self.attempt.id.clone())) {
            Content::Run(Some(seen)) => seen.run.actor.map(|actor| self.stage.told(&actor)),
            other => panic!("not a run: {other:?}"),
        }
    }

    pub(in crate::conformance) fn token(&self) -> Token {
        self.seen().and_then(|run| run.token).expect("it holds a grant")
    }

    /// Returns what is in its way: `"lock_held l by A"`.
    pub(in crate::conformance) fn blockers(&self) -> Vec<String> {
        match self.stage.view(&View::Run(self.attempt.id.clone())) {
            Content::Run(Some(seen)) => {
                seen.blocked.map(|blocked| blocked.by.iter().map(blocker).collect()).unwrap_or_default()
            }
            other => panic!("not a run: {other:?}"),
        }
    }

    #[track_caller]
    pub(in crate::conformance) fn claims(&self) -> String {
        word(&self.stage.step(&Step::Accept { attempt: self.attempt.clone(), holder: self.holder.clone() }))
    }

    #[track_caller]
    pub(in crate::conformance) fn refreshes(&self) -> String {
        word(&self.stage.step(&Step::Refresh(vec![self.who()])))
    }

    #[track_caller]
    pub(in crate::conformance) fn commits(&self) -> String {
        word(&self.stage.step(&Step::Commit { who: self.who(), note: None }))
    }

    #[track_caller]
    pub(in crate::conformance) fn commits_with(&self, note: &str) -> String {
        word(&self.stage.step(&Step::Commit { who: self.who(), note: Some(note.into()) }))
    }

    #[track_caller]
    pub(in crate::conformance) fn fails(&self) -> String {
        word(&self.stage.step(&Step::Fail(self.who())))
    }

    #[track_caller]
    pub(in crate::conformance) fn cancels(&self) -> String {
        word(&self.stage.step(&Step::Cancel { attempt: self.attempt.clone(), latest_ms: self.latest_ms }))
    }

    #[track_caller]
    pub(in crate::conformance) fn gives_back(&self) -> String {
        word(&self.stage.step(&Step::GiveBack(self.attempt.clone())))
    }

    /// Sends a heartbeat of its process; returns the runs in the answer, such as `"A queued"`.
    #[track_caller]
    pub(in crate::conformance) fn beats(&self) -> Vec<String> {
        let (heard, next) = self.beats_from(Ticket(0));
        assert_eq!(next, None, "one page speaks of all");
        heard
    }

    /// The same from a ticket on; also returns where the next page begins.
    #[track_caller]
    pub(in crate::conformance) fn beats_from(&self, from: Ticket) -> (Vec<String>, Option<Ticket>) {
        let explain = vec![self.attempt.id.clone()];
        match self.stage.step(&Step::Heartbeat { client: self.holder.client, from, explain }) {
            Answer::Heard { runs, next } => {
                let said = |(id, standing)| format!("{id} {}", word(&Answer::Standing(standing)));
                (runs.into_iter().map(said).collect(), next)
            }
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    #[track_caller]
    pub(in crate::conformance) fn is_unlocked(&self, how: Unlock) -> String {
        let token = self.token();
        word(&self.stage.step(&Step::Unlock {
            run: self.attempt.id.clone(),
            token,
            how,
            by: crate::by_hand(),
        }))
    }

    #[track_caller]
    pub(in crate::conformance) fn detaches(&self) -> String {
        word(&self.stage.step(&Step::Detach(self.attempt.clone())))
    }

    /// Kills its process.
    pub(in crate::conformance) fn dies(&self) {
        self.stage.world(|world| world.kill(self.holder.liveness.expect("it has a liveness lock")));
    }

    /// Reports that this run's process is dead.
    #[track_caller]
    pub(in crate::conformance) fn is_buried(&self) -> String {
        let ticket = self.seen().expect("it lives in the store").ticket;
        word(&self.stage.step(&Step::Bury(vec![ticket])))
    }

    pub(in crate::conformance) fn who(&self) -> Who {
        Who::from(&self.attempt)
    }
}

fn blocked_in(answer: Answer) -> Blocked {
    match answer {
        Answer::Standing(Standing::Waiting(waiting)) => waiting.blocked,
        Answer::Standing(Standing::Ended { blocked: Some(blocked), .. }) | Answer::Refused(blocked) => {
            blocked
        }
        other => panic!("nothing blocked it: {other:?}"),
    }
}
