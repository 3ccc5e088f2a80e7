//! The server's time for each kind of step while others of the namespace wait, or have lapsed, at other names: against a
//! script that does nothing with the same bytes.

use std::thread;
use std::time::Duration;

use flowlock::step::{Answer, Step};
use flowlock::store::Store as _;
use flowlock::store::redis::RedisStore;
use flowlock::{Claims, ClaimsBuilder, Creation, Flowlock, Name, Namespace};

use crate::Trouble;
use crate::server::Server;
use crate::stats::Comparison;
use crate::steps::{Run, expect_ended, expect_heard, expect_held, expect_running, expect_waiting};

/// Steps of one kind in a row, each of another run and process.
const TIMES_IN_A_ROUND: u32 = 200;
/// Leases of this length end within `LAPSES`.
const SHORT_LEASE_MS: u64 = 1_000;
const LAPSES: Duration = Duration::from_millis(1_500);
/// The processes of the others, so that none is one of the measured runs'.
const OTHERS: u64 = 1 << 40;

/// A kind of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 3 inputs and 2 outputs, free.
    Acquire,
    /// Of a run that nobody waits for.
    Commit,
    /// Of one run.
    Refresh,
    /// Of a process with one waiting run, when there is nothing new.
    Heartbeat,
    /// Of a lock that was handed over.
    Accept,
}

pub(crate) const KINDS: [Kind; 5] =
    [Kind::Acquire, Kind::Commit, Kind::Refresh, Kind::Heartbeat, Kind::Accept];

/// Who else is in the namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Others {
    Nobody,
    /// One whose lease ended, and whose names nobody wanted since.
    OneLapsed,
    /// So many that wait for a lock which another run holds.
    Waiting(u64),
}

pub(crate) const SCENES: [Others; 4] =
    [Others::Nobody, Others::OneLapsed, Others::Waiting(1), Others::Waiting(1_000)];

/// Each kind of step in each scene.
pub(crate) fn in_all_scenes(server: &Server, rounds: u32) -> Result<Vec<(Kind, Vec<Comparison>)>, Trouble> {
    let scenes = SCENES.iter().enumerate().map(|(at, others)| Scene::new(server, at, *others));
    let mut scenes = scenes.collect::<Result<Vec<_>, _>>()?;
    let mut seen = vec![vec![Vec::new(); scenes.len()]; KINDS.len()];
    for _ in 0..rounds {
        for (at, scene) in scenes.iter_mut().enumerate() {
            for (kind, pair) in scene.round(server)? {
                seen[KINDS.iter().position(|known| *known == kind).unwrap_or_default()][at].push(pair);
            }
        }
    }
    let of_kind = |scenes: Vec<Vec<_>>| scenes.into_iter().map(Comparison::of_rounds).collect();
    Ok(KINDS.into_iter().zip(seen.into_iter().map(of_kind)).collect())
}

/// A namespace with others in it.
struct Scene {
    store: RedisStore,
    namespace: Namespace,
    waiting: Vec<Run>,
    made: u64,
}

type Pair = (Duration, Duration);

impl Scene {
    fn new(server: &Server, at: usize, others: Others) -> Result<Self, Trouble> {
        let store = RedisStore::open(&server.unix(), Duration::from_secs(5))?;
        let namespace = Namespace::parse(&format!("per-step-{at}"))?;
        let flowlock = Flowlock::builder().namespace(namespace.clone()).open(&server.unix())?;
        flowlock.create(&["input.1", "input.2", "input.3"], Creation::default())?;
        let mut scene = Self { store, namespace, waiting: Vec::new(), made: 0 };
        let other = |number: u64| Run::new(OTHERS + number, OTHERS + number, lock("gate")?);
        match others {
            Others::Nobody => {}
            Others::OneLapsed => {
                let run = other(0)?.with_lease(SHORT_LEASE_MS);
                expect_running(scene.step(&scene.acquire(&run)?)?)?;
                thread::sleep(LAPSES);
            }
            Others::Waiting(count) => {
                expect_running(scene.step(&scene.acquire(&other(0)?.with_lease(3_600_000))?)?)?;
                for number in 1..=count {
                    let run = other(number)?;
                    expect_waiting(scene.step(&scene.acquire(&run)?)?)?;
                    scene.waiting.push(run);
                }
            }
        }
        Ok(scene)
    }

