//! The server, and what it does with what it is told.

use std::time::Duration;

use flowlock::store::redis::RedisStore;

use super::Finding;
use crate::door::Door;
use crate::exit::Failure;

/// How long one question may take: an examination must not wait as long as a job may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the server over a connection of its own.
pub(super) fn examine(url: &str, door: &Door, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let store = RedisStore::open(url, PATIENCE).map_err(|error| door.failure(error))?;
    let found = store
        .examine(door.flowlock.namespace())
        .map_err(|error| door.failure(flowlock::Error::from(error)))?;
    findings.extend(found.into_iter().map(Finding::from));
    Ok(())
}
