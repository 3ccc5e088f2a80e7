//! A command that may hang: when its time is over, what all its threads do is printed, and it is ended.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Runs a command; none if it was ended because its time was over.
pub(crate) fn run(command: &mut Command, at_most: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let until = Instant::now() + at_most;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK);
    }
    end(&mut child)?;
    Ok(None)
}

fn end(child: &mut Child) -> std::io::Result<()> {
    let family = family(child.id());
    for pid in &family {
        anstream::eprintln!("{}", threads(*pid));
    }
    // Stopped first, so that none starts another one meanwhile.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in &family {
            let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
        }
    }
    child.wait().map(drop)
}

/// A process, its children, their children and so on.
fn family(first: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([first]);
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Every thread of a process: with a debugger where there is one, else its name, its state, and what it waits for in the
/// kernel. A test's thread has the name of the test.
fn threads(pid: u32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let mut said = format!("process {pid}: {}", command.join(" "));
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let state = read("stat").rsplit_once(')').map(|(_, rest)| rest[..2].trim().to_owned());
        let (name, waits) = (read("comm"), read("wchan"));
        let _ = write!(
            said,
            "\n  thread {} {}: {} {waits}",
            task.file_name().display(),
            name.trim(),
            state.unwrap_or_default()
        );
    }
    let backtraces = ["-p", &pid.to_string(), "-batch", "-ex", "thread apply all backtrace 30"];
    let debugger = Command::new("gdb").args(backtraces).stdin(Stdio::null()).stderr(Stdio::null()).output();
    if let Ok(found) = debugger {
        let _ = write!(said, "\n{}", String::from_utf8_lossy(&found.stdout));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_ended_with_its_children() {
        let mut hangs = Command::new("sh");
        let begun = Instant::now();
        hangs.args(["-c", "sleep 600 & wait"]);
        assert_eq!(run(&mut hangs, Duration::from_millis(300)).unwrap(), None);
        assert!(begun.elapsed() < Duration::from_secs(30));
        let status = run(&mut Command::new("true"), Duration::from_secs(30)).unwrap();
        assert!(status.unwrap().success());
    }

    #[test]
    fn all_threads_are_named() {
        std::thread::Builder::new().name("waits-for-us".into()).spawn(std::thread::park).unwrap();
        let said = threads(std::process::id());
        assert!(said.contains("waits-for-us"), "{said}");
    }
}
