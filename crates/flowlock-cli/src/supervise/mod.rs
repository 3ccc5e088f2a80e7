//! Watches COMMAND: one loop over its end, signals, the loss of its names, and its own deadline.
//!
//! The loop sleeps until a descriptor is readable; it does not poll. Only after a deadline was let pass
//! does it look at intervals whether there is a new one. Deadlines use the boot clock, which also runs
//! while the machine is suspended.

mod group;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{getpgid, getpgrp};

pub(crate) use self::group::Member;
use crate::child::{self, Child};
use crate::lost_memory;
use crate::signals::Signals;

/// How soon the loop looks for a new deadline after one was let pass.
const NEXT_LOOK: Duration = Duration::from_secs(1);

/// What the loop needs to know about the run.
pub(crate) trait Claims {
    /// Looks when another run may get the names (boot clock), unless they are renewed; `None` for
    /// never.
    fn update_deadline(&self) -> Option<Duration>;
    /// Returns a descriptor that becomes readable when the names are lost.
    fn lost(&self) -> Option<BorrowedFd<'_>>;
    /// Called once when they are lost; returns what to do with the command.
    fn on_lost(&mut self) -> Verdict;
    /// Called when the deadline is near and was not renewed; returns what to do with the command.
    fn on_deadline(&mut self) -> Verdict;
    /// Called once if this process may not end a process of the command: its names should be kept if
    /// possible.
    fn on_unstoppable(&mut self, left: &[Member]);
    /// Called once if no step can be carried out any more.
    fn on_store_gone(&mut self);
    /// Called after KILL was sent: a process that survives it has no claim on the names.
    fn on_killed(&mut self);
}

/// What to do with a command whose names are in danger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// End it.
    Kill,
    /// Let it run.
    Spare,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its own exit code, or 128 + the number of the signal that ended it.
    pub(crate) code: u8,
    /// Whether flowlock ended it, because its names were lost or about to be lost.
    pub(crate) killed: bool,
}

/// Reads the clock of deadlines: time since boot, including suspended time.
pub(crate) fn boot_clock() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Watches until the command has ended.
pub(crate) fn supervise(
    child: &Child,
    signals: &mut Signals,
    claims: &mut dyn Claims,
    kill_after: Duration,
) -> io::Result<Ended> {
    let mut supervisor = Supervisor {
        child,
        claims,
        kill_after,
        interrupts: 0,
        kill_at: None,
        killing: false,
        lost: false,
        spared: None,
        unstoppable: false,
        process: Process::Ours,
    };
    let result = supervisor.until_it_ends(signals);
    supervisor.take_terminal_back();
    result
}

/// Whose the command's process number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    /// The command's, also when it has ended.
    Ours,
    /// It may belong to another process by now.
    Reaped,
}

struct Supervisor<'a> {
    child: &'a Child,
    claims: &'a mut dyn Claims,
    kill_after: Duration,
    interrupts: u32,
    /// When KILL is due.
    kill_at: Option<Duration>,
    /// Whether the command is being ended because of its names.
    killing: bool,
    /// Whether the loss of its names was reported.
    lost: bool,
    /// The deadline that was let pass.
    spared: Option<Duration>,
    /// Whether a process of the command runs on that this process may not signal.
    unstoppable: bool,
    process: Process,
}

