//! Another server takes over: for a while nothing is granted, so that those whose grants did not survive hear of it.

use flowlock::Now;

use super::play::Play;
use super::{Verdict, promise};
use crate::oracle::{Snapshot, holds};
use crate::subject::FAILOVER_PAUSE;

/// The last takeover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takeover {
    at_ms: i64,
}

impl Play {
    /// The server is another one from now on, with all that the old one had.
    pub(super) fn take_over(&mut self) {
        self.subjects.iter().for_each(crate::Subject::take_over);
        let takeover = Takeover { at_ms: self.now().boot_ms };
        // Of a namespace that was never there nothing can be lost.
        for book in self.books.iter_mut().filter(|book| book.has_begun) {
            book.settled_at = None;
            book.takeover = Some(takeover);
            book.is_taken_over = true;
        }
    }
}

impl Takeover {
    /// No step grants anything before the pause is over.
    pub(super) fn nothing_is_granted(self, now: Now, before: &Snapshot, after: &Snapshot) -> Verdict {
        if now.boot_ms >= self.at_ms + FAILOVER_PAUSE.as_millis() as i64 || before.runs.is_empty() {
            return Ok(());
        }
        let token = |ticket| before.runs.iter().find(|old| old.ticket == ticket).and_then(|old| old.token);
        let fresh = after.runs.iter().find(|run| holds(run) && token(run.ticket) != run.token);
        promise!(fresh.is_none(), "granted in the pause after the takeover at {} ms: {fresh:?}", self.at_ms);
        Ok(())
    }
}
