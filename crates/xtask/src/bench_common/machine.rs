//! The machine's shape, without which a number means nothing.

use std::fs;
use std::thread;

use nix::sys::utsname;

use super::Trouble;

/// One line: cores, processor, memory, kernel, and what the store is on.
pub(crate) fn description(store: &str) -> Result<String, Trouble> {
    let system = utsname::uname()?;
    Ok(format!(
        "{} cores ({}), {} GiB of memory, Linux {}, {store}",
        thread::available_parallelism()?,
        field("/proc/cpuinfo", "model name")
            .unwrap_or_else(|| system.machine().to_string_lossy().into_owned()),
        memory_gib().unwrap_or_default(),
        system.release().to_string_lossy(),
    ))
}

/// A warning if others keep the machine busy: then it is their scheduling that is measured.
pub(crate) fn is_busy() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    (load > 0.7).then(|| format!("load average {load}: this machine is busy; measure again when it is quiet"))
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
