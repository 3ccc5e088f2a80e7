//! Another server takes over: for a while nothing is granted, so that those whose grants did not survive hear of it.

use super::super::book::Takeover;
use super::Play;

impl Play {
    /// The server is another one from now on, with all that the old one had.
    pub(in crate::history) fn take_over(&mut self) {
        // All are on one server.
        self.subjects[0].take_over();
        let takeover = Takeover::at(self.now());
        // Of a namespace that was never there nothing can be lost.
        for book in self.books.iter_mut().filter(|book| book.has_begun) {
            book.settled_at = None;
            book.takeover = Some(takeover);
            book.is_taken_over = true;
        }
    }
}
