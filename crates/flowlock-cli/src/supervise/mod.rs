//! Watching over COMMAND: one loop over its end, signals, the loss of its names, and its own deadline.
//!
//! Nothing here polls by the clock: the loop sleeps until a descriptor is readable. Only after a deadline was let pass
//! it looks now and then whether there is a new one. Deadlines are told on the boot clock, which also runs while the
//! machine is suspended.

mod group;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::getpgrp;

pub(crate) use self::group::Member;
use crate::child::{self, Child};
use crate::lost_memory;
use crate::signals::Signals;

/// How soon the loop looks for a new deadline after one was let pass.
const NEXT_LOOK: Duration = Duration::from_secs(1);

/// What the loop needs to know about the run.
pub(crate) trait Claims {
    /// When the names may be somebody else's (boot clock), unless renewed; none: never.
    fn deadline(&self) -> Option<Duration>;
    /// Becomes readable when the names are lost.
    fn lost(&self) -> Option<BorrowedFd<'_>>;
    /// Called once when they are; answers what to do with the command.
    fn on_lost(&mut self) -> Verdict;
    /// Called when the deadline is near and was not renewed; answers what to do with the command.
    fn on_deadline(&mut self) -> Verdict;
    /// Called once if this process may not end what runs on: its names should not become another's if that can be helped.
    fn on_unstoppable(&mut self, left: &[Member]);
    /// Called once if no step can be carried out any more.
    fn on_store_gone(&mut self);
    /// Called when KILL was sent: whatever does not die of that has no claim on its names.
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
    /// Whether we ended it, because its names were lost or about to be.
    pub(crate) killed: bool,
}

/// The clock deadlines are told on: since boot, suspended time included.
pub(crate) fn boot_clock() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Stays until the command has ended.
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
    };
    let result = supervisor.until_it_ends(signals);
    supervisor.take_terminal_back();
    result
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
    /// Whether its names were reported lost.
    lost: bool,
    /// The deadline that was let pass.
    spared: Option<Duration>,
    /// Something of the command runs on that this process may not signal.
    unstoppable: bool,
}

impl Supervisor<'_> {
    fn until_it_ends(&mut self, signals: &mut Signals) -> io::Result<Ended> {
        let timer =
            TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let mut armed = None;
        let (mut lost, mut store_gone) = (false, false);
        loop {
            // Taken before looking: a SIGCHLD that comes between the look and the sleep must end the sleep.
            let arrived = signals.take();
            // A command that has ended is not judged by what came at the same time.
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
            // Reading it makes it quiet; it is armed again if there is more to wait for.
            if timer.wait().is_ok() {
                armed = None;
            }
        }
    }

    /// Sleeps until something happens; true if the names were lost.
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

    /// TERM now, KILL then.
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

    /// Whether a deadline was let pass and its names are not lost: it may be renewed yet.
    fn waits_for_a_deadline(&self) -> bool {
        self.spared.is_some() && !self.lost && !self.killing
    }

    /// The deadline, as long as it still decides something.
    fn own_deadline(&self) -> Option<Duration> {
        let open = !self.lost && !self.killing;
        self.claims.deadline().filter(|deadline| open && Some(*deadline) > self.spared)
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

    /// To the whole group. As long as it has a member its number cannot be another group's.
    fn signal(&self, signal: Signal) -> nix::Result<()> {
        killpg(self.child.pid, signal)
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

    /// Says so, once: a command that became another user, as under `sudo`, is not ours to end.
    fn cannot_stop(&mut self) {
        if !std::mem::replace(&mut self.unstoppable, true) {
            self.claims.on_unstoppable(&group::members(self.child.pid));
        }
    }

    /// The child's last status, once it has one. A stopped child stops us as well, if it has our terminal.
    fn ended(&mut self) -> io::Result<Option<WaitStatus>> {
        let seen = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::WEXITED;
        match waitid(Id::Pid(self.child.pid), seen) {
            Ok(WaitStatus::StillAlive) => {
                self.follow_stop()?;
                Ok(None)
            }
            Ok(_) => {
                let status = waitpid(self.child.pid, None)?;
                self.end_the_rest();
                Ok(Some(status))
            }
            Err(Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// If the command was being ended, what is left of its group gets the same time, and then KILL. Nobody
    /// tells when a group is empty, hence the short naps; they end with `kill_after`, unless what is left may not be
    /// signalled: then they end with it, for the names are kept so long.
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

    /// A command stopped at the terminal stops us and our job too, so that the shell gets its prompt back.
    fn follow_stop(&self) -> io::Result<()> {
        if !self.child.at_terminal {
            return Ok(());
        }
        let stopped = waitid(Id::Pid(self.child.pid), WaitPidFlag::WNOHANG | WaitPidFlag::WSTOPPED);
        if matches!(stopped, Ok(WaitStatus::Stopped(..))) {
            self.take_terminal_back();
            // Stops here until the shell continues us.
            killpg(getpgrp(), Signal::SIGTSTP)?;
            self.resume();
        }
        Ok(())
    }

    /// The shell continued us: the command goes on, in the foreground if that is where we are.
    fn resume(&self) {
        if self.child.at_terminal && child::foreground() == Some(getpgrp()) {
            let _ = child::take_terminal(self.child.pid);
        }
        let _ = self.signal(Signal::SIGCONT);
    }

    fn take_terminal_back(&self) {
        if self.child.at_terminal && child::foreground() == Some(self.child.pid) {
            // A terminal that is gone needs no restoring.
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

/// The code a shell would report.
fn exit_code(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => code.to_le_bytes()[0],
        WaitStatus::Signaled(_, signal, _) => 128 + (signal as i32).to_le_bytes()[0],
        _ => 125,
    }
}

#[cfg(test)]
mod tests;
