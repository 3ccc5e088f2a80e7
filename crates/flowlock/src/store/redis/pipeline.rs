//! One shared connection, used by all threads at once without a thread of its own: one caller leads, and sends for
//! all who wait.
//!
//! Nobody hangs: who waits leaves at its own deadline, and who leads does nothing that goes on after its own.
//! Who leaves the lead, by a panic too, hands it to the first who waits.
//!
//! `queue` protects who leads, who waits, and the connection while nobody leads; each caller's `state` protects what became of
//! that one. The order is `queue`, then `state`; a caller that waits holds its `state` alone and gives it back before it takes
//! the `queue`. Who leads owns the connection and holds neither while it sends and receives. `dials` and [`NEWEST`] are
//! relaxed: `NEWEST` only has to give each connection another number, and who compares `dials` has its reply from a leader
//! who stored it before, through a mutex of these or by being that leader.

mod leader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use self::leader::Leader;
use super::connection::Connection;
use super::dial::{Dialler, Part};
use super::failure::{self, Failure, Trouble};
use super::patience::Wait;
use super::resp::SHORT;
use super::url::Address;
use crate::store::Limits;
use crate::sync::lock;

/// Commands that belong together.
#[derive(Debug)]
pub(super) struct Job {
    /// Sent first; of its replies only the last counts.
    pub(super) head: Vec<u8>,
    /// How many replies come before the one that counts.
    pub(super) skip: usize,
    /// The most bytes that the reply which counts may take up; all others are short.
    pub(super) most: usize,
    /// One command that is sent after the heads of all callers: a WAIT, so that many wait together.
    pub(super) tail: Option<Vec<u8>>,
}

impl Default for Job {
    /// Nothing, and a short reply.
    fn default() -> Self {
        Self { head: Vec::new(), skip: 0, most: SHORT, tail: None }
    }
}

/// The replies to a job.
#[derive(Debug)]
pub(super) struct Replies {
    pub(super) head: Value,
    pub(super) tail: Option<Value>,
}

/// The number of the newest connection of this process.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// A shared connection to one server.
#[derive(Debug)]
pub(super) struct Pipeline {
    dialler: Arc<Dialler>,
    address: Address,
    part: Part,
    /// No attempt to connect takes longer.
    patience: Duration,
    /// The number of its connection, among all of this process.
    dials: AtomicU64,
    queue: Mutex<Queue>,
    #[cfg(test)]
    writes: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    connection: Option<Box<Connection>>,
    /// Whether somebody leads. If nobody does, the queue is empty.
    led: bool,
    callers: VecDeque<Arc<Caller>>,
}

/// A caller who found the line taken.
#[derive(Debug)]
struct Caller {
    job: Job,
    limits: Limits,
    state: Mutex<CallerState>,
    changed: Condvar,
}

#[derive(Debug)]
enum CallerState {
    Queued,
    /// It may be with the server.
    Sent,
    Done(Result<Replies, Failure>),
    /// The line is this caller's now.
    Leader,
    Taken,
}

impl Pipeline {
    pub(super) fn new(dialler: Arc<Dialler>, address: Address, part: Part, patience: Duration) -> Self {
        Self {
            dialler,
            address,
            part,
            patience,
            dials: AtomicU64::new(0),
            queue: Mutex::default(),
            #[cfg(test)]
            writes: 0.into(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The number of its newest connection, 0 before the first: the same number means the same connection, also if another
    /// line to the server has taken the queue of this one.
    pub(super) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }

    /// Connects if that was not done yet.
    pub(super) fn open(&self, limits: &Limits) -> Result<(), Failure> {
        self.ask(Job::default(), limits).map(drop)
    }

    /// Sends a job and waits for its replies.
    pub(super) fn ask(&self, job: Job, limits: &Limits) -> Result<Replies, Failure> {
        let mut queue = lock(&self.queue);
        if queue.led {
            let (limits, state) = (limits.clone(), Mutex::new(CallerState::Queued));
            let caller = Arc::new(Caller { job, limits, state, changed: Condvar::new() });
            queue.callers.push_back(caller.clone());
            drop(queue);
            return self.wait(&caller);
        }
        queue.led = true;
        let connection = queue.connection.take();
        drop(queue);
        Leader::new(self, connection).carry(&job, limits)
    }

    fn wait(&self, caller: &Arc<Caller>) -> Result<Replies, Failure> {
        let mut wait = Wait::new(&caller.limits);
        let mut state = lock(&caller.state);
        let over = loop {
            if !matches!(*state, CallerState::Queued | CallerState::Sent) {
                break io::ErrorKind::TimedOut.into();
            }
            match wait.slice() {
                Ok(slice) => {
                    let looked = caller.changed.wait_timeout(state, slice);
                    state = looked.unwrap_or_else(PoisonError::into_inner).0;
                }
                Err(over) => break over,
            }
        };
        if matches!(*state, CallerState::Queued) {
            drop(state);
            let mut queue = lock(&self.queue);
            if let Some(at) = queue.callers.iter().position(|other| Arc::ptr_eq(other, caller)) {
                queue.callers.remove(at);
                return Err(failure::not_served(&self.address, &over));
            }
            // Somebody has just taken it out of the queue: what was decided stands by now.
            drop(queue);
            state = lock(&caller.state);
        }
        match std::mem::replace(&mut *state, CallerState::Taken) {
            CallerState::Done(replies) => replies,
            CallerState::Leader => {
                drop(state);
                let connection = lock(&self.queue).connection.take();
                Leader::new(self, connection).carry(&caller.job, &caller.limits)
            }
            _ => Err(failure::unanswered(&self.address, &Trouble::Io(over))),
        }
    }

    /// A connection of its own, for who listens.
    pub(super) fn dial(&self, limits: &Limits) -> Result<Connection, Failure> {
        let limits = limits.clone().no_later_than(crate::world::later(Instant::now(), self.patience));
        self.dialler.dial(&self.address, self.part, &limits)
    }
}

impl Job {
    fn length(&self) -> usize {
        self.head.len() + self.tail.as_ref().map_or(0, Vec::len)
    }
}

impl Caller {
    fn finish(&self, replies: Result<Replies, Failure>) {
        self.decide(CallerState::Done(replies));
    }

    fn decide(&self, state: CallerState) {
        *lock(&self.state) = state;
        self.changed.notify_one();
    }
}
