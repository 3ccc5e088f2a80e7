//! Another server takes over: for a while nothing is granted, so that holders whose grants did not
//! survive learn of it.

use super::super::book::Takeover;
use super::Play;

impl Play {
    /// Replaces the server by another one with the same data.
    pub(in crate::history) fn take_over(&mut self) {
        // All are on one server.
        self.subjects[0].take_over();
        let takeover = Takeover::at(self.now());
        // A namespace that never existed cannot lose anything.
        for book in self.books.iter_mut().filter(|book| book.has_begun) {
            book.settled_at = None;
            book.takeover = Some(takeover);
            book.is_taken_over = true;
        }
    }
}
