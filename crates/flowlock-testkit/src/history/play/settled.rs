//! What must be true once nothing is left over: L1, and every run in the state that its names imply.

use flowlock::State;
use flowlock::step::Answer;

use super::super::{Verdict, promise};
use super::Play;
use crate::oracle::{Scene, holds, waits};

/// More steps than any backlog of a history needs.
const MOST_STEPS: usize = 2_000;

impl Play {
    /// Makes steps until nothing is left over, then checks whether everything is in order.
    pub(in crate::history) fn settle(&mut self, at: usize) -> Verdict {
        let step = crate::nothing_by_hand();
        for _ in 0..MOST_STEPS {
            match self.step(at, &step)? {
                Answer::NotFound => {
                    let now = self.now();
                    self.books[at].settled_at = Some(now);
                    self.books[at].is_taken_over = false;
                    return in_order(&self.books[at].scene(now));
                }
                Answer::Refused(blocked) if blocked.retry_after_ms > Some(0) => {
                    promise!(self.books[at].is_taken_over, "a pause though nobody took over: {blocked:?}");
                    self.pass(blocked.retry_after_ms.unwrap_or_default() as u32)?;
                }
                _ => {}
            }
        }
        Err(format!("work is still left over after {MOST_STEPS} steps"))
    }
}

fn in_order(scene: &Scene<'_>) -> Verdict {
    let eligible = scene.eligible();
    promise!(eligible.is_empty(), "L1: left waiting with nothing in the way: {eligible:?}");
    let queued = scene.truly_queued();
    for run in &scene.snapshot.runs {
        if waits(run) {
            promise!(!scene.is_over(run), "its wait is over: {run:?}");
            promise!(!(run.present && scene.is_silent(run)), "its process is silent: {run:?}");
            let is_queued = queued.iter().any(|other| other.ticket == run.ticket);
            if run.present {
                promise!(
                    is_queued == (run.state == State::Queued),
                    "its state is not what its inputs and outputs say: {run:?}"
                );
            }
            promise!(
                !(run.present && scene.output_exists(&run.spec.claims, run.spec.if_written)),
                "it waits though it may not overwrite what is there: {run:?}"
            );
        }
        if holds(run) {
            promise!(run.lapsed == scene.is_lapsed(run), "its deadline passed and nobody noticed: {run:?}");
            promise!(run.lapsed == run.given_up_ms.is_some(), "late, and never given up: {run:?}");
            let left_ms = run.given_up_ms.map(|end| end - scene.now.boot_ms);
            promise!(
                left_ms.is_none_or(|ms| ms > 0),
                "nobody needed it for long, and it is still there: {run:?}"
            );
            let longest_ms = run.spec.keep_lapsed_ms as i64;
            promise!(
                left_ms.is_none_or(|ms| ms <= longest_ms),
                "kept for longer than it was begun with: {run:?}"
            );
        }
    }
    Ok(())
}
