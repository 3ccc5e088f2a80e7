//! The runs whose closures a thread is inside of: what it asks for in there belongs to them.

use std::cell::RefCell;
use std::sync::Arc;

use crate::connection::Connection;
use crate::parent::Parent;

thread_local! {
    /// The runs whose closures this thread is inside of, innermost last.
    static INSIDE: RefCell<Vec<Around>> = const { RefCell::new(Vec::new()) };
}

/// A run whose closure a thread is inside of.
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

/// The innermost run of the same store and namespace whose closure this thread is inside of.
pub(super) fn innermost(connection: &Connection) -> Option<Parent> {
    let of_it = |inside: &Vec<Around>| {
        let around = inside.iter().rev().find(|around| around.connection.is_same(connection));
        around.map(|it| it.run.clone())
    };
    INSIDE.with_borrow(of_it)
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Dropped outside of the borrow: a connection's end may log.
        drop(INSIDE.with_borrow_mut(Vec::pop));
    }
}
