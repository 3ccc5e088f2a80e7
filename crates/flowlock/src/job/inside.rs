//! The runs in whose closures a thread is: requests that it sends there are their children.

use std::cell::RefCell;
use std::sync::Arc;

use crate::connection::Connection;
use crate::parent::Parent;

thread_local! {
    /// The runs in whose closures this thread is, innermost last.
    static INSIDE: RefCell<Vec<Around>> = const { RefCell::new(Vec::new()) };
}

/// A run in whose closure a thread is.
struct Around {
    connection: Arc<Connection>,
    run: Parent,
}

/// Marks the thread as being inside a run's closure, until dropped.
pub(super) struct Inside;

impl Inside {
    pub(super) fn enter(connection: Arc<Connection>, run: Parent) -> Self {
        INSIDE.with_borrow_mut(|inside| inside.push(Around { connection, run }));
        Self
    }
}

/// Returns the innermost run of the same store and namespace in whose closure this thread is.
pub(super) fn innermost(connection: &Connection) -> Option<Parent> {
    let of_it = |inside: &Vec<Around>| {
        let around = inside.iter().rev().find(|around| around.connection.is_same(connection));
        around.map(|it| it.run.clone())
    };
    INSIDE.with_borrow(of_it)
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Dropped after the borrow has ended, because the end of a connection may log.
        drop(INSIDE.with_borrow_mut(Vec::pop));
    }
}
