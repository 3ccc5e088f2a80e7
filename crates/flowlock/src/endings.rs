//! Endings: tell the store about what was dropped.
//!
//! A drop never waits for the store. The run of a dropped grant or a dropped wait is handed over to a
//! thread of its connection, which asks until the store answers or the lease ends. The end of the
//! process waits for what is left, up to [`LAST_WAIT`].
//!
//! One mutex (`state`) protects the queue, the current ending, and whether the thread runs. Nothing else
//! is locked under it, and it is not held while the store is asked. The thread ends in the critical
//! section in which it finds the queue empty; so it carries out every ending that was handed over
//! before, and a later one starts another thread. It keeps the store handle alive until then.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::at_exit::Left;
use crate::claim::Space;
use crate::handle::StoreHandle;
use crate::id::{Attempt, Ticket};
use crate::name::{Name, RunId};
use crate::spec::Spec;
use crate::step::{Step, Who};
use crate::store::{Limits, StoreError, View};
use crate::sync::lock;
use crate::world::later;

/// The pause before a store that did not answer is told again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a thread that waits for endings checks whether its caller still wants to wait.
const LOOK: Duration = Duration::from_millis(50);

/// The runs of a connection that must still be ended. Its thread lives as long as there are some.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Numbered>,
    /// What the thread is telling the store now.
    under_way: Option<Dropped>,
    /// How many were handed over.
    count: u64,
    /// How many the store knows of.
    told: u64,
    /// Whether there is a thread.
    running: bool,
    /// Whether the store did not answer the last time.
    away: bool,
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    ending: Ending,
}

/// What other threads need to know about a run that must be ended.
#[derive(Debug, Clone)]
struct Dropped {
    number: u64,
    run: RunId,
    spec: Arc<Spec>,
}

/// A run that must be ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The attempt.
    pub(crate) attempt: Attempt,
    /// What it holds or asks for.
    pub(crate) spec: Arc<Spec>,
    /// How.
    pub(crate) how: How,
    /// When to stop trying; it is tried at least once.
    pub(crate) until: Instant,
    /// Held as long as the end of the process must wait for it.
    pub(crate) _left: Option<Left>,
}

/// How a run ends that its caller dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The work failed.
    Fail,
    /// The caller never had the grant: this is not a failure.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "only a future can be dropped meanwhile"))]
    GiveBack,
    /// It leaves the queue. A repeated request may arrive until this time (0: none was sent).
    Withdraw {
        /// Measured by the store's lease clock.
        sent_ms: i64,
    },
}

impl Endings {
    /// Takes over a run. Does not wait, unless no thread can be started.
    pub(crate) fn hand_over(&self, handle: &Arc<StoreHandle>, ending: Ending) {
        let mut state = lock(&self.shared.state);
        let number = state.count;
        state.count += 1;
        state.queue.push_back(Numbered { number, ending });
        if std::mem::replace(&mut state.running, true) {
            return;
        }
        state.away = false;
        drop(state);
        let (shared, theirs) = (self.shared.clone(), handle.clone());
        let spawned = std::thread::Builder::new()
            .name("flowlock-ending".into())
            .spawn(move || carry_out_all(&shared, &theirs));
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start the thread that ends dropped runs; the thread that drops them ends them");
            carry_out_all(&self.shared, handle);
        }
    }

    /// Waits until the store knows of the earlier drops that are of concern, so that the acts of one
    /// caller take effect in order. They are done before others. Waits no longer than `limits` allow, no
    /// longer than `silence` while the store does not answer, and not at all while it is known to be
    /// unreachable.
    pub(crate) fn settle(&self, of_concern: &Concern<'_>, limits: &Limits, silence: Duration) -> Settled {
        let mut state = lock(&self.shared.state);
        let awaited = state.bring_forward(of_concern);
        let told_before = state.told;
        let silent_until = || later(Instant::now(), silence);
        let (mut told, mut patience) = (told_before, limits.clone().no_later_than(silent_until()));
        while state.is_left(&awaited) && !state.away && is_waited_for(&patience) {
            let nap = patience.left().min(LOOK);
            state = self.shared.changed.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
            if std::mem::replace(&mut told, state.told) != state.told {
                patience = limits.clone().no_later_than(silent_until());
            }
        }
        Settled { is_whole: !state.is_left(&awaited), has_answered: state.told > told_before }
    }
}

fn is_waited_for(limits: &Limits) -> bool {
    !limits.left().is_zero() && !limits.is_interrupted() && !limits.is_given_up()
}

/// How far a caller's own drops are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Whether nothing of concern is left.
    pub(crate) is_whole: bool,
    /// Whether the store took in some of them meanwhile.
    pub(crate) has_answered: bool,
}