impl Supervisor<'_> {
    fn until_it_ends(&mut self, signals: &mut Signals) -> io::Result<Ended> {
        let timer =
            TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let mut armed = None;
        let (mut lost, mut store_gone) = (false, false);
        loop {
            // Taken before the look: a SIGCHLD that comes between the look and the sleep must end the
            // sleep.
            let arrived = signals.take();
            // If the command has ended, what came at the same time does not matter.
            if let Some(status) = self.ended()? {
                return Ok(Ended { code: exit_code(status), killed: self.killing });
            }
            if lost {
                self.names_lost();
            }
            if !store_gone && lost_memory::happened() {
                store_gone = true;
                self.claims.on_store_gone();
            }
            for signal in arrived {
                self.pass_on(signal);
            }
            self.keep_time();
            let next = self.next_moment();
            if next != armed {
                arm(&timer, next)?;
                armed = next;
            }
            lost = self.sleep(signals, &timer)?;
            // Reading it clears it; it is armed again if there is more to wait for.
            if timer.wait().is_ok() {
                armed = None;
            }
        }
    }

    /// Sleeps until something happens; returns true if the names were lost.
    fn sleep(&self, signals: &Signals, timer: &TimerFd) -> io::Result<bool> {
        let mut wake_ups = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(timer.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(lost) = self.claims.lost().filter(|_| !self.lost) {
            wake_ups.push(PollFd::new(lost, PollFlags::POLLIN));
        }
        match poll(&mut wake_ups, PollTimeout::NONE) {
            Ok(_) => Ok(wake_ups.get(2).is_some_and(|lost| lost.any().unwrap_or(true))),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn names_lost(&mut self) {
        self.lost = true;
        if self.claims.on_lost() == Verdict::Kill {
            self.end_it(boot_clock() + self.kill_after);
        }
    }

    /// Sends TERM now; KILL follows at `kill_at`.
    fn end_it(&mut self, kill_at: Duration) {
        self.killing = true;
        if self.signal(Signal::SIGTERM) == Err(Errno::EPERM) {
            self.cannot_stop();
        }
        let _ = self.signal(Signal::SIGCONT);
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
    }

    fn next_moment(&self) -> Option<Duration> {
        let term_at = self.own_deadline().map(|deadline| deadline.saturating_sub(self.kill_after));
        let look_at = (term_at.is_none() && self.waits_for_a_deadline()).then(|| boot_clock() + NEXT_LOOK);
        [self.kill_at, term_at, look_at].into_iter().flatten().min()
    }

    /// Returns whether a deadline was let pass and the names are not lost: it may still be renewed.
    fn waits_for_a_deadline(&self) -> bool {
        self.spared.is_some() && !self.lost && !self.killing
    }

    /// Returns the deadline, as long as it still matters.
    fn own_deadline(&self) -> Option<Duration> {
        let open = !self.lost && !self.killing;
        self.claims.update_deadline().filter(|deadline| open && Some(*deadline) > self.spared)
    }

    fn keep_time(&mut self) {
        let now = boot_clock();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.kill();
        }
        let Some(deadline) = self.own_deadline() else {
            return;
        };
        if deadline.saturating_sub(self.kill_after) <= now {
            match self.claims.on_deadline() {
                Verdict::Kill => self.end_it(deadline),
                Verdict::Spare => self.spared = Some(deadline),
            }
        }
    }

    fn pass_on(&mut self, signal: Signal) {
        match signal {
            Signal::SIGCHLD => return,
            Signal::SIGCONT => return self.resume(),
            _ => {
                let _ = self.signal(signal);
            }
        }
        if signal == Signal::SIGINT {
            self.interrupts += 1;
            if self.interrupts == 2 {
                let kill_at = boot_clock() + self.kill_after;
                self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
            }
        }
    }

    /// Sends a signal to the whole group, and to the command itself if it has left the group. As long as
    /// the group has a member, its number cannot belong to another group.
    fn signal(&self, signal: Signal) -> nix::Result<()> {
        let sent = killpg(self.child.pid, signal);
        let has_left = || getpgid(Some(self.child.pid)).is_ok_and(|group| group != self.child.pid);
        if self.process == Process::Ours && has_left() { kill(self.child.pid, signal) } else { sent }
    }

    fn kill(&mut self) {
        let refused = self.signal(Signal::SIGKILL) == Err(Errno::EPERM);
        // A signal to a group succeeds if one member may be signalled.
        if refused
            || self.killing && group::members(self.child.pid).into_iter().any(group::Member::is_out_of_reach)
        {
            self.cannot_stop();
        } else if self.killing && !self.unstoppable {
            self.claims.on_killed();
        }
    }

    /// Reports, once, that a command became another user, as under `sudo`, so that it cannot be ended.
    fn cannot_stop(&mut self) {
        if !std::mem::replace(&mut self.unstoppable, true) {
            self.claims.on_unstoppable(&group::members(self.child.pid));
        }
    }

    /// Returns the child's last status, once it has one. If the child is stopped and has our terminal,
    /// flowlock stops too.
    fn ended(&mut self) -> io::Result<Option<WaitStatus>> {
        let seen = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::WEXITED;
        match waitid(Id::Pid(self.child.pid), seen) {
            Ok(WaitStatus::StillAlive) => {
                self.follow_stop()?;
                Ok(None)
            }
            Ok(_) => {
                let status = waitpid(self.child.pid, None)?;
                self.process = Process::Reaped;
                self.end_the_rest();
                Ok(Some(status))
            }
            Err(Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// If the command was being ended, gives the rest of its group the same time, and then sends KILL.
    /// No event says when a group is empty, so it sleeps for short times. It stops after `kill_after`,
    /// or, if the rest may not be signalled, only when that ends: the names are kept that long.
    fn end_the_rest(&mut self) {
        let Some(kill_at) = self.kill_at.or(self.unstoppable.then(boot_clock)) else { return };
        let mut nap = Duration::from_millis(10);
        loop {
            match killpg(self.child.pid, None) {
                Ok(()) if boot_clock() >= kill_at => {
                    self.kill();
                    if !self.unstoppable {
                        return;
                    }
                }
                Err(Errno::EPERM) if boot_clock() >= kill_at => {
                    self.cannot_stop();
                    nap = Duration::from_millis(200);
                }
                Ok(()) | Err(Errno::EPERM) => {}
                Err(_) => return,
            }
            std::thread::sleep(nap);
        }
    }

    /// Stops flowlock and its job when a command is stopped at the terminal, so that the shell gets its
    /// prompt back.
    fn follow_stop(&self) -> io::Result<()> {
        if !self.child.at_terminal {
            return Ok(());
        }
        let stopped = waitid(Id::Pid(self.child.pid), WaitPidFlag::WNOHANG | WaitPidFlag::WSTOPPED);
        if matches!(stopped, Ok(WaitStatus::Stopped(..))) {
            self.take_terminal_back();
            // Stops here until the shell continues this process.
            killpg(getpgrp(), Signal::SIGTSTP)?;
            self.resume();
        }
        Ok(())
    }

    /// Continues the command after the shell continued flowlock: in the foreground if flowlock is there.
    fn resume(&self) {
        if self.child.at_terminal && child::foreground() == Some(getpgrp()) {
            let _ = child::take_terminal(self.child.pid);
        }
        let _ = self.signal(Signal::SIGCONT);
    }

    fn take_terminal_back(&self) {
        if self.child.at_terminal && child::foreground() == Some(self.child.pid) {
            // If the terminal is gone, it need not be restored.
            let _ = child::take_terminal(getpgrp());
        }
    }
}

fn arm(timer: &TimerFd, next: Option<Duration>) -> io::Result<()> {
    match next {
        None => timer.unset()?,
        // Zero would disarm it.
        Some(at) => {
            let at = TimeSpec::from(at.max(Duration::from_nanos(1)));
            timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        }
    }
    Ok(())
}

/// Returns the code that a shell would report.
fn exit_code(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => code.to_le_bytes()[0],
        WaitStatus::Signaled(_, signal, _) => 128 + (signal as i32).to_le_bytes()[0],
        _ => 125,
    }
}

#[cfg(test)]
mod tests;
