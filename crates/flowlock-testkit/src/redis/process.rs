//! Server processes that end when the tests end, however those end, and whose directories are removed then.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, until};

/// A server's process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts the server in `directory`, where it also writes its log.
    pub(super) fn start(
        program: &Path,
        arguments: &[&str],
        directory: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let log =
            File::options().create(true).append(true).open(directory.join(LOG)).expect("room for a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments).current_dir(directory);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        prepare(&mut command);
        let child = spawn_from_a_lasting_thread(command)
            .unwrap_or_else(|error| panic!("setpriv (util-linux) does not start: {error}"));
        Process { child }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Whether the process has ended, by itself or because it was killed.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_some()
    }

    /// Freezes the process; returns when it has stopped.
    #[track_caller]
    pub(super) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        until("a stopped process", PATIENCE, || self.is_stopped().then_some(()));
    }

    /// Whether the process is frozen.
    pub(super) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        stat.is_ok_and(|stat| stat.contains(") T "))
    }

    #[track_caller]
    pub(super) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("cannot send {signal}: {error}"));
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(super) fn wait(&mut self) {
        until("the end of a server", PATIENCE, || self.has_ended().then_some(()));
    }

    /// Kills the process, in whatever state it is, without a chance to clean up.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The name of the log in a server's directory.
const LOG: &str = "log";

/// The log of the server in this directory.
pub(super) fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join(LOG)).unwrap_or_default()
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts the process from a thread that never ends: the kernel sends the child the signal of its parent's death when
/// the *thread* that started it ends, and each test is a thread.
fn spawn_from_a_lasting_thread(command: Command) -> io::Result<Child> {
    static NURSERY: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let nursery = NURSERY.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, child) = mpsc::channel();
    nursery.lock().expect("no order panics").send((command, answer)).expect("the nursery lasts");
    child.recv().expect("the nursery answers")
}

/// Removes `directory` after this process has ended, even if it was killed.
pub(super) fn remove_after_our_death(directory: &Path) {
    static GUARDIAN: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    // Its input is closed when this process ends. It then waits a moment until the servers have ended too, so that none
    // of them writes a file again.
    const SCRIPT: &str = "trap '' HUP INT QUIT TERM
        while IFS= read -r directory; do set -- \"$@\" \"$directory\"; done
        sleep 0.2; rm -rf -- \"$@\"";
    let guardian = GUARDIAN.get_or_init(|| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "guardian"]).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        #[expect(clippy::zombie_processes, reason = "it outlives us")]
        let child = command.spawn().expect("a shell starts");
        Mutex::new(child.stdin.expect("its input was asked for"))
    });
    let mut input = guardian.lock().expect("no line panics");
    writeln!(input, "{}", directory.display()).expect("the guardian listens");
}
