//! The attribute macro of flowlock.
