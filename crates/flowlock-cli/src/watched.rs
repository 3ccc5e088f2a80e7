//! The time between grant and commit: the command runs and is watched, while the library renews the
//! lease.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::PipeReader;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use flowlock::store::Store;
use flowlock::{Grant, Lost};

use crate::args::OnTrouble;
use crate::child::{self, Launch};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::lost_memory::Watching;
use crate::signals::Signals;
use crate::supervise::{Claims, Ended, Member, Verdict, boot_clock, supervise};
use crate::terminal;

/// What to do in trouble.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// When the names are lost.
    pub(crate) on_lost: OnTrouble,
    /// When the store cannot be asked until the lease ends.
    pub(crate) on_unreachable: OnTrouble,
    /// Between TERM and KILL.
    pub(crate) kill_after: Duration,
    /// When the lease is deliberately not renewed any more (boot clock).
    pub(crate) last_end: Option<Duration>,
}

/// Why a command did not finish.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// It was never executed: nothing was done.
    NotBegun(Failure),
    /// It began, and it is unknown how far it came.
    Broken(Failure),
}

/// A grant as the watching loop sees it.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    grant: &'a Grant,
    store: &'a dyn Store,
    policy: Policy,
    lost: PipeReader,
    deadline: Cell<Duration>,
    /// The deadline for which a decision was made and reported.
    decided: Cell<Option<(Duration, Verdict)>>,
}

/// Two readings of a deadline that differ by less are the same deadline: two clocks were read for each.
const STILL_THE_SAME: Duration = Duration::from_millis(100);

/// Returns when the grant ends (boot clock), and how long that is from now. Two clocks are read; again
/// if this process had to wait for a processor in between, because a later deadline would look like a
/// renewed lease.
fn deadline_of(grant: &Grant) -> (Duration, Duration) {
    const AT_ONCE: Duration = Duration::from_millis(10);
    const TRIES: usize = 10;
    let read = || {
        let (before, left) = (boot_clock(), grant.time_left());
        (boot_clock().saturating_sub(before), before + left, left)
    };
    let mut nearest = read();
    for _ in 1..TRIES {
        if nearest.0 < AT_ONCE {
            break;
        }
        nearest = nearest.min(read());
    }
    (nearest.1, nearest.2)
}

impl<'a> Watched<'a> {
    /// Starts to listen for the loss of `grant`.
    pub(crate) fn new(grant: &'a Grant, store: &'a dyn Store, policy: Policy) -> Result<Self, Failure> {
        let (lost, tell) = std::io::pipe().map_err(|error| Failure::internal("make a pipe", &error))?;
        // Closing one side makes the other one readable.
        grant.on_lost(move |_| drop(tell));
        if policy.on_unreachable == OnTrouble::Warn {
            grant.insist();
        }
        let deadline = Cell::new(deadline_of(grant).0);
        Ok(Self { grant, store, policy, lost, deadline, decided: Cell::new(None) })
    }

    /// Runs one process to its end.
    pub(crate) fn run(
        &mut self,
        command: &[OsString],
        environment: &Environment,
        inherit: Option<BorrowedFd<'_>>,
        signals: &mut Signals,
    ) -> Result<Ended, Unfinished> {
        self.refuse_if_lost()?;
        let launch = Launch { command, environment: environment.variables(), inherit };
        let _watching = Watching::begin();
        let not_begun = |problem| Unfinished::NotBegun(Failure::cannot_start(&command[0], &problem));
        let child = child::start(launch).map_err(not_begun)?;
        crate::log::begin();
        let kill_after = self.policy.kill_after;
        supervise(&child, signals, self, kill_after)
            .map_err(|error| Unfinished::Broken(Failure::internal("watch the command", &error)))
    }

    /// Refuses to start a process if the names are lost: it would work beside the run that has the
    /// names, and be ended at once.
    fn refuse_if_lost(&self) -> Result<(), Unfinished> {
        let by = match self.grant.lost() {
            Some(Lost::Expired | Lost::Unreachable) if self.policy.on_unreachable == OnTrouble::Warn => None,
            Some(Lost::By(_) | Lost::WithTheStore | Lost::Ended)
                if self.policy.on_lost == OnTrouble::Warn =>
            {
                None
            }
            lost => lost,
        };
        let Some(by) = by else { return Ok(()) };
        let run = self.grant.run_id();
        let message = format!("{run} lost its names ({}) before its command was started", by.as_str());
        Err(Unfinished::NotBegun(Failure::new(exit::LOST, "lost", message)))
    }

