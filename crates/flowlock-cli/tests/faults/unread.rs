//! Nobody reads what flowlock says: a full pipe, a terminal that was stopped, one that is not to be written to from the
//! background. What it promised holds all the same.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Job, PATIENCE, until};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{FlowArg, tcflow};
use nix::unistd::Pid;

use crate::{cli, records, run, states, until_it_is};

const FLOWLOCK: &str = env!("CARGO_BIN_EXE_flowlock");
/// What is done at once is done within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(3);
/// Ends as soon as it is told to.
const SLEEPS: &str = "echo pid $$ in; exec sleep 1000";

/// A pipe that has room for nothing, and a reader that stands still.
struct Full {
    pipe: File,
}

impl Full {
    fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("room for a pipe");
        let mut both = File::options();
        let mut pipe =
            both.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).expect("a pipe opens");
        for piece in [&[b'.'; 4096][..], b"."] {
            while pipe.write(piece).is_ok() {}
        }
        Self { pipe }
    }

    /// Reads on, until what comes contains `part`.
    fn is_read_until(&mut self, part: &str) -> String {
        let mut said = Vec::new();
        until(part, PATIENCE, || {
            let mut chunk = [0; 4096];
            match self.pipe.read(&mut chunk) {
                Ok(n) => said.extend_from_slice(&chunk[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            let text = String::from_utf8_lossy(&said).trim_start_matches('.').to_owned();
            text.contains(part).then_some(text)
        })
    }
}

/// The program with a stream of it in the pipe `full`, which has room for nothing.
fn unread(cli: &Cli, stream: &str, line: &[String]) -> (Job, Full) {
    let full = Full::new(&cli.home().join("full"));
    let script = format!("exec {FLOWLOCK} \"$@\" {stream}>full");
    let words = ["-c", &script, "sh"].into_iter().chain(line.iter().map(String::as_str));
    (cli.clone().with_program("/bin/sh").start(words), full)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The command's process, once it runs.
fn command_of(job: &Job) -> Pid {
    job.says("in\n");
    let number = job.stdout().split_whitespace().nth(1).expect("it said its number").to_owned();
    Pid::from_raw(number.parse().expect("a number"))
}

fn ends(command: Pid) {
    until("the command's end", PATIENCE, || (kill(command, None) == Err(Errno::ESRCH)).then_some(()));
}

/// Waits until a thread of the process stays in a write to standard error.
fn until_it_cannot_write(job: &Job) {
    until("a thread that cannot write", PATIENCE, || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", job.pid())).ok()?;
        let mut calls = tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("syscall")).ok())
            .map(|call| call.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>());
        calls.any(|call| call == [libc::SYS_write.to_string(), "0x2".to_owned()]).then_some(())
    });
}

/// Waits until a thread of the process waits for somebody who reads a result.
fn until_it_delivers(job: &Job) {
    until("a thread that delivers", PATIENCE, || {
        let mut tasks = std::fs::read_dir(format!("/proc/{}/task", job.pid())).ok()?;
        let is_it = |name: String| (name == "flowlock-result\n").then_some(());
        tasks.find_map(|task| is_it(std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?))
    });
}

#[test]
fn a_command_whose_names_are_taken_away_ends_though_nobody_reads_that() {
    let cli = cli();
    let line = run("-o a --duration 30s --kill-after 1s --name victim", SLEEPS);
    let (job, mut full) = unread(&cli, "2", &line);
    let command = command_of(&job);
    let begun = Instant::now();
    cli.run(["unlock", "a", "--yes"]).code(0);
    ends(command);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Whoever reads on has missed nothing.
    let said = full.is_read_until("its outputs are not recorded as written");
    assert!(said.starts_with("flowlock: victim."), "{said}");
    assert!(said.contains(" lost its names (unlocked by hand); ending the command\n"), "{said}");
    job.wait().code(79);
}

#[test]
fn max_runtime_ends_a_command_though_nobody_reads_that() {
    let (cli, begun) = (cli(), Instant::now());
    let line = run("-o a --max-runtime 2s --kill-after 500ms", SLEEPS);
    let (job, _full) = unread(&cli, "2", &line);
    ends(command_of(&job));
    assert!(begun.elapsed() < SOON + Duration::from_secs(2), "{:?}", begun.elapsed());
    cli.run(run("-o a --wait 0", "true")).code(0);
    job.wait().code(79);
}

