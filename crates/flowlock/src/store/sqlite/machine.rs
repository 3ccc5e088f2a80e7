//! The worlds of a store: this machine, or that of a test.

use std::path::Path;
use std::sync::Arc;

use super::failure::at_path;
use super::liveness::LivenessLocks;
use crate::bounds::Bounds;
use crate::host_clock::HostClock;
use crate::store::{StoreError, StoreErrorKind};
use crate::world::{LivenessId, Now, World};

/// Reads what does not change while the machine runs. Returns a function that makes the world of a store
/// from its liveness locks.
pub(super) fn this_machine() -> Result<impl FnOnce(Arc<LivenessLocks>) -> Box<dyn World>, StoreError> {
    let boot_id = crate::world::system_boot_id().map_err(|error| {
        at_path("read the boot id from", Path::new("/proc/sys/kernel/random/boot_id"), error)
    })?;
    let clock = HostClock::of_this_process().map_err(shifted)?;
    Ok(move |lives| Box::new(Machine { boot_id, clock, lives }) as Box<dyn World>)
}

/// This machine: its clocks, its boot, its processes.
#[derive(Debug)]
struct Machine {
    boot_id: String,
    clock: HostClock,
    lives: Arc<LivenessLocks>,
}

impl World for Machine {
    fn now(&self) -> Now {
        self.clock.now()
    }
    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }
    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.lives.is_alive(liveness)
    }
}

/// The world of a test, which the test can also change.
#[derive(Debug)]
pub(super) struct Borrowed(pub(super) Arc<dyn World>);

impl World for Borrowed {
    fn now(&self) -> Now {
        self.0.now()
    }
    fn boot_id(&self) -> String {
        self.0.boot_id()
    }
    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.0.is_alive(liveness)
    }
    fn bounds(&self) -> Bounds {
        self.0.bounds()
    }
}

/// The error if leases cannot be compared with those of other processes.
fn shifted(error: std::io::Error) -> StoreError {
    let message = format!(
        "cannot tell whether a time namespace shifts this process's boot clock, by which leases are compared with those of \
         other processes: {error}"
    );
    StoreError::new(StoreErrorKind::Unusable, message).caused_by(error)
}