    fn step(&self, step: &Step) -> Result<Answer, Trouble> {
        Ok(self.store.step(&self.namespace, step)?)
    }

    fn acquire(&self, run: &Run) -> Result<Step, Trouble> {
        run.acquire(&self.store, &self.namespace)
    }

    /// Every kind of step, with the bare thing beside it.
    fn round(&mut self, server: &Server) -> Result<Vec<(Kind, Pair)>, Trouble> {
        let mut seen = Vec::new();
        let free = self.runs(three_in_two_out)?;
        seen.push((Kind::Acquire, self.measure(server, &free, Self::acquire, expect_running)?));
        let refresh = |_: &Self, run: &Run| Ok(Step::Refresh(vec![run.who()]));
        seen.push((Kind::Refresh, self.measure(server, &free, refresh, expect_held)?));
        let commit = |_: &Self, run: &Run| Ok(run.commit());
        seen.push((Kind::Commit, self.measure(server, &free, commit, expect_ended)?));
        let own_lock = |number| lock(&format!("lock.{number}"));
        let (holders, waiting) = (self.runs(own_lock)?, self.runs(own_lock)?);
        for run in &holders {
            expect_running(self.step(&self.acquire(run)?)?)?;
        }
        for run in &waiting {
            expect_waiting(self.step(&self.acquire(run)?)?)?;
        }
        let heartbeat = |_: &Self, run: &Run| Ok(run.heartbeat());
        seen.push((Kind::Heartbeat, self.measure(server, &waiting, heartbeat, expect_heard)?));
        for run in &holders {
            expect_ended(self.step(&run.commit())?)?;
        }
        let accept = |_: &Self, run: &Run| Ok(run.accept());
        seen.push((Kind::Accept, self.measure(server, &waiting, accept, expect_running)?));
        for run in &waiting {
            expect_ended(self.step(&run.commit())?)?;
        }
        Ok(seen)
    }

    /// As many runs as are measured together, each of a process of its own, with the claims of its number among them.
    fn runs(&mut self, claims: impl Fn(u64) -> Result<Claims, Trouble>) -> Result<Vec<Run>, Trouble> {
        (0..TIMES_IN_A_ROUND)
            .map(|_| {
                self.made += 1;
                Run::new(self.made, self.made, claims(self.made % u64::from(TIMES_IN_A_ROUND))?)
            })
            .collect()
    }

    /// The server's time for the step of each run, and for as many that do nothing.
    fn measure(
        &self,
        server: &Server,
        runs: &[Run],
        step: impl Fn(&Self, &Run) -> Result<Step, Trouble>,
        expect: impl Fn(Answer) -> Result<(), Trouble>,
    ) -> Result<Pair, Trouble> {
        // The others live.
        for run in &self.waiting {
            expect_heard(self.step(&run.heartbeat())?)?;
        }
        let steps = runs.iter().map(|run| step(self, run)).collect::<Result<Vec<_>, _>>()?;
        let bare = self.store.no_op(&self.namespace, &steps[0])?;
        let bare = server.work_of(|| Ok((0..steps.len()).try_for_each(|_| bare())?))?;
        let ours = server.work_of(|| steps.iter().try_for_each(|step| expect(self.step(step)?)))?;
        Ok((ours.time / TIMES_IN_A_ROUND, bare.time / TIMES_IN_A_ROUND))
    }
}

/// Inputs that all share, outputs of its own.
fn three_in_two_out(number: u64) -> Result<Claims, Trouble> {
    let name = |text: String| Name::parse(&text);
    let inputs = (1..=3).try_fold(ClaimsBuilder::default(), |claims, n| {
        Ok::<_, Trouble>(claims.input(name(format!("input.{n}"))?))
    })?;
    Ok(inputs
        .output(name(format!("output.{number}.1"))?)
        .output(name(format!("output.{number}.2"))?)
        .build()?)
}

fn lock(name: &str) -> Result<Claims, Trouble> {
    Ok(ClaimsBuilder::default().lock(Name::parse(name)?).build()?)
}