    /// Returns the decision about the present deadline, if there is one.
    fn decision(&self) -> Option<Verdict> {
        self.decided.get().filter(|(about, _)| *about == self.deadline.get()).map(|(_, verdict)| verdict)
    }

    /// Returns whether the deadline was, or will be, the end of `--max-runtime`.
    fn ran_too_long(&self) -> bool {
        self.policy.last_end.is_some_and(|end| self.deadline.get() + STILL_THE_SAME >= end)
    }
}

impl Claims for Watched<'_> {
    fn update_deadline(&self) -> Option<Duration> {
        let (deadline, left) = deadline_of(self.grant);
        // The store does not know how long the command may run: the claims are renewed as long as a
        // process of it lives that cannot be ended.
        let deadline = self.policy.last_end.map_or(deadline, |end| deadline.min(end));
        if !left.is_zero() && deadline.abs_diff(self.deadline.get()) > STILL_THE_SAME {
            self.deadline.set(deadline);
        }
        // The deadline of the lease was let pass; the longest run time still counts.
        if let Some(end) =
            self.policy.last_end.filter(|_| self.decision() == Some(Verdict::Spare) && left.is_zero())
        {
            self.deadline.set(end.max(self.deadline.get()));
        }
        Some(self.deadline.get())
    }

    fn lost(&self) -> Option<BorrowedFd<'_>> {
        Some(self.lost.as_fd())
    }

    fn on_lost(&mut self) -> Verdict {
        match self.grant.lost() {
            Some(Lost::Expired | Lost::Unreachable) | None => self.on_deadline(),
            Some(by) => {
                let run = self.grant.run_id();
                let verdict = verdict(self.policy.on_lost);
                terminal::say(&format!("{run} lost its names ({}); {}", by.as_str(), what_follows(verdict)));
                verdict
            }
        }
    }

    fn on_deadline(&mut self) -> Verdict {
        // The expected end of a lease is not a second problem.
        if let Some(verdict) = self.decision() {
            return verdict;
        }
        let run = self.grant.run_id();
        let (reason, verdict) = if self.ran_too_long() {
            ("reached its --max-runtime".to_owned(), Verdict::Kill)
        } else {
            let trouble = self.grant.trouble().map_or_else(String::new, |trouble| format!(": {trouble}"));
            (format!("could not renew its lease in time{trouble}"), verdict(self.policy.on_unreachable))
        };
        terminal::say(&format!("{run} {reason}; {}", what_follows(verdict)));
        self.decided.set(Some((self.deadline.get(), verdict)));
        verdict
    }

    fn on_unstoppable(&mut self, left: &[Member]) {
        self.grant.insist();
        let what_of_its_names = match self.grant.lost() {
            Some(Lost::Expired | Lost::Unreachable) | None => {
                "its names are kept as long as the store allows"
            }
            Some(_) => "another run may have its names by now",
        };
        terminal::say(&format!(
            "{} could not be ended: {} may not be signalled by user {} and runs on; {what_of_its_names}. End it as that \
             user, and next time run flowlock as that user: `sudo flowlock run … -- COMMAND`",
            self.grant.run_id(),
            said_of(left),
            nix::unistd::getuid(),
        ));
    }

    fn on_store_gone(&mut self) {
        self.store.abandon();
        let run = self.grant.run_id();
        terminal::say(&format!(
            "{run}: the index of the store's journal was truncated while it was used; its lease cannot be renewed, nothing \
             more can be recorded"
        ));
    }

    fn on_killed(&mut self) {
        // A command that hangs must not keep its names for ever, even one that hangs in the kernel and
        // does not die.
        if self.ran_too_long() {
            self.grant.stop_renewing();
        }
    }
}

/// How many processes a message names.
const NAMED: usize = 5;

fn said_of(left: &[Member]) -> String {
    let mut said: Vec<_> = left.iter().take(NAMED).map(ToString::to_string).collect();
    if left.len() > NAMED {
        said.push(format!("{} more", left.len() - NAMED));
    }
    if said.is_empty() { "a process that cannot be seen from here".to_owned() } else { said.join(", ") }
}

fn verdict(on_trouble: OnTrouble) -> Verdict {
    match on_trouble {
        OnTrouble::Kill => Verdict::Kill,
        OnTrouble::Warn => Verdict::Spare,
    }
}

fn what_follows(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Kill => "ending the command",
        Verdict::Spare => "the command continues, as requested",
    }
}
