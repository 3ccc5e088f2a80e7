//! Steps made by hand, where the library would do more than is to be measured.

use std::sync::Arc;

use flowlock::step::{Acquire, Answer, Finished, Patience, Refreshed, Standing, Step, Who};
use flowlock::store::Store;
use flowlock::store::redis::RedisStore;
use flowlock::{
    Attempt, Claims, ClaimsBuilder, ClientId, Holder, IfWritten, JobName, Name, Namespace, Nonce, OnFail,
    Origin, RunId, Spec, Ticket,
};

use crate::Trouble;

/// A run of a process of its own.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    attempt: Attempt,
    holder: Holder,
    spec: Arc<Spec>,
}

/// Three inputs and two outputs, as all cycles have them.
pub(crate) fn three_in_two_out() -> Result<Claims, Trouble> {
    let input = |n: u32| Name::parse(&format!("input.{n}"));
    let output = |n: u32| Name::parse(&format!("output.{n}"));
    let inputs = ClaimsBuilder::default().input(input(1)?).input(input(2)?).input(input(3)?);
    Ok(inputs.output(output(1)?).output(output(2)?).build()?)
}

impl Run {
    /// The run number `number`, of process number `process`.
    pub(crate) fn new(number: u64, process: u64, claims: Claims) -> Result<Self, Trouble> {
        let spec = Spec {
            job: JobName::parse("bench")?,
            claims,
            lease_ms: 180_000,
            if_written: IfWritten::Overwrite,
            on_fail: OnFail::Keep,
            parent: None,
            record_life_ms: None,
            max_runtime_ms: None,
            keep_lapsed_ms: 86_400_000,
        };
        let id = RunId::parse(&format!("bench.{:015}", 100_000_000_000_000 + number))?;
        // As random as any: what is measured does not depend on it.
        let nonce = Nonce(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let holder = Holder {
            client: ClientId(u128::MAX / 7 + u128::from(process)),
            liveness: None,
            origin: Arc::new(Origin::of_this_process()),
        };
        Ok(Self { attempt: Attempt { id, nonce }, holder, spec: Arc::new(spec) })
    }

    /// The same under another lease.
    pub(crate) fn with_lease(mut self, lease_ms: u64) -> Self {
        Arc::make_mut(&mut self.spec).lease_ms = lease_ms;
        self
    }

    /// Its proof.
    pub(crate) fn who(&self) -> Who {
        Who::from(&self.attempt)
    }

    /// The step by which its process says that it lives, and asks nothing.
    pub(crate) fn heartbeat(&self) -> Step {
        Step::Heartbeat { client: self.holder.client, from: Ticket(0), explain: Vec::new() }
    }

    /// The step that asks for its claims.
    pub(crate) fn acquire(&self, store: &RedisStore, namespace: &Namespace) -> Result<Step, Trouble> {
        Ok(Step::Acquire(Acquire {
            attempt: self.attempt.clone(),
            spec: self.spec.clone(),
            holder: self.holder.clone(),
            patience: Patience::Wait(None),
            latest_ms: store.clock_ms(namespace)? + 3_000,
        }))
    }

    /// The step that ends it well.
    pub(crate) fn commit(&self) -> Step {
        Step::Commit { who: self.who(), note: None }
    }

    /// The step that takes over what it was handed.
    pub(crate) fn accept(&self) -> Step {
        Step::Accept { attempt: self.attempt.clone(), holder: self.holder.clone() }
    }
}

/// Refuses any other answer than a running run.
pub(crate) fn expect_running(answer: Answer) -> Result<(), Trouble> {
    match answer {
        Answer::Standing(Standing::Running(_)) => Ok(()),
        other => Err(format!("not running: {other:?}").into()),
    }
}

/// Refuses any other answer than a waiting run.
pub(crate) fn expect_waiting(answer: Answer) -> Result<(), Trouble> {
    match answer {
        Answer::Standing(Standing::Waiting(_)) => Ok(()),
        other => Err(format!("not waiting: {other:?}").into()),
    }
}

/// Refuses any other answer than that the run waits as it did.
pub(crate) fn expect_heard(answer: Answer) -> Result<(), Trouble> {
    match answer {
        Answer::Heard { runs, .. }
            if matches!(runs[..], [(_, Standing::StillWaiting { present: true, .. })]) =>
        {
            Ok(())
        }
        other => Err(format!("not waiting: {other:?}").into()),
    }
}

/// Refuses any other answer than a lease in time.
pub(crate) fn expect_held(answer: Answer) -> Result<(), Trouble> {
    match answer {
        Answer::Refreshed(runs) if matches!(runs[..], [Refreshed::Held { late: false, .. }]) => Ok(()),
        other => Err(format!("not held: {other:?}").into()),
    }
}

/// Refuses any other answer than an end.
pub(crate) fn expect_ended(answer: Answer) -> Result<(), Trouble> {
    match answer {
        Answer::Finished(Finished::Ended { .. }) => Ok(()),
        other => Err(format!("not over: {other:?}").into()),
    }
}
