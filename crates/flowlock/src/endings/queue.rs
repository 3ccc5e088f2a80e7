//! The queue of runs that must be ended, and which of them a caller waits for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::concern::Concern;
use super::ending::{Connected, Ending};
use crate::id::Attempt;
use crate::name::RunId;
use crate::spec::Spec;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Numbered>,
    /// What the thread is telling the store now.
    pub(super) under_way: Option<UnderWay>,
    /// How many were handed over.
    pub(super) count: u64,
    /// How many the store knows of.
    pub(super) told: u64,
    /// Whether there is a thread.
    pub(super) running: bool,
    /// Whether the store did not answer the last time.
    pub(super) away: bool,
    pub(super) connected: Connected,
    /// What is still to be handed over.
    pub(super) foreseen: Vec<Foreseen>,
}

#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) ending: Ending,
    /// Whether the store refused it the last time; no caller waits for it then.
    pub(super) is_refused: bool,
}

/// A question whose future is gone, and from which a run may come that must be ended (`foreseen.rs`).
#[derive(Debug)]
pub(super) struct Foreseen {
    pub(super) number: u64,
    pub(super) about: About,
}

/// What may have to be ended.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// `None` if the request chooses an id.
    pub(crate) run: Option<RunId>,
    pub(crate) spec: Arc<Spec>,
}

/// What other threads need to know about the run that is being ended.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    pub(super) number: u64,
    pub(super) attempt: Attempt,
    pub(super) spec: Arc<Spec>,
    pub(super) is_refused: bool,
}

impl State {
    /// Puts those of concern before the others, in their order; returns the numbers of those to wait
    /// for, in order.
    pub(super) fn bring_forward(&mut self, of_concern: &Concern<'_>) -> Vec<u64> {
        let mut awaited: Vec<u64> = Vec::new();
        if let Some(under_way) = self.under_way.as_ref().filter(|it| !it.is_refused)
            && of_concern.is(Some(&under_way.attempt.id), &under_way.spec)
        {
            awaited.push(under_way.number);
        }
        let is_first = |it: &Numbered| !it.is_refused && it.is_of(of_concern);
        let (mut first, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(is_first);
        awaited.extend(first.iter().map(|it| it.number));
        awaited.sort_unstable();
        first.extend(rest);
        self.queue = first;
        awaited
    }

    /// Returns the numbers of those of concern that are still to be handed over.
    pub(super) fn foreseen_of(&self, of_concern: &Concern<'_>) -> Vec<u64> {
        let is_of = |it: &&Foreseen| of_concern.is(it.about.run.as_ref(), &it.about.spec);
        self.foreseen.iter().filter(is_of).map(|it| it.number).collect()
    }

    /// Returns whether one of these is still to be handed over.
    pub(super) fn is_foreseen(&self, numbers: &[u64]) -> bool {
        self.foreseen.iter().any(|it| numbers.contains(&it.number))
    }

    pub(super) fn is_left(&self, awaited: &[u64]) -> bool {
        if awaited.is_empty() || !self.running {
            return false;
        }
        let queued = self.queue.iter().filter(|it| !it.is_refused).map(|it| it.number);
        let under_way = self.under_way.iter().map(|it| it.number);
        under_way.chain(queued).any(|number| awaited.binary_search(&number).is_ok())
    }

    /// Returns whether the store refused to end one of those of concern.
    pub(super) fn is_refused(&self, of_concern: &Concern<'_>) -> bool {
        self.queue.iter().any(|it| it.is_refused && it.is_of(of_concern))
            || self.under_way.iter().any(|it| it.is_refused && of_concern.is(Some(&it.attempt.id), &it.spec))
    }

    /// Takes out those that are over by themselves; returns them.
    pub(super) fn take_those_over(&mut self) -> Vec<Numbered> {
        let (now, connected) = (Instant::now(), self.connected);
        let is_over = |it: &Numbered| it.ending.is_over(now, connected);
        if !self.queue.iter().any(is_over) {
            return Vec::new();
        }
        let (over, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue).into_iter().partition(is_over);
        self.queue = left.into();
        over
    }
}

impl Numbered {
    fn is_of(&self, of_concern: &Concern<'_>) -> bool {
        of_concern.is(Some(&self.ending.attempt.id), &self.ending.spec)
    }
}
