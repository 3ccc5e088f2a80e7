//! Numbers that identify runs, processes and grants.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::RunId;

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($type), self.0)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A run's number in the order of arrival within its namespace; never used twice.
    Ticket
);
number!(
    /// The fencing token of a grant: larger for every later grant of a namespace. It is at least the
    /// store's wall clock in microseconds, so it also rises after the store lost recent writes.
    Token
);

/// The secret half of an [`Attempt`]: a process that knows it owns the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

impl Nonce {
    /// Returns a new random nonce.
    pub(crate) fn fresh() -> Self {
        Self(crate::world::random_u128())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// One attempt to run something: an id that everybody may see, and a nonce that proves ownership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The run's id.
    pub id: RunId,
    /// The secret that proves ownership.
    pub nonce: Nonce,
}

/// A process (or one connection of it) as the store knows it: it gets wake-ups and must send heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u128);

impl ClientId {
    /// Returns a new random client id.
    pub(crate) fn fresh() -> Self {
        Self(Nonce::fresh().0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
