//! The caller that leads.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;

use super::{Caller, CallerState, Job, NEWEST, Pipeline, Replies};
use crate::store::Limits;
use crate::store::redis::connection::Connection;
use crate::store::redis::failure::{self, Failure, Trouble};
use crate::sync::lock;

/// How many callers are sent for at once.
const MOST_AT_ONCE: usize = 64;

/// The caller that leads. However it ends, the next in the queue leads afterwards.
pub(super) struct Leader<'l> {
    line: &'l Pipeline,
    /// `None` while it is in use, so that it is lost if anything goes wrong.
    connection: Option<Box<Connection>>,
    /// Sent, and without a reply so far.
    sent: VecDeque<Arc<Caller>>,
    /// The head is answered, the tail is not.
    halves: VecDeque<(Arc<Caller>, Value)>,
}

impl<'l> Leader<'l> {
    pub(super) fn new(line: &'l Pipeline, connection: Option<Box<Connection>>) -> Self {
        Self { line, connection, sent: VecDeque::new(), halves: VecDeque::new() }
    }

    /// Carries the leader's own job, and the jobs of all that wait now.
    pub(super) fn carry(mut self, own: &Job, limits: &Limits) -> Result<Replies, Failure> {
        if limits.left().is_zero() || limits.is_given_up() {
            // It became the leader when its time was over, or no caller waits for the reply any more:
            // the next one leads, with the connection as it is.
            return Err(failure::not_served(&self.line.address, &io::ErrorKind::TimedOut.into()));
        }
        let fit = self
            .connection
            .take()
            .and_then(|mut connection| (!connection.is_stale(limits)).then_some(connection));
        let mut connection = match fit {
            Some(connection) => connection,
            None => match self.line.dial(limits) {
                Ok(connection) => {
                    self.line.dials.store(NEWEST.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    Box::new(connection)
                }
                // The next one may have more time.
                Err(failure) if limits.is_interrupted() => return Err(failure),
                Err(failure) => {
                    self.take_queue(usize::MAX);
                    self.fail(&failure);
                    return Err(failure);
                }
            },
        };
        self.take_queue(MOST_AT_ONCE - 1);
        match self.converse(&mut connection, own, limits) {
            Ok(replies) => {
                self.connection = Some(connection);
                Ok(replies)
            }
            Err(trouble) => {
                // The callers that were sent along were not interrupted: their connection was lost.
                let theirs = if limits.is_interrupted() { &Trouble::Closed } else { &trouble };
                self.fail(&failure::unanswered(&self.line.address, theirs));
                Err(failure::unanswered(&self.line.address, &trouble))
            }
        }
    }

    /// From here on, the waiting callers' jobs may have been sent.
    fn take_queue(&mut self, most: usize) {
        let mut queue = lock(&self.line.queue);
        let count = queue.callers.len().min(most);
        let (given_up, wanted): (Vec<_>, Vec<_>) =
            queue.callers.drain(..count).partition(|caller| caller.limits.is_given_up());
        for caller in given_up {
            let unsent = failure::not_served(&self.line.address, &io::ErrorKind::TimedOut.into());
            caller.finish(Err(unsent));
        }
        self.sent.extend(wanted);
        for caller in &self.sent {
            *lock(&caller.state) = CallerState::Sent;
        }
    }

    /// Sends all heads, then all tails; then reads the replies in the same order. After an error in
    /// between, the callers without a full reply are in `sent` and `halves`.
    fn converse(
        &mut self,
        connection: &mut Connection,
        own: &Job,
        limits: &Limits,
    ) -> Result<Replies, Trouble> {
        #[cfg(test)]
        self.line.writes.fetch_add(1, Ordering::Relaxed);
        if self.sent.is_empty() && own.tail.is_none() {
            connection.send(&own.head, limits)?;
        } else {
            connection.send(&self.together(own), limits)?;
        }
        let head = receive_head(connection, own, limits)?;
        while let Some(caller) = self.sent.front() {
            let head = receive_head(connection, &caller.job, limits)?;
            if let Some(caller) = self.sent.pop_front() {
                match caller.job.tail {
                    None => caller.finish(Ok(Replies { head, tail: None })),
                    Some(_) => self.halves.push_back((caller, head)),
                }
            }
        }
        let tail = own.tail.as_ref().map(|_| connection.receive(limits)).transpose()?;
        while !self.halves.is_empty() {
            let tail = Some(connection.receive(limits)?);
            if let Some((caller, head)) = self.halves.pop_front() {
                caller.finish(Ok(Replies { head, tail }));
            }
        }
        Ok(Replies { head, tail })
    }

    fn together(&self, own: &Job) -> Vec<u8> {
        let jobs = || std::iter::once(own).chain(self.sent.iter().map(|caller| &caller.job));
        let mut bytes = Vec::with_capacity(jobs().map(Job::length).sum());
        jobs().for_each(|job| bytes.extend_from_slice(&job.head));
        jobs().filter_map(|job| job.tail.as_ref()).for_each(|tail| bytes.extend_from_slice(tail));
        bytes
    }

    /// Tells all callers that were taken from the queue.
    fn fail(&mut self, failure: &Failure) {
        let halves = self.halves.drain(..).map(|(caller, _)| caller);
        self.sent.drain(..).chain(halves).for_each(|caller| caller.finish(Err(failure.clone())));
    }
}

fn receive_head(connection: &mut Connection, job: &Job, limits: &Limits) -> Result<Value, Trouble> {
    if job.head.is_empty() {
        return Ok(Value::Nil);
    }
    for _ in 0..job.skip {
        connection.receive(limits)?;
    }
    connection.receive_within(job.most, limits)
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !(self.sent.is_empty() && self.halves.is_empty()) {
            // Only after a panic are there callers left here.
            self.fail(&failure::unanswered(&self.line.address, &Trouble::Closed));
        }
        let mut queue = lock(&self.line.queue);
        queue.connection = self.connection.take();
        match queue.callers.pop_front() {
            None => queue.led = false,
            Some(next) => next.decide(CallerState::Leader),
        }
    }
}
