//! The server, and what it does with what it is told.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use flowlock::store::redis::RedisStore;

use super::FindingJson;
use crate::context::Context;
use crate::exit::Failure;

/// How long one question may take: an examination must not wait as long as a job may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the server over a connection of its own.
pub(super) fn examine(url: &str, context: &Context, findings: &mut Vec<FindingJson>) -> Result<(), Failure> {
    let store = RedisStore::open(url, PATIENCE).map_err(|error| context.failure(error))?;
    findings.extend(store.secret_files().iter().map(|(what, path)| secret(what, path)));
    let found = store
        .examine(context.flowlock.namespace())
        .map_err(|error| context.failure(flowlock::Error::from(error)))?;
    findings.extend(found.into_iter().map(FindingJson::from));
    findings.extend(context.seen.clock_step(&context.flowlock).map(clock_step));
    Ok(())
}

fn clock_step(step_ms: i64) -> FindingJson {
    let (way, harm) = if step_ms > 0 {
        ("ahead", "leases that had less left are over, and two jobs may have run at once")
    } else {
        ("back", "what dead jobs hold is free that much later")
    };
    let seconds = (step_ms.unsigned_abs() + 500) / 1_000;
    let remedy = "let NTP slew it instead of setting it";
    FindingJson::bad(
        "clock step",
        format!("the server's clock was set {way} by {seconds} s since it was last seen: {harm}; {remedy}"),
    )
}

/// Whether others than their owner and a group can read a file with a password or a key in it.
fn secret(what: &'static str, path: &Path) -> FindingJson {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) if meta.mode() & 0o006 != 0 => FindingJson::bad(
            what,
            format!(
                "{shown}, mode {:04o}: every user of this machine can read it, and then do to the store what you can; take that away with chmod o-rwx",
                meta.mode() & 0o7777
            ),
        ),
        Ok(meta) => FindingJson::good(
            what,
            format!("{shown}, mode {:04o}, owner {}", meta.mode() & 0o7777, meta.uid()),
        ),
        Err(error) => FindingJson::bad(what, format!("{shown}: {error}")),
    }
}
