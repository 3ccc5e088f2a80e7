//! Who acts by hand in a test.

use std::sync::Arc;

use flowlock::Origin;

/// Somebody at another machine.
pub(crate) fn by_hand() -> Arc<Origin> {
    Arc::new(Origin { host: "desk".to_owned(), pid: 7, user: "ann".to_owned(), ci: None })
}