#[test]
fn a_command_ends_with_a_lease_that_cannot_be_renewed_though_nobody_reads_that() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let line = run("-o a --duration 3s --kill-after 500ms", SLEEPS);
    let (job, _full) = unread(&cli, "2", &line);
    let command = command_of(&job);
    let begun = Instant::now();
    let queue = File::open(format!("{}-lock", cli.store().display())).expect("the store was written to");
    let hung = Flock::lock(queue, FlockArg::LockExclusive).expect("the turn comes");
    ends(command);
    assert!(begun.elapsed() < SOON + Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(hung);
    job.wait().code(79);
    assert!(!records(&cli).contains_key("a"));
}

#[test]
fn a_signal_reaches_the_command_while_nobody_reads() {
    let cli = cli();
    let line = run("-o a --duration 30s --on-lost warn", SLEEPS);
    let (job, _full) = unread(&cli, "2", &line);
    let command = command_of(&job);
    cli.run(["unlock", "a", "--yes", "--now"]).code(0);
    until_it_cannot_write(&job);
    let begun = Instant::now();
    job.signal(Signal::SIGTERM);
    ends(command);
    job.wait().code(143);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_signal_ends_a_wait_though_nobody_reads() {
    let cli = cli().with("CI", "1");
    let holder = cli.start(run("-l x", SLEEPS));
    holder.says("in\n");
    let (job, _full) = unread(&cli, "2", &run("-l x --name waiter", "true"));
    until_it_cannot_write(&job);
    until_it_is(&cli, "waiter", "queued");
    let begun = Instant::now();
    job.signal(Signal::SIGTERM);
    job.wait().code(143);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(!states(&cli).contains_key("waiter"));
}

#[test]
fn a_started_run_whose_id_nobody_reads_is_ended_again() {
    let cli = cli();
    let line = words("start build --id build.1 --duration 5m -o a");
    for signal in [None, Some(Signal::SIGTERM)] {
        let (job, full) = unread(&cli, "1", &line);
        let why = match signal {
            None => "within 10 s",
            Some(signal) => {
                until_it_delivers(&job);
                job.signal(signal);
                "before a signal came"
            }
        };
        let begun = Instant::now();
        job.wait().code(125).stderr(&format!(
            "flowlock: build.1 was ended; its id could not be written: nobody read it {why}\n"
        ));
        assert!(begun.elapsed() < if signal.is_some() { SOON } else { SOON * 5 }, "{:?}", begun.elapsed());
        assert!(states(&cli).is_empty());
        drop(full);
        std::fs::remove_file(cli.home().join("full")).expect("the pipe is there");
    }
    // A reader that is slow gets it whole.
    let (job, mut full) = unread(&cli, "1", &words("start build --id build.2 --duration 5m -o a"));
    until_it_delivers(&job);
    assert_eq!(full.is_read_until("\n"), "build.2\n");
    job.wait().code(0).stderr("");
    assert_eq!(states(&cli)["build"], "running");
}

#[test]
fn a_result_that_nobody_reads_holds_nothing_up() {
    let cli = cli();
    let _full = Full::new(&cli.home().join("full"));
    let said = |why: &str| {
        format!(
            "flowlock: the run ended with 0 all the same; --json-result full could not be written: nobody read it {why}\n"
        )
    };
    let patient = cli.start(run("-o a --json-result full", "true"));
    let asked = cli.start(run("-o b --json-result full", "true"));
    until_it_delivers(&asked);
    let begun = Instant::now();
    asked.signal(Signal::SIGTERM);
    asked.wait().code(0).stderr(&said("before a signal came"));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    patient.wait().code(0).stderr(&said("within 10 s"));
    assert_eq!(records(&cli).len(), 2);
}

#[test]
fn a_command_ends_though_its_terminal_was_stopped() {
    let cli = cli();
    let job = cli.terminal(run("-o a --duration 30s", SLEEPS));
    job.shows("in");
    let mut both = File::options();
    let terminal = both.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let terminal = terminal.open(format!("/proc/{}/fd/2", job.pid())).expect("its terminal opens");
    tcflow(&terminal, FlowArg::TCOOFF).expect("a terminal stops");
    cli.run(["unlock", "a", "--yes"]).code(0);
    job.wait().code(79);
    drop(terminal);
}

#[test]
fn a_terminal_that_stops_whoever_writes_from_the_background_does_not_stop_flowlock() {
    let shell = cli().with_program("/bin/bash").with("PS1", "READY> ").with("PROMPT_COMMAND", "");
    let terminal = shell.terminal(["--norc", "--noprofile", "-i"]);
    terminal.shows("READY>");
    let line = "run -o a --max-runtime 2s --kill-after 500ms";
    terminal.types(&format!("{FLOWLOCK} {line} -- sh -c 'stty tostop; exec sleep 1000'; echo code $?\n"));
    terminal.shows("reached its --max-runtime");
    terminal.shows("code 79");
}
