//! What a run asks for, in a fluent form.

use std::cell::RefCell;

use flowlock::step::Patience;
use flowlock::{Attempt, ClaimsBuilder, Holder, IfWritten, Nonce, OnFail, Parent, Spec};

use super::actor::Actor;
use super::{Stage, name};

/// A request under construction.
#[derive(Debug)]
pub struct Request<'s> {
    pub(in crate::conformance) stage: &'s Stage,
    pub(in crate::conformance) claims: ClaimsBuilder,
    pub(in crate::conformance) spec: Spec,
    pub(in crate::conformance) attempt: Attempt,
    pub(in crate::conformance) holder: Holder,
    pub(in crate::conformance) latest_ms: i64,
}

impl<'s> Request<'s> {
    fn with(mut self, add: impl FnOnce(ClaimsBuilder) -> ClaimsBuilder) -> Self {
        self.claims = add(self.claims);
        self
    }

    pub(in crate::conformance) fn reads(self, text: &str) -> Self {
        self.with(|claims| claims.input(name(text)))
    }

    pub(in crate::conformance) fn writes(self, text: &str) -> Self {
        self.with(|claims| claims.output(name(text)))
    }

    pub(in crate::conformance) fn locks(self, text: &str) -> Self {
        self.with(|claims| claims.lock(name(text)))
    }

    pub(in crate::conformance) fn shares(self, text: &str) -> Self {
        self.with(|claims| claims.lock_shared(name(text)))
    }

    pub(in crate::conformance) fn slot(self, text: &str, units: u32, capacity: u32) -> Self {
        self.with(|claims| claims.slot(name(text), units, capacity))
    }

    pub(in crate::conformance) fn lease(mut self, seconds: u64) -> Self {
        self.spec.lease_ms = seconds * 1_000;
        self
    }

    pub(in crate::conformance) fn child_of(mut self, parent: &Actor<'_>) -> Self {
        self.spec.parent = Some(Parent::from(&parent.attempt));
        self
    }

    /// Claims to be the child of a run without knowing its secret.
    pub(in crate::conformance) fn pretends_to_be_child_of(mut self, run: &Actor<'_>) -> Self {
        let guessed = Attempt { nonce: Nonce(run.attempt.nonce.0 + 1), ..run.attempt.clone() };
        self.spec.parent = Some(Parent::from(&guessed));
        self
    }

    /// Does not allow overwriting.
    pub(in crate::conformance) fn once(mut self) -> Self {
        self.spec.if_written = IfWritten::Fail;
        self
    }

    /// Makes its failure leave the old records incomplete.
    pub(in crate::conformance) fn spoiling(mut self) -> Self {
        self.spec.on_fail = OnFail::Incomplete;
        self
    }

    pub(in crate::conformance) fn longest(mut self, seconds: u64) -> Self {
        self.spec.max_runtime_ms = Some(seconds * 1_000);
        self
    }

    /// Sets how long it is kept once it lapsed.
    pub(in crate::conformance) fn kept_for(mut self, seconds: u64) -> Self {
        self.spec.keep_lapsed_ms = seconds * 1_000;
        self
    }

    pub(in crate::conformance) fn records_for(mut self, seconds: u64) -> Self {
        self.spec.record_life_ms = Some(seconds * 1_000);
        self
    }

    /// Sends it from the same process as another run.
    pub(in crate::conformance) fn beside(mut self, other: &Actor<'_>) -> Self {
        self.holder = other.holder.clone();
        self
    }

    /// Sets for how many milliseconds it is valid once sent.
    pub(in crate::conformance) fn latest(mut self, ms: i64) -> Self {
        self.latest_ms = ms;
        self
    }

    #[track_caller]
    pub(in crate::conformance) fn tries(self) -> Actor<'s> {
        self.send(Patience::Try)
    }

    #[track_caller]
    pub(in crate::conformance) fn waits(self) -> Actor<'s> {
        self.send(Patience::Wait(None))
    }

    #[track_caller]
    pub(in crate::conformance) fn waits_for(self, seconds: u64) -> Actor<'s> {
        self.send(Patience::Wait(Some(seconds * 1_000)))
    }

    #[track_caller]
    pub(in crate::conformance) fn holds_place(self, seconds: u64) -> Actor<'s> {
        self.send(Patience::HoldPlace(seconds * 1_000))
    }

    #[track_caller]
    fn send(self, patience: Patience) -> Actor<'s> {
        let actor = self.unsent(patience);
        *actor.first.borrow_mut() = Some(actor.sends(patience));
        actor
    }

    /// Returns the request without sending it.
    pub(in crate::conformance) fn unsent(self, patience: Patience) -> Actor<'s> {
        let Request { stage, claims, mut spec, attempt, holder, latest_ms } = self;
        spec.claims = claims.build().expect("claims within their limits");
        let latest_ms = stage.now_ms() + latest_ms;
        Actor { stage, spec: spec.into(), attempt, holder, latest_ms, patience, first: RefCell::new(None) }
    }
}
