//! A process in the background that cannot outlive its test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::finished::Plain;
use crate::{Finished, PATIENCE, until};

/// Marks a process and everything that descends from it, so that all of it can be found again.
const MARK: &str = "TESTKIT_PROCESS";

/// A background process. Dropping it kills it and everything it started.
#[derive(Debug)]
pub struct Job {
    child: Child,
    mark: String,
    plain: Plain,
    outputs: [PathBuf; 2],
    _talk: Arc<TempDir>,
}

impl Job {
    #[track_caller]
    pub(crate) fn start(mut command: Command, plain: Plain, talk: Arc<TempDir>, stdin: Option<&str>) -> Self {
        let mark = new_mark();
        let directory = talk.path();
        // Files, not pipes: a grandchild that outlives the process cannot make the reader wait.
        let outputs = ["stdout", "stderr"].map(|stream| directory.join(format!("{mark}.{stream}")));
        let [stdout, stderr] = outputs
            .each_ref()
            .map(|path| File::options().create_new(true).append(true).open(path).expect("room for output"));
        command.env(MARK, &mark).stdin(input(stdin, &directory.join(format!("{mark}.stdin"))));
        command.stdout(stdout).stderr(stderr);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Job { child, mark, plain, outputs, _talk: talk }
    }

    /// Returns its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Sends a signal to it, and not to what it started.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("cannot send {signal}: {error}"));
    }

    /// Returns whether every thread of its process is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its process is there");
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok()).all(|stat| {
            // The state is after the name, which is in brackets.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Returns its standard output so far.
    pub fn stdout(&self) -> String {
        self.plain.text(&self.output(0))
    }

    /// Returns its standard error so far.
    pub fn stderr(&self) -> String {
        self.plain.text(&self.output(1))
    }

    /// Waits until it has printed `part` on standard output.
    #[track_caller]
    pub fn says(&self, part: &str) {
        self.speaks(part, "stdout", Self::stdout);
    }

    /// Waits until it has printed `part` on standard error.
    #[track_caller]
    pub fn warns(&self, part: &str) {
        self.speaks(part, "stderr", Self::stderr);
    }

    #[track_caller]
    fn speaks(&self, part: &str, stream: &str, said: fn(&Self) -> String) {
        until(&format!("{part:?} on {stream}"), PATIENCE, || {
            let is_over = self.is_over();
            let spoke = said(self).contains(part);
            let (stdout, stderr) = (self.stdout(), self.stderr());
            assert!(spoke || !is_over, "ended without {part:?} on {stream}, with {stdout:?} and {stderr:?}");
            spoke.then_some(())
        });
    }

    /// Returns whether it and all that it started have ended, so that there will be no more output.
    fn is_over(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let ended = waitid(Id::Pid(self.pid()), look) != Ok(WaitStatus::StillAlive);
        ended && marked(&self.mark).is_empty()
    }

    /// Returns whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_none()
    }

    /// Waits for its end, for up to [`PATIENCE`].
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.wait_at_most(PATIENCE)
    }

    /// Waits for its end, for up to `patience`; what it started may go on until then and is killed
    /// afterwards.
    #[track_caller]
    pub fn wait_at_most(mut self, patience: Duration) -> Finished {
        let status = until(&format!("the end of {}", self.mark), patience, || {
            self.child.try_wait().expect("our own child can be waited for")
        });
        Finished::new(status, &self.output(0), &self.output(1), &self.plain)
    }

    /// Waits for its end but leaves what it started alone, until the returned guard is dropped.
    #[track_caller]
    pub fn wait_leaving_others(mut self, patience: Duration) -> (Finished, Job) {
        let status = until(&format!("the end of {}", self.mark), patience, || {
            self.child.try_wait().expect("our own child can be waited for")
        });
        (Finished::new(status, &self.output(0), &self.output(1), &self.plain), self)
    }

    fn output(&self, stream: usize) -> Vec<u8> {
        std::fs::read(&self.outputs[stream]).unwrap_or_default()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        end_all(&self.mark, &mut self.child);
    }
}

pub(crate) fn new_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn mark_variable(mark: &str) -> (&'static str, &str) {
    (MARK, mark)
}

fn input(text: Option<&str>, path: &Path) -> Stdio {
    let Some(text) = text else { return Stdio::null() };
    std::fs::write(path, text).expect("room for input");
    File::open(path).expect("input can be read back").into()
}

/// Kills the child and every process that carries its mark, until none is left.
pub(crate) fn end_all(mark: &str, child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
    for _ in 0..200 {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(PAUSE);
    }
}

/// How often to look for processes with a mark if there are none: a process that is being started has no
/// environment for a moment.
const LOOKS: u32 = 16;
const PAUSE: Duration = Duration::from_millis(5);

/// Returns live processes whose environment has the mark. A zombie's is empty, so it does not count.
fn marked(mark: &str) -> Vec<Pid> {
    for _ in 1..LOOKS {
        let (pids, is_all) = marked_now(mark);
        if is_all || !pids.is_empty() {
            return pids;
        }
        std::thread::sleep(PAUSE);
    }
    marked_now(mark).0
}

/// Returns those that are visible, and whether it is certain that there are no others.
fn marked_now(mark: &str) -> (Vec<Pid>, bool) {
    let wanted = format!("{MARK}={mark}");
    let (mut found, mut is_all) = (Vec::new(), true);
    let processes = std::fs::read_dir("/proc").expect("the process table is readable");
    for pid in processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            found.push(Pid::from_raw(pid));
        }
        is_all &= !environment.is_empty() || !may_be_starting(pid);
    }
    (found, is_all)
}

/// Returns whether a process without an environment is neither a zombie nor one of the kernel's own,
/// whose parent is process 2.
fn may_be_starting(pid: i32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.rsplit_once(") ").unwrap_or_default().1.split(' ');
    let (state, parent) = (fields.next().unwrap_or("X"), fields.next());
    !matches!(state, "Z" | "X" | "") && pid != 2 && parent != Some("2")
}
