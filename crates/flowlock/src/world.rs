//! Time, randomness and the liveness of processes: everything a store takes from outside, as one
//! argument.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;

/// The two clocks of a store, read once per step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of the clock that leases use. On the embedded store this is the time since boot,
    /// including suspended time, so changes of the wall clock do not affect leases.
    pub boot_ms: i64,
    /// Microseconds since 1970 of the wall clock: for tokens, the life of records, and history.
    pub wall_us: i64,
}

/// The number of a liveness lock. A living process holds the lock, and others probe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LivenessId(pub u64);

/// What a store asks of the machine it runs on. Tests use their own.
pub trait World: Debug + Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;
    /// Returns the id of this boot of this machine. After a reboot every grant is void.
    fn boot_id(&self) -> String;
    /// Returns whether a process still holds this liveness lock.
    fn is_alive(&self, liveness: LivenessId) -> bool;
    /// Returns how much work one step may do.
    fn bounds(&self) -> Bounds {
        Bounds::default()
    }
}

/// Returns a random number from the operating system.
///
/// # Panics
/// If the operating system has no random numbers, which Linux rules out after early boot.
#[allow(clippy::expect_used)]
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().expect("the operating system gives random numbers")
}

/// Returns an unguessable random number, with one system call.
///
/// # Panics
/// As [`random_u64`].
#[allow(clippy::expect_used)]
pub(crate) fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    u128::from_ne_bytes(bytes)
}

/// Reads the machine's clocks: `CLOCK_BOOTTIME` and `CLOCK_REALTIME`.
pub(crate) fn system_now() -> Now {
    Now { boot_ms: boot_now_ms(), wall_us: wall_us() }
}

/// Reads `CLOCK_REALTIME`, in microseconds.
pub(crate) fn wall_us() -> i64 {
    let wall = read(nix::time::ClockId::CLOCK_REALTIME);
    wall.tv_sec() * 1_000_000 + wall.tv_nsec() / 1_000
}

/// Reads `CLOCK_BOOTTIME`, in milliseconds. Another process's clock may be shifted: use a
/// [`HostClock`](crate::host_clock::HostClock) for a time that is compared with those of others.
pub(crate) fn boot_now_ms() -> i64 {
    let (seconds, nanoseconds) = boot_time();
    seconds * 1_000 + nanoseconds / 1_000_000
}

/// Reads `CLOCK_BOOTTIME`, in seconds and nanoseconds.
pub(crate) fn boot_time() -> (i64, i64) {
    let boot = read(nix::time::ClockId::CLOCK_BOOTTIME);
    (boot.tv_sec(), boot.tv_nsec())
}

fn read(clock: nix::time::ClockId) -> nix::sys::time::TimeSpec {
    nix::time::clock_gettime(clock).unwrap_or(nix::sys::time::TimeSpec::new(0, 0))
}

/// Returns the instant `by` after `from`; a century after it if the clock cannot represent that.
pub(crate) fn later(from: Instant, by: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_hours(24 * 365 * 100);
    from.checked_add(by.min(CENTURY)).unwrap_or(from)
}

/// Converts to whole milliseconds; saturates.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the kernel's id of this boot; all containers of a host share it.
#[cfg(feature = "sqlite")]
pub(crate) fn system_boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
