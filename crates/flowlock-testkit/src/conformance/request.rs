//! What a run asks for, said fluently.

use std::cell::RefCell;

use flowlock::step::Patience;
use flowlock::{Attempt, ClaimsBuilder, Holder, IfWritten, Nonce, OnFail, Parent, Spec};

use super::actor::Actor;
use super::stage::{Stage, name};

/// A request in the making.
#[derive(Debug)]
pub struct Request<'s> {
    pub(super) stage: &'s Stage,
    pub(super) claims: ClaimsBuilder,
    pub(super) spec: Spec,
    pub(super) attempt: Attempt,
    pub(super) holder: Holder,
    pub(super) latest_ms: i64,
}

impl<'s> Request<'s> {
    fn with(mut self, add: impl FnOnce(ClaimsBuilder) -> ClaimsBuilder) -> Self {
        self.claims = add(self.claims);
        self
    }

    pub(super) fn reads(self, text: &str) -> Self {
        self.with(|claims| claims.input(name(text)))
    }

    pub(super) fn writes(self, text: &str) -> Self {
        self.with(|claims| claims.output(name(text)))
    }

    pub(super) fn locks(self, text: &str) -> Self {
        self.with(|claims| claims.lock(name(text)))
    }

    pub(super) fn shares(self, text: &str) -> Self {
        self.with(|claims| claims.lock_shared(name(text)))
    }

    pub(super) fn slot(self, text: &str, units: u32, capacity: u32) -> Self {
        self.with(|claims| claims.slot(name(text), units, capacity))
    }

    pub(super) fn lease(mut self, seconds: u64) -> Self {
        self.spec.lease_ms = seconds * 1_000;
        self
    }

    pub(super) fn child_of(mut self, parent: &Actor<'_>) -> Self {
        self.spec.parent = Some(Parent::from(&parent.attempt));
        self
    }

    /// It says that it is the child of a run whose secret it does not know.
    pub(super) fn pretends_to_be_child_of(mut self, run: &Actor<'_>) -> Self {
        let guessed = Attempt { nonce: Nonce(run.attempt.nonce.0 + 1), ..run.attempt.clone() };
        self.spec.parent = Some(Parent::from(&guessed));
        self
    }

    /// It may not overwrite.
    pub(super) fn once(mut self) -> Self {
        self.spec.if_written = IfWritten::Fail;
        self
    }

    /// Its failure leaves the old records incomplete.
    pub(super) fn spoiling(mut self) -> Self {
        self.spec.on_fail = OnFail::Incomplete;
        self
    }

    pub(super) fn longest(mut self, seconds: u64) -> Self {
        self.spec.max_runtime_ms = Some(seconds * 1_000);
        self
    }

    /// How long it is kept once it lapsed.
    pub(super) fn kept_for(mut self, seconds: u64) -> Self {
        self.spec.keep_lapsed_ms = seconds * 1_000;
        self
    }

    pub(super) fn records_for(mut self, seconds: u64) -> Self {
        self.spec.record_life_ms = Some(seconds * 1_000);
        self
    }

    /// From the same process as another run.
    pub(super) fn beside(mut self, other: &Actor<'_>) -> Self {
        self.holder = other.holder.clone();
        self
    }

    /// Its sending is valid so many milliseconds.
    pub(super) fn latest(mut self, ms: i64) -> Self {
        self.latest_ms = ms;
        self
    }

    #[track_caller]
    pub(super) fn tries(self) -> Actor<'s> {
        self.send(Patience::Try)
    }

    #[track_caller]
    pub(super) fn waits(self) -> Actor<'s> {
        self.send(Patience::Wait(None))
    }

    #[track_caller]
    pub(super) fn waits_for(self, seconds: u64) -> Actor<'s> {
        self.send(Patience::Wait(Some(seconds * 1_000)))
    }

    #[track_caller]
    pub(super) fn holds_place(self, seconds: u64) -> Actor<'s> {
        self.send(Patience::HoldPlace(seconds * 1_000))
    }

    #[track_caller]
    fn send(self, patience: Patience) -> Actor<'s> {
        let actor = self.unsent(patience);
        *actor.first.borrow_mut() = Some(actor.sends(patience));
        actor
    }

    /// The request, not sent.
    pub(super) fn unsent(self, patience: Patience) -> Actor<'s> {
        let Request { stage, claims, mut spec, attempt, holder, latest_ms } = self;
        spec.claims = claims.build().expect("claims within their limits");
        let latest_ms = stage.now_ms() + latest_ms;
        Actor { stage, spec: spec.into(), attempt, holder, latest_ms, patience, first: RefCell::new(None) }
    }
}
