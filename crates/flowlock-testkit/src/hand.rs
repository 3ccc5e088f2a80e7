//! Who acts by hand in a test, and what they do when nothing is to change.

use std::sync::Arc;

use flowlock::step::{Holders, Sent, Step};
use flowlock::{Name, Origin};

/// Somebody at another machine.
pub(crate) fn by_hand() -> Arc<Origin> {
    Arc::new(Origin { host: "desk".to_owned(), pid: 7, user: "ann".to_owned(), ci: None })
}

/// Goes on with what is left over: removing a record that never was changes nothing, and is refused while there is work.
pub(crate) fn nothing_by_hand() -> Step {
    let nobodys = Name::parse("nobody's").expect("a name");
    Step::Remove { names: vec![nobodys], holders: Holders::Respect, sent: Sent::First, by: by_hand() }
}
