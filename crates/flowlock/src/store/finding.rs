//! What an examination finds.

use super::{StoreError, StoreErrorKind};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// Whether it is as it should be.
    pub is_good: bool,
    /// How it is; if it is not as it should be, what may come of that and what to do.
    pub found: String,
    /// Set if the store was away in the middle of the examination, which ended there.
    pub away: Option<StoreErrorKind>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, is_good: true, found: found.into(), away: None }
    }

    /// Something that is not, with what may come of that and what to do.
    pub fn bad(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, is_good: false, found: found.into(), away: None }
    }

    /// The end of an examination whose store went away.
    pub fn away(what: &'static str, error: &StoreError) -> Self {
        Self { away: Some(error.kind()), ..Self::bad(what, error.to_string()) }
    }
}
