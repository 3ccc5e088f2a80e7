//! What thousands of runs cost a server: commands, their time, connections, memory. Bounds, and counts that must not
//! grow; how fast it is, is the benchmark's matter.

mod bounds;
mod connections;
mod growth;
mod half_steps;
mod queue;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{Acquire, Answer, Finished, Patience, Standing, Step, Who};
use flowlock::store::{Store as _, redis::RedisStore};
use flowlock::{
    Attempt, ClaimsBuilder, ClientId, Holder, IfWritten, JobName, Name, Namespace, Nonce, OnFail, Origin,
    RunId, Spec,
};
use flowlock_testkit::{RedisServer, fresh_namespace};

/// A namespace on a server, and a connection that speaks to it in steps.
#[derive(Debug)]
struct Stage {
    server: RedisServer,
    store: RedisStore,
    namespace: Namespace,
}

/// A run and the process it belongs to.
#[derive(Debug)]
struct Run {
    attempt: Attempt,
    holder: Holder,
    spec: Arc<Spec>,
}

impl Stage {
    fn new() -> Self {
        Self::on(RedisServer::start())
    }

    fn on(server: RedisServer) -> Self {
        let store = RedisStore::open(&server.unix_url(), Duration::from_secs(20)).unwrap();
        let namespace = Namespace::parse(&fresh_namespace()).expect("a plain name");
        Self { server, store, namespace }
    }

    #[track_caller]
    fn step(&self, step: &Step) -> Answer {
        self.store.step(&self.namespace, step).unwrap()
    }

    /// Every command that the scripts of `steps` call, and how often.
    fn calls(&self, steps: impl FnOnce()) -> BTreeMap<String, u64> {
        self.server.command(&["CONFIG", "RESETSTAT"]);
        steps();
        let counts = self.server.command_counts().into_iter();
        counts
            .filter(|(name, _)| name != "config|resetstat")
            .map(|(name, count)| (name, count.calls))
            .collect()
    }

    /// Sends a request, as fresh as can be.
    #[track_caller]
    fn send(&self, run: &Run, patience: Patience) -> Answer {
        let latest_ms = self.store.clock_ms(&self.namespace).unwrap() + 60_000;
        let Run { attempt, holder, spec } = run;
        self.step(&Step::Acquire(Acquire {
            attempt: attempt.clone(),
            spec: spec.clone(),
            holder: holder.clone(),
            patience,
            latest_ms,
        }))
    }

    #[track_caller]
    fn waits(&self, run: &Run) {
        let answer = self.send(run, Patience::Wait(None));
        assert!(matches!(answer, Answer::Standing(Standing::Waiting(_))), "{answer:?}");
    }

    #[track_caller]
    fn runs(&self, run: &Run) {
        let answer = self.send(run, Patience::Wait(None));
        assert!(matches!(answer, Answer::Standing(Standing::Running(_))), "{answer:?}");
    }

    fn claim(&self, run: &Run) -> Answer {
        self.step(&Step::Accept { attempt: run.attempt.clone(), holder: run.holder.clone() })
    }

    #[track_caller]
    fn commit(&self, run: &Run) {
        let answer = self.step(&Step::Commit { who: Who::from(&run.attempt), note: None });
        assert!(matches!(answer, Answer::Finished(Finished::Ended { late: false, .. })), "{answer:?}");
    }

    /// Grants and ends a run.
    #[track_caller]
    fn passes(&self, run: &Run) {
        self.runs(run);
        self.commit(run);
    }
}

impl Run {
    /// Of a process of its own, under a lease of ten minutes.
    fn new(id: impl AsRef<str>, claims: ClaimsBuilder) -> Self {
        let spec = Spec {
            job: JobName::parse("job").expect("a plain name"),
            claims: claims.build().expect("claims within their limits"),
            lease_ms: 600_000,
            if_written: IfWritten::Overwrite,
            on_fail: OnFail::Keep,
            parent: None,
            record_life_ms: None,
            max_runtime_ms: None,
            keep_lapsed_ms: 86_400_000,
        };
        let id = RunId::parse(id.as_ref()).expect("a plain id");
        let number =
            id.as_str().bytes().fold(1, |sum: u128, byte| sum.wrapping_mul(257).wrapping_add(byte.into()));
        let holder =
            Holder { client: ClientId(number), liveness: None, origin: Arc::new(Origin::of_this_process()) };
        Self { attempt: Attempt { id, nonce: Nonce(number) }, holder, spec: spec.into() }
    }

    /// Of the process of this number.
    fn of(mut self, process: usize) -> Self {
        self.holder.client = ClientId(process as u128);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(Arc::make_mut(&mut self.spec));
        self
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a plain name")
}

fn lock(text: &str) -> ClaimsBuilder {
    ClaimsBuilder::default().lock(name(text))
}
