//! Shell scripts and shell examples, read by shellcheck.

use std::path::PathBuf;
use std::process::Command;

use crate::repo;
use crate::steps::{Failure, run};

/// Checks every tracked script: `*.sh` and `.ci/run`.
pub(crate) fn check() -> Result<(), Failure> {
    let scripts: Vec<PathBuf> = repo::tracked(&["*.sh", ".ci/run"])?;
    if scripts.is_empty() {
        return Err(Failure::new("no shell script found: this check would pass by doing nothing"));
    }
    run(Command::new("shellcheck").arg("--external-sources").args(scripts).current_dir(repo::root()))
}
