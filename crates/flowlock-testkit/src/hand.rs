//! A person who acts by hand in a test, and a step of theirs that changes nothing.

use std::sync::Arc;

use flowlock::step::{Holders, Sent, Step};
use flowlock::{Name, Origin};

/// A person at another machine.
pub(crate) fn by_hand() -> Arc<Origin> {
    Arc::new(Origin { host: "desk".to_owned(), pid: 7, user: "ann".to_owned(), ci: None })
}

/// Returns a step that only continues with what is left over: removing a record that never existed
/// changes nothing, and is refused while there is work.
pub(crate) fn nothing_by_hand() -> Step {
    let nobodys = Name::parse("nobody's").expect("a name");
    Step::Remove { names: vec![nobodys], holders: Holders::Respect, sent: Sent::First, by: by_hand() }
}
