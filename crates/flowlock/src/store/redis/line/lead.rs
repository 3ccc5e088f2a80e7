//! The caller who has the line.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;

use super::{Fate, Job, Line, NEWEST, Replies, Waiter};
use crate::store::Limits;
use crate::store::redis::failure::{self, Failure, Trouble};
use crate::store::redis::wire::Wire;
use crate::sync::lock;

/// How many callers are sent for at once.
const MOST_AT_ONCE: usize = 64;

/// The caller who has the line. However it goes, the next in the queue gets it afterwards.
pub(super) struct Lead<'l> {
    line: &'l Line,
    /// None while it is in use: then it is lost should anything go wrong.
    wire: Option<Box<Wire>>,
    /// Sent, and no reply yet.
    sent: VecDeque<Arc<Waiter>>,
    /// The head is answered, the tail is not.
    halves: VecDeque<(Arc<Waiter>, Value)>,
}

impl<'l> Lead<'l> {
    pub(super) fn new(line: &'l Line, wire: Option<Box<Wire>>) -> Self {
        Self { line, wire, sent: VecDeque::new(), halves: VecDeque::new() }
    }

    /// Carries the leader's own job, and the jobs of all who wait by now.
    pub(super) fn carry(mut self, own: &Job, limits: &Limits) -> Result<Replies, Failure> {
        if limits.left().is_zero() || limits.is_given_up() {
            // It got the line when its time was over, or nobody waits for the reply any more: the next one gets it, with the
            // connection as it is.
            return Err(failure::not_served(&self.line.address, &io::ErrorKind::TimedOut.into()));
        }
        let fit = self.wire.take().and_then(|mut wire| (!wire.is_stale(limits)).then_some(wire));
        let mut wire = match fit {
            Some(wire) => wire,
            None => match self.line.dial(limits) {
                Ok(wire) => {
                    self.line.dials.store(NEWEST.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    Box::new(wire)
                }
                // The next one may be more patient.
                Err(failure) if limits.is_interrupted() => return Err(failure),
                Err(failure) => {
                    self.take_queue(usize::MAX);
                    self.fail(&failure);
                    return Err(failure);
                }
            },
        };
        self.take_queue(MOST_AT_ONCE - 1);
        match self.converse(&mut wire, own, limits) {
            Ok(replies) => {
                self.wire = Some(wire);
                Ok(replies)
            }
            Err(trouble) => {
                // Whoever was sent along was not interrupted: the connection is gone under it.
                let theirs = if limits.is_interrupted() { &Trouble::Closed } else { &trouble };
                self.fail(&failure::unanswered(&self.line.address, theirs));
                Err(failure::unanswered(&self.line.address, &trouble))
            }
        }
    }

    /// From here on those who waited may have been sent.
    fn take_queue(&mut self, most: usize) {
        let mut place = lock(&self.line.place);
        let count = place.queue.len().min(most);
        let (given_up, wanted): (Vec<_>, Vec<_>) =
            place.queue.drain(..count).partition(|waiter| waiter.limits.is_given_up());
        for waiter in given_up {
            let unsent = failure::not_served(&self.line.address, &io::ErrorKind::TimedOut.into());
            waiter.finish(Err(unsent));
        }
        self.sent.extend(wanted);
        for waiter in &self.sent {
            *lock(&waiter.fate) = Fate::Sent;
        }
    }

    /// All heads, then all tails; then the replies in the same order. A trouble in between leaves those who
    /// have no full reply in `sent` and `halves`.
    fn converse(&mut self, wire: &mut Wire, own: &Job, limits: &Limits) -> Result<Replies, Trouble> {
        #[cfg(test)]
        self.line.writes.fetch_add(1, Ordering::Relaxed);
        if self.sent.is_empty() && own.tail.is_none() {
            wire.send(&own.head, limits)?;
        } else {
            wire.send(&self.together(own), limits)?;
        }
        let head = receive_head(wire, own, limits)?;
        while let Some(waiter) = self.sent.front() {
            let head = receive_head(wire, &waiter.job, limits)?;
            if let Some(waiter) = self.sent.pop_front() {
                match waiter.job.tail {
                    None => waiter.finish(Ok(Replies { head, tail: None })),
                    Some(_) => self.halves.push_back((waiter, head)),
                }
            }
        }
        let tail = own.tail.as_ref().map(|_| wire.receive(limits)).transpose()?;
        while !self.halves.is_empty() {
            let tail = Some(wire.receive(limits)?);
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

fn receive_head(wire: &mut Wire, job: &Job, limits: &Limits) -> Result<Value, Trouble> {
    if job.head.is_empty() {
        return Ok(Value::Nil);
    }
    for _ in 0..job.skip {
        wire.receive(limits)?;
    }
    wire.receive_within(job.most, limits)
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
