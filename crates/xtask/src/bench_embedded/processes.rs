//! `flowlock run -l x -- true`, the whole process, against `flock FILE true`.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Trouble;
use crate::stats::{Comparison, compare};

const RUNS_IN_A_ROUND: u32 = 60;

/// Measures in a folder on disk, with a fresh store.
pub(crate) fn lock_round_a_command(
    flowlock: &Path,
    folder: &Path,
    rounds: u32,
) -> Result<Comparison, Trouble> {
    let file = folder.join("flock.file");
    let mut ours = Command::new(flowlock);
    ours.args(["run", "-l", "x", "--", "true"]);
    let mut bare = Command::new("flock");
    bare.arg(&file).arg("true");
    for command in [&mut ours, &mut bare] {
        command
            .env("HOME", folder)
            .env("FLOWLOCK_STORE", format!("sqlite:{}/processes.db", folder.display()))
            .current_dir(folder)
            .stdin(Stdio::null());
    }
    succeeds(&mut ours)?;
    compare(rounds, RUNS_IN_A_ROUND, || succeeds(&mut ours), || succeeds(&mut bare))
}

fn succeeds(command: &mut Command) -> Result<(), Trouble> {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{command:?} ended with {status}")).into())
    }
}
