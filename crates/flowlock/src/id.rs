//! What runs, processes and grants are known by.

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
    /// A run's place in the order of arrival within its namespace, never used twice.
    Ticket
);
number!(
    /// The fencing token of a grant: larger for every later grant of a namespace. At least the store's
    /// wall clock in microseconds, so it also rises after the store lost recent writes.
    Token
);

/// The secret half of an [`Attempt`]: who knows it owns the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

impl Nonce {
    /// A fresh random nonce.
    pub(crate) fn fresh() -> Self {
        Self(crate::world::random_u128())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// One try to run something: an id that everybody may see and a nonce that proves ownership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The run's id.
    pub id: RunId,
    /// The proof.
    pub nonce: Nonce,
}

/// A process (or one connection of it) as the store knows it: where wake-ups go and who must stay heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u128);

impl ClientId {
    /// A fresh random client id.
    pub(crate) fn fresh() -> Self {
        Self(Nonce::fresh().0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
