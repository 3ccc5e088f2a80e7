//! Commands whose names are in danger: real processes, with claims that the test controls.

use std::ffi::OsString;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use super::*;
use crate::child::Launch;

/// Claims that end when the test says so.
struct Played {
    deadline: Option<Duration>,
    lost: Option<PipeReader>,
    verdict: Verdict,
    told: Vec<&'static str>,
}

impl Played {
    fn held_for(lease: Duration) -> Self {
        Self { deadline: Some(boot_clock() + lease), lost: None, verdict: Verdict::Kill, told: vec![] }
    }

    fn lost() -> Self {
        let (read, mut write) = std::io::pipe().unwrap();
        write.write_all(b"x").unwrap();
        Self { deadline: None, lost: Some(read), verdict: Verdict::Kill, told: vec![] }
    }
}

impl Claims for Played {
    fn update_deadline(&self) -> Option<Duration> {
        self.deadline
    }
    fn lost(&self) -> Option<BorrowedFd<'_>> {
        self.lost.as_ref().map(std::os::fd::AsFd::as_fd)
    }
    fn on_lost(&mut self) -> Verdict {
        self.told.push("lost");
        self.verdict
    }
    fn on_deadline(&mut self) -> Verdict {
        self.told.push("deadline");
        self.verdict
    }
    fn on_unstoppable(&mut self, _: &[Member]) {
        self.told.push("unstoppable");
    }
    fn on_store_gone(&mut self) {
        self.told.push("store gone");
    }
    fn on_killed(&mut self) {
        self.told.push("killed");
    }
}

const SOON: Duration = Duration::from_millis(300);

/// Runs a shell script to its end; `held` is open in all its processes.
fn run(script: &str, claims: &mut Played, kill_after: Duration, held: Option<OwnedFd>) -> Ended {
    let command: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
    let mut signals = Signals::install(&std::sync::Arc::default()).unwrap();
    let launch = Launch {
        command: &command,
        environment: vec![],
        inherit: held.as_ref().map(std::os::fd::AsFd::as_fd),
    };
    let child = child::start(launch).unwrap();
    drop(held);
    supervise(&child, &mut signals, claims, kill_after).unwrap()
}

#[test]
fn a_command_ends_with_its_own_code_or_signal() {
    let mut claims = Played::held_for(Duration::from_mins(1));
    let mut ended = |script| run(script, &mut claims, SOON, None);
    assert_eq!(ended("exit 0"), Ended { code: 0, killed: false });
    assert_eq!(ended("exit 7"), Ended { code: 7, killed: false });
    assert_eq!(ended("kill -TERM $$"), Ended { code: 143, killed: false });
    assert_eq!(ended("kill -KILL $$"), Ended { code: 137, killed: false });
    assert!(claims.told.is_empty());
}

#[test]
fn before_its_deadline_a_command_gets_term_and_at_the_deadline_kill() {
    let mut claims = Played::held_for(SOON * 3);
    let began = boot_clock();
    let ended = run("trap '' TERM; while :; do sleep 0.02; done", &mut claims, SOON, None);
    assert_eq!(ended, Ended { code: 137, killed: true });
    assert_eq!(claims.told, ["deadline", "killed"]);
    let took = boot_clock().saturating_sub(began);
    assert!(took + Duration::from_millis(20) >= SOON * 3, "KILL came {took:?} after the start");
}

#[test]
fn a_command_that_obeys_term_is_still_reported_as_killed() {
    let ended =
        run("trap 'exit 0' TERM; while :; do sleep 0.02; done", &mut Played::held_for(SOON * 2), SOON, None);
    assert_eq!(ended, Ended { code: 0, killed: true });
}

#[test]
fn a_stopped_command_is_ended_too() {
    let ended = run("kill -STOP $$; sleep 60", &mut Played::held_for(SOON), SOON / 3, None);
    assert_eq!(ended, Ended { code: 143, killed: true });
}

#[test]
fn losing_the_names_ends_the_command_at_once() {
    let mut claims = Played::lost();
    let ended = run("sleep 60", &mut claims, Duration::from_mins(1), None);
    assert_eq!((ended, claims.told.as_slice()), (Ended { code: 143, killed: true }, &["lost"][..]));
}

#[test]
fn a_spared_command_runs_to_its_end() {
    let mut lost = Played { verdict: Verdict::Spare, ..Played::lost() };
    assert_eq!(run("exit 3", &mut lost, SOON, None), Ended { code: 3, killed: false });
    let mut late = Played { verdict: Verdict::Spare, ..Played::held_for(Duration::ZERO) };
    assert_eq!(run("sleep 0.1; exit 4", &mut late, SOON, None), Ended { code: 4, killed: false });
    assert_eq!(late.told, ["deadline"]);
}

#[test]
fn nothing_of_the_group_survives_a_kill() {
    let (mut read, write) = std::io::pipe().unwrap();
    let script = "(trap '' TERM; sleep 60; sleep 60) & trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let ended = run(script, &mut Played::held_for(SOON), SOON / 3, Some(write.into()));
    assert!(ended.killed);
    // The pipe ends only when no process holds its other side any more.
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

/// It is a child of flowlock's, whatever group it puts itself into.
#[test]
fn a_command_that_left_its_group_is_ended_too() {
    let script = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(60)";
    let ended = run(&format!("exec python3 -c '{script}'"), &mut Played::held_for(SOON * 20), SOON, None);
    assert_eq!(ended, Ended { code: 143, killed: true });
}

#[test]
fn descendants_have_their_time_after_term_too() {
    let (mut read, write) = std::io::pipe().unwrap();
    let script = "(trap 'sleep 0.05; echo tidy >&0; exit' TERM; while :; do sleep 0.02; done) & wait";
    let place = tempfile::NamedTempFile::new().unwrap();
    let script = script.replace("&0", &place.path().display().to_string());
    let ended = run(&script, &mut Played::held_for(SOON * 4), SOON * 3, Some(write.into()));
    assert_eq!(ended, Ended { code: 143, killed: true });
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), "tidy\n");
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_given_descriptor_and_no_other_reaches_the_grandchildren() {
    let (mut read, write) = std::io::pipe().unwrap();
    let (mut other, unheld) = std::io::pipe().unwrap();
    let mut claims = Played::held_for(Duration::from_mins(1));
    let ended = run("sleep 0.3 >/dev/null 2>&1 & exit 0", &mut claims, SOON, Some(write.into()));
    assert_eq!(ended.code, 0);
    drop(unheld);
    assert_eq!(other.read(&mut [0]).unwrap(), 0, "a descriptor of ours leaked");
    let mut ready = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ready, PollTimeout::ZERO).unwrap(), 0, "the grandchild does not hold it");
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_command_that_is_not_there_or_not_executable_is_told_apart() {
    let found = |command: &str| child::find(command.as_ref());
    assert!(found("sh").is_ok_and(|path| path.is_absolute()));
    assert!(matches!(found("no-such-command"), Err(child::CannotStart::NotFound(_))));
    assert!(matches!(found("/no/such/command"), Err(child::CannotStart::NotFound(_))));
    assert!(matches!(found("/"), Err(child::CannotStart::NotExecutable(_))));
    assert!(matches!(found("/etc/passwd"), Err(child::CannotStart::NotExecutable(_))));
}