/// The dropped runs that concern a caller.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Concern<'c> {
    /// All.
    All,
    /// None.
    None,
    /// Those that may be in the way of a run with this id and these claims.
    Request(&'c RunId, &'c Spec),
    /// Those with this id.
    Run(&'c RunId),
    /// Those that read or write one of these names.
    Names(&'c [Name]),
}

impl<'c> Concern<'c> {
    /// Those that a view would show, so that they are over in it. For later pages of a listing, those of
    /// the first page are already settled.
    pub(crate) fn of_view(view: &'c View) -> Self {
        match view {
            View::Runs { from, .. } if *from > Ticket(0) => Self::None,
            View::Records { after: Some(_), .. } => Self::None,
            View::Runs { .. } | View::Records { .. } | View::Namespace => Self::All,
            View::Run(run) => Self::Run(run),
            View::Attempt(attempt) => Self::Run(&attempt.id),
            View::Names(names) => Self::Names(names),
        }
    }

    fn is(&self, run: &RunId, spec: &Spec) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Run(id) => *id == run,
            Self::Request(id, wanted) => *id == run || spec.claims.touch(&wanted.claims),
            Self::Names(names) => {
                spec.claims.iter().any(|claim| claim.space == Space::Data && names.contains(&claim.name))
            }
        }
    }
}

impl State {
    /// Puts those of concern before the others, in their order; returns their numbers, in order.
    fn bring_forward(&mut self, of_concern: &Concern<'_>) -> Vec<u64> {
        let mut awaited: Vec<u64> = Vec::new();
        if let Some(under_way) = &self.under_way
            && of_concern.is(&under_way.run, &under_way.spec)
        {
            awaited.push(under_way.number);
        }
        let is_of_concern = |it: &Numbered| of_concern.is(&it.ending.attempt.id, &it.ending.spec);
        let (mut first, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(is_of_concern);
        awaited.extend(first.iter().map(|it| it.number));
        awaited.sort_unstable();
        first.extend(rest);
        self.queue = first;
        awaited
    }

    fn is_left(&self, awaited: &[u64]) -> bool {
        if awaited.is_empty() || !self.running {
            return false;
        }
        let numbers = self.queue.iter().map(|it| it.number);
        self.under_way
            .iter()
            .map(|it| it.number)
            .chain(numbers)
            .any(|number| awaited.binary_search(&number).is_ok())
    }
}

impl Shared {
    fn take_next(&self) -> Option<Ending> {
        let mut state = lock(&self.state);
        let next = state.queue.pop_front();
        state.running = next.is_some();
        state.under_way = next.as_ref().map(|Numbered { number, ending }| Dropped {
            number: *number,
            run: ending.attempt.id.clone(),
            spec: ending.spec.clone(),
        });
        self.changed.notify_all();
        next.map(|it| it.ending)
    }

    fn note_told(&self) {
        let mut state = lock(&self.state);
        state.told += 1;
        state.away = false;
        self.changed.notify_all();
    }

    fn note_away(&self) {
        lock(&self.state).away = true;
        self.changed.notify_all();
    }
}

/// However the thread ends, also by a panic, the next ending starts a new one.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).running = false;
            self.0.changed.notify_all();
        }
    }
}

fn carry_out_all(shared: &Shared, handle: &StoreHandle) {
    let _running = Running(shared);
    while let Some(ending) = shared.take_next() {
        carry_out(shared, handle, &ending);
    }
}

/// Tells the store until it answers. Logs the first failure and the last one.
fn carry_out(shared: &Shared, handle: &StoreHandle, ending: &Ending) {
    let run = &ending.attempt.id;
    let mut is_said = false;
    loop {
        let Err(error) = tell(handle, ending) else {
            return shared.note_told();
        };
        if !error.is_transient() || later(Instant::now(), PAUSE) >= ending.until {
            tracing::warn!(%run, %error, "could not end the run; the store ends it when its lease ends or its process is silent");
            return;
        }
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(%run, %error, "could not end the run yet; trying again until its lease ends");
        }
        shared.note_away();
        std::thread::sleep(PAUSE);
    }
}

fn tell(handle: &StoreHandle, ending: &Ending) -> Result<(), StoreError> {
    let limits = Limits::within(handle.store_timeout);
    let step = match ending.how {
        How::Fail => Step::Fail(Who::from(&ending.attempt)),
        How::GiveBack => Step::GiveBack(ending.attempt.clone()),
        How::Withdraw { sent_ms } => return handle.withdraw(&ending.attempt, sent_ms, handle.store_timeout),
    };
    handle.step_within(&step, &limits).map(drop)
}
