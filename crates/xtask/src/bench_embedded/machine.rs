//! The machine's shape, without which a number means nothing.

use std::fs;
use std::path::Path;
use std::thread;

use nix::sys::statfs::{self, EXT4_SUPER_MAGIC, TMPFS_MAGIC};
use nix::sys::utsname;

use crate::Trouble;

/// One line: cores, processor, memory, kernel, file system of the folder, SQLite.
pub(crate) fn description(folder: &Path) -> Result<String, Trouble> {
    let system = utsname::uname()?;
    Ok(format!(
        "{} cores ({}), {} GiB of memory, Linux {}, {}, SQLite {}",
        thread::available_parallelism()?,
        field("/proc/cpuinfo", "model name")
            .unwrap_or_else(|| system.machine().to_string_lossy().into_owned()),
        memory_gib().unwrap_or_default(),
        system.release().to_string_lossy(),
        file_system(folder)?,
        rusqlite::version(),
    ))
}

/// A warning if others keep the machine busy: then it is their scheduling that is measured.
pub(crate) fn is_busy() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    (load > 0.7).then(|| format!("load average {load}: this machine is busy; measure again when it is quiet"))
}

fn file_system(folder: &Path) -> Result<String, Trouble> {
    Ok(match statfs::statfs(folder)?.filesystem_type() {
        EXT4_SUPER_MAGIC => "ext4".to_owned(),
        TMPFS_MAGIC => "tmpfs".to_owned(),
        other => format!("file system {:#x}", other.0),
    })
}

fn memory_gib() -> Option<u64> {
    let total = field("/proc/meminfo", "MemTotal")?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some((kib + (1 << 19)) >> 20)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}
