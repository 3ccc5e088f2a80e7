//! One shared connection, used by all threads at once without a thread of its own: the caller who has the
//! line sends for all who wait.
//!
//! Nobody hangs: who waits leaves at its own deadline, and who leads does nothing that goes on after its own.
//! Who leaves the lead, by a panic too, hands it to the first in the queue.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use super::dial::{self, Part};
use super::failure::{self, Failure};
use super::url::{Address, Options};
use super::wire::{Trouble, Wire};
use crate::sync::lock;

/// How many callers are sent for at once.
const MOST_AT_ONCE: usize = 64;

/// Commands that belong together.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Sent first; of its replies only the last counts.
    pub(super) head: Vec<u8>,
    /// How many replies come before the one that counts.
    pub(super) skip: usize,
    /// One command that is sent after the heads of all callers: a WAIT, so that many wait together.
    pub(super) tail: Option<Vec<u8>>,
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
    place: Mutex<Place>,
    #[cfg(test)]
    writes: std::sync::atomic::AtomicU64,
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
            place: Mutex::default(),
            #[cfg(test)]
            writes: 0.into(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
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

/// The caller who has the line. However it goes, the next in the queue gets it afterwards.
struct Lead<'l> {
    line: &'l Line,
    /// None while it is in use: then it is lost should anything go wrong.
    wire: Option<Box<Wire>>,
    /// Sent, and no reply yet.
    sent: VecDeque<Arc<Waiter>>,
    /// The head is answered, the tail is not.
    halves: VecDeque<(Arc<Waiter>, Value)>,
}

impl<'l> Lead<'l> {
    fn new(line: &'l Line, wire: Option<Box<Wire>>) -> Self {
        Self { line, wire, sent: VecDeque::new(), halves: VecDeque::new() }
    }

    /// Carries the leader's own job, and the jobs of all who wait by now.
    fn carry(mut self, own: &Job, until: Instant) -> Result<Replies, Failure> {
        let mut wire = match self.wire.take().filter(|wire| !wire.is_stale()) {
            Some(wire) => wire,
            None => match self.line.dial(until) {
                Ok(wire) => Box::new(wire),
                Err(failure) => {
                    self.take_queue(usize::MAX);
                    self.fail(&failure);
                    return Err(failure);
                }
            },
        };
        self.take_queue(MOST_AT_ONCE - 1);
        match self.converse(&mut wire, own, until) {
            Ok(replies) => {
                self.wire = Some(wire);
                Ok(replies)
            }
            Err(trouble) => {
                let failure = failure::unanswered(&self.line.address, &trouble);
                self.fail(&failure);
                Err(failure)
            }
        }
    }

    /// From here on those who waited may have been sent.
    fn take_queue(&mut self, most: usize) {
        let mut place = lock(&self.line.place);
        let count = place.queue.len().min(most);
        self.sent.extend(place.queue.drain(..count));
        for waiter in &self.sent {
            *lock(&waiter.fate) = Fate::Sent;
        }
    }

    /// All heads, then all tails; then the replies in the same order. A trouble in between leaves those who
    /// have no full reply in `sent` and `halves`.
    fn converse(&mut self, wire: &mut Wire, own: &Job, until: Instant) -> Result<Replies, Trouble> {
        #[cfg(test)]
        self.line.writes.fetch_add(1, Ordering::Relaxed);
        if self.sent.is_empty() && own.tail.is_none() {
            wire.send(&own.head, until)?;
        } else {
            wire.send(&self.together(own), until)?;
        }
        let head = receive_head(wire, own, until)?;
        while let Some(waiter) = self.sent.front() {
            let head = receive_head(wire, &waiter.job, until)?;
            if let Some(waiter) = self.sent.pop_front() {
                match waiter.job.tail {
                    None => waiter.finish(Ok(Replies { head, tail: None })),
                    Some(_) => self.halves.push_back((waiter, head)),
                }
            }
        }
        let tail = own.tail.as_ref().map(|_| wire.receive(until)).transpose()?;
        while !self.halves.is_empty() {
            let tail = Some(wire.receive(until)?);
            if let Some((waiter, head)) = self.halves.pop_front() {
                waiter.finish(Ok(Replies { head, tail }));
            }
        }
        Ok(Replies { head, tail })
    }

    fn together(&self, own: &Job) -> Vec<u8> {
        let jobs = || std::iter::once(own).chain(self.sent.iter().map(|waiter| &waiter.job));
        let mut bytes = Vec::with_capacity(jobs().map(Job::length).sum());
        jobs().for_each(|job| bytes.extend_from_slice(&job.head));
        jobs().filter_map(|job| job.tail.as_ref()).for_each(|tail| bytes.extend_from_slice(tail));
        bytes
    }

    /// Tells all who were taken from the queue.
    fn fail(&mut self, failure: &Failure) {
        let halves = self.halves.drain(..).map(|(waiter, _)| waiter);
        self.sent.drain(..).chain(halves).for_each(|waiter| waiter.finish(Err(failure.clone())));
    }
}

fn receive_head(wire: &mut Wire, job: &Job, until: Instant) -> Result<Value, Trouble> {
    if job.head.is_empty() {
        return Ok(Value::Nil);
    }
    for _ in 0..job.skip {
        wire.receive(until)?;
    }
    wire.receive(until)
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !(self.sent.is_empty() && self.halves.is_empty()) {
            // Only a panic comes here with somebody's job in hand.
            self.fail(&failure::unanswered(&self.line.address, &Trouble::Closed));
        }
        let mut place = lock(&self.line.place);
        place.wire = self.wire.take();
        match place.queue.pop_front() {
            None => place.led = false,
            Some(next) => next.decide(Fate::Lead),
        }
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
