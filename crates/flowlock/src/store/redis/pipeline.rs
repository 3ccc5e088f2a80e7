//! One shared connection, used by all threads at once without a thread of its own: one caller leads, and
//! sends for all that wait.
//!
//! No caller hangs: a waiting caller leaves at its own deadline, and the leader does nothing that goes
//! on after its own. When the leader leaves, also by a panic, it hands the lead to the first waiting
//! caller.
//!
//! `queue` protects who leads, who waits, and the connection while no caller leads; each caller's
//! `state` protects its own outcome. The order is `queue`, then `state`; a waiting caller holds only its
//! `state`, and releases it before it takes the `queue`. The leader owns the connection, and holds
//! neither while it sends and receives. `dials` and [`NEWEST`] are relaxed: `NEWEST` only has to give
//! each connection a different number, and a caller that compares `dials` got its reply from a leader
//! that stored it before, through one of these mutexes or by being that leader.

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
    /// Sent first; only the last of its replies counts.
    pub(super) head: Vec<u8>,
    /// How many replies come before the one that counts.
    pub(super) skip: usize,
    /// The largest size of the reply that counts, in bytes; all others are short.
    pub(super) most: usize,
    /// One command that is sent after the heads of all callers: a WAIT, so that many wait together.
    pub(super) tail: Option<Vec<u8>>,
}

impl Default for Job {
    /// Empty, with a short reply.
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
    /// The longest time for an attempt to connect.
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
    /// Whether a caller leads. If none does, the queue is empty.
    led: bool,
    callers: VecDeque<Arc<Caller>>,
}

/// A caller that found the connection in use.
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
    /// The server may have it.
    Sent,
    Done(Result<Replies, Failure>),
    /// This caller leads now.
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

    /// Returns the number of its newest connection, 0 before the first. The same number means the same
    /// connection, also if another pipeline to the server has taken over the queue of this one.
    pub(super) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }

    /// Connects, if that was not done yet.
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
            match wait.next_slice() {
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
            // Another thread has just taken it out of the queue: its outcome is decided by now.
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

    /// Makes a separate connection, for a listener.
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
