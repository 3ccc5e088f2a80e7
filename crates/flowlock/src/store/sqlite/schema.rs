//! What marks a file as a store, and its tables.

/// "flow": marks the file as flowlock's.
pub(super) const APPLICATION_ID: i32 = 0x666c_6f77;
/// The schema that this release writes. It is the first, so there is no older one to read.
pub(super) const SCHEMA: i32 = 1;
/// All tables and indexes.
pub(super) const SCHEMA_TEXT: &str = include_str!("schema.sql");
