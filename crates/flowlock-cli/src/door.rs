//! The opened store.
