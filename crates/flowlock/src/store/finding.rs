//! What an examination of a store finds.

use super::{StoreError, StoreErrorKind};

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// Whether it is in order.
    pub is_good: bool,
    /// Its state; if it is not in order, also the consequences and what to do.
    pub found: String,
    /// Set if the store became unreachable during the examination, which ended there.
    pub away: Option<StoreErrorKind>,
}

impl Finding {
    /// Reports something that is in order.
    pub fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, is_good: true, found: found.into(), away: None }
    }

    /// Reports a problem, with its consequences and what to do.
    pub fn bad(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, is_good: false, found: found.into(), away: None }
    }

    /// Reports that the examination ended because the store became unreachable.
    pub fn away(what: &'static str, error: &StoreError) -> Self {
        Self { away: Some(error.kind()), ..Self::bad(what, error.to_string()) }
    }
}

/// The first ten names of what was found, and how many there are.
#[cfg(any(feature = "redis", feature = "sqlite"))]
#[derive(Debug, Default)]
pub(crate) struct FirstFew {
    named: Vec<String>,
    count: usize,
}

#[cfg(any(feature = "redis", feature = "sqlite"))]
impl FirstFew {
    const NAMED: usize = 10;

    pub(crate) fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < Self::NAMED {
            self.named.push(name());
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Lists the names with `between` between them, and `and N more` after `last` if there are more.
    pub(crate) fn list(&self, between: &str, last: &str) -> String {
        let named = self.named.join(between);
        match self.count - self.named.len() {
            0 => named,
            more => format!("{named}{last}and {more} more"),
        }
    }
}
