//! The boot clock that all processes of a machine share, whatever time namespace they are in.
//!
//! A time namespace (`unshare --time`, some containers) shifts `CLOCK_BOOTTIME` for its processes. Times
//! that processes compare with each other, above all leases, use the clock of the machine's own
//! namespace instead. The kernel tells every process by how much its namespace is shifted, exactly, and
//! does not allow a change once a process is inside.

use std::io;
use std::path::Path;

use crate::world::boot_time;
#[cfg(feature = "sqlite")]
use crate::world::{Now, wall_us};

/// The name of the machine's own time namespace on every kernel (`TIME_NS_INIT_INO`).
const OF_THE_MACHINE: &str = "time:[4026531834]";
/// The clock's name in `timens_offsets`, or its number in the first kernels that had the file.
const NAMES: [&str; 2] = ["boottime", "7"];

/// The boot clock of the machine's own time namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostClock {
    /// How far this process's boot clock is ahead of it, in seconds and nanoseconds.
    ahead: (i64, i64),
}

impl HostClock {
    /// Finds out by how much the boot clock of this process is shifted.
    ///
    /// # Errors
    /// If the kernel cannot be asked, for example because `/proc` is not mounted.
    pub fn of_this_process() -> io::Result<Self> {
        Self::from(Path::new("/proc"))
    }

    fn from(proc: &Path) -> io::Result<Self> {
        let own = proc.join("self");
        let namespaces = own.join("ns");
        let ours = match namespaces.join("time").read_link() {
            Ok(ours) => ours,
            // A kernel without time namespaces does not shift clocks.
            Err(error) if error.kind() == io::ErrorKind::NotFound && namespaces.is_dir() => {
                return Ok(Self::true_one());
            }
            Err(error) => return Err(error),
        };
        if ours == Path::new(OF_THE_MACHINE) {
            return Ok(Self::true_one());
        }
        // The file describes the namespace that children get.
        if namespaces.join("time_for_children").read_link()? != ours {
            return Err(io::Error::other(
                "its children will be in another time namespace, and the kernel shows only that one; start flowlock as \
                 such a child (`unshare --fork`)",
            ));
        }
        let offsets = std::fs::read_to_string(own.join("timens_offsets"))?;
        let ahead = boot_offset(&offsets)
            .ok_or_else(|| io::Error::other("its timens_offsets does not mention the boot clock"))?;
        Ok(Self { ahead })
    }

    fn true_one() -> Self {
        Self { ahead: (0, 0) }
    }

    /// Returns the milliseconds since the machine booted, including suspended time.
    pub fn boot_ms(self) -> i64 {
        let (seconds, nanoseconds) = boot_time();
        (seconds - self.ahead.0) * 1_000 + (nanoseconds - self.ahead.1).div_euclid(1_000_000)
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn now(self) -> Now {
        Now { boot_ms: self.boot_ms(), wall_us: wall_us() }
    }
}

/// Returns the values in the line of the boot clock: its name, seconds and nanoseconds.
fn boot_offset(offsets: &str) -> Option<(i64, i64)> {
    let mut lines = offsets.lines().map(str::split_ascii_whitespace);
    let mut words =
        lines.find_map(|mut words| words.next().filter(|name| NAMES.contains(name)).map(|_| words))?;
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Makes a `/proc` with these contents; an empty link does not exist.
    fn clock(time: &str, time_for_children: &str, offsets: &str) -> io::Result<HostClock> {
        let proc = tempfile::tempdir().unwrap();
        let own = proc.path().join("self");
        fs::create_dir_all(own.join("ns")).unwrap();
        for (name, target) in [("time", time), ("time_for_children", time_for_children)] {
            if !target.is_empty() {
                symlink(target, own.join("ns").join(name)).unwrap();
            }
        }
        fs::write(own.join("timens_offsets"), offsets).unwrap();
        HostClock::from(proc.path())
    }

    #[test]
    fn the_shift_of_a_time_namespace_is_taken_off() {
        let shifted = |offsets| clock("time:[5]", "time:[5]", offsets).unwrap().ahead;
        assert_eq!(
            shifted("monotonic           0         0\nboottime        86400   5000000\n"),
            (86_400, 5_000_000)
        );
        assert_eq!(shifted("1 7 0\n7 -3 999999999\n"), (-3, 999_999_999));
        let (true_ms, late) = (HostClock::true_one().boot_ms(), HostClock { ahead: (86_400, 0) }.boot_ms());
        assert!((0..5_000).contains(&(late + 86_400_000 - true_ms)), "{true_ms} {late}");
    }

    #[test]
    fn the_clock_of_the_machines_own_namespace_and_of_a_kernel_without_them_is_the_true_one() {
        let elsewhere = "monotonic 0 0\nboottime 86400 0\n";
        assert_eq!(clock(OF_THE_MACHINE, "time:[5]", elsewhere).unwrap(), HostClock::true_one());
        assert_eq!(clock("", "", "").unwrap(), HostClock::true_one());
    }

    #[test]
    fn a_shift_that_is_not_told_is_an_error() {
        let offsets = "monotonic 0 0\nboottime 86400 0\n";
        assert!(clock("time:[5]", "time:[6]", offsets).unwrap_err().to_string().contains("unshare --fork"));
        for no_offset in ["", "monotonic 0 0\n", "boottime\n", "boottime x 0\n"] {
            assert!(clock("time:[5]", "time:[5]", no_offset).is_err(), "{no_offset:?}");
        }
        let nothing = tempfile::tempdir().unwrap();
        assert!(HostClock::from(nothing.path()).is_err(), "no /proc");
    }
}
