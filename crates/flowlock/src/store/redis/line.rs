//! One shared connection, used by all threads at once without a thread of its own: the caller who has the
//! line sends for all who wait.
//!
//! Nobody hangs: who waits leaves at its own deadline, and who leads does nothing that goes on after its own.
//! Who leaves the lead, by a panic too, hands it to the first in the queue.

mod lead;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use self::lead::Lead;
use super::dial::{self, Part};
use super::failure::{self, Failure};
use super::resp::SHORT;
use super::url::{Address, Options};
use super::wire::{Trouble, Wire};
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

/// A shared connection to one server.
#[derive(Debug)]
pub(super) struct Line {
    options: Arc<Options>,
    address: Address,
    part: Part,
    /// No attempt to connect takes longer.
    patience: Duration,
    opened: AtomicBool,
    /// How many connections it has had.
    dials: AtomicU64,
    place: Mutex<Place>,
    #[cfg(test)]
    writes: AtomicU64,
}

#[derive(Debug, Default)]
struct Place {
    wire: Option<Box<Wire>>,
    /// Whether somebody leads. If nobody does, the queue is empty.
    led: bool,
    queue: VecDeque<Arc<Waiter>>,
}

/// A caller who found the line taken.
#[derive(Debug)]
struct Waiter {
    job: Job,
    fate: Mutex<Fate>,
    changed: Condvar,
}

#[derive(Debug)]
enum Fate {
    Queued,
    /// It may be with the server.
    Sent,
    Done(Result<Replies, Failure>),
    /// The line is this caller's now.
    Lead,
    Taken,
}

impl Line {
    pub(super) fn new(options: Arc<Options>, address: Address, part: Part, patience: Duration) -> Self {
        let opened = AtomicBool::new(false);
        Self {
            options,
            address,
            part,
            patience,
            opened,
            dials: AtomicU64::new(0),
            place: Mutex::default(),
            #[cfg(test)]
            writes: 0.into(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// How many connections it has had: the same number means the same connection.
    pub(super) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }

    /// Connects if that was not done yet.
    pub(super) fn open(&self, until: Instant) -> Result<(), Failure> {
        self.ask(Job::default(), until).map(drop)
    }

    /// Sends a job and waits for its replies.
    pub(super) fn ask(&self, job: Job, until: Instant) -> Result<Replies, Failure> {
        let mut place = lock(&self.place);
        if place.led {
            let waiter = Arc::new(Waiter { job, fate: Mutex::new(Fate::Queued), changed: Condvar::new() });
            place.queue.push_back(waiter.clone());
            drop(place);
            return self.wait(&waiter, until);
        }
        place.led = true;
        let wire = place.wire.take();
        drop(place);
        Lead::new(self, wire).carry(&job, until)
    }

    fn wait(&self, waiter: &Arc<Waiter>, until: Instant) -> Result<Replies, Failure> {
        let fate = lock(&waiter.fate);
        let left = until.saturating_duration_since(Instant::now());
        let undecided = |fate: &mut Fate| matches!(fate, Fate::Queued | Fate::Sent);
        let (mut fate, _) =
            waiter.changed.wait_timeout_while(fate, left, undecided).unwrap_or_else(PoisonError::into_inner);
        if matches!(*fate, Fate::Queued) {
            drop(fate);
            let mut place = lock(&self.place);
            if let Some(at) = place.queue.iter().position(|other| Arc::ptr_eq(other, waiter)) {
                place.queue.remove(at);
                return Err(self.not_served());
            }
            // Somebody has just taken it out of the queue: what was decided stands by now.
            drop(place);
            fate = lock(&waiter.fate);
        }
        match std::mem::replace(&mut *fate, Fate::Taken) {
            Fate::Done(replies) => replies,
            Fate::Lead => {
                drop(fate);
                let wire = lock(&self.place).wire.take();
                Lead::new(self, wire).carry(&waiter.job, until)
            }
            _ => Err(failure::unanswered(&self.address, &Trouble::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }

    fn not_served(&self) -> Failure {
        Failure::unreachable(format!(
            "{} did not answer the calls ahead of this one in time; nothing was sent for it",
            self.address
        ))
    }

    /// A connection of its own, for who listens.
    pub(super) fn dial(&self, until: Instant) -> Result<Wire, Failure> {
        let opened = self.opened.load(Ordering::Relaxed);
        let part = if opened && self.part == Part::Alone { Part::Again } else { self.part };
        let until = until.min(crate::world::later(Instant::now(), self.patience));
        let wire = dial::dial(&self.options, &self.address, part, until)?;
        self.opened.store(true, Ordering::Relaxed);
        Ok(wire)
    }
}

impl Job {
    fn length(&self) -> usize {
        self.head.len() + self.tail.as_ref().map_or(0, Vec::len)
    }
}

impl Waiter {
    fn finish(&self, replies: Result<Replies, Failure>) {
        self.decide(Fate::Done(replies));
    }

    fn decide(&self, fate: Fate) {
        *lock(&self.fate) = fate;
        self.changed.notify_one();
    }
}
