//! Licences, banned crates and sources of everything we depend on, against `deny.toml`.

use std::process::Command;

use crate::repo;
use crate::steps::{Failure, run};
use crate::tools;

/// Checks the whole dependency tree. Advisories are not asked for: their database is one more server a test would need.
pub(crate) fn check() -> Result<(), Failure> {
    let deny = tools::cargo_deny()?;
    run(Command::new(deny)
        .args(["--all-features", "check", "licenses", "bans", "sources"])
        .current_dir(repo::root()))
}
