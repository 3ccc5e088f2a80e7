//! Waits for names: until they are granted, the wait ends, or a signal ends it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flowlock::store::StoreErrorKind;
use flowlock::{
    Acquired, Begun, Blocked, Error, Grant, Job, JobName, Pending, Progress, RunId, shell_argument,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::alert::{self, SlowStore};
use crate::args::Global;
use crate::context::{Context, Settings};
use crate::exit::{self, Failure};
use crate::outlet;
use crate::parent;
use crate::progress::WaitProgress;
use crate::signals::Signals;
use crate::terminal::{self, Screen};

/// A request. Its run has an id beforehand, so that a caller without an answer can name the run.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The request.
    pub(crate) job: Job,
    /// Its name.
    pub(crate) name: JobName,
    /// Its run.
    pub(crate) id: RunId,
}

/// Opens the store. The signal handlers are installed first, so that a signal ends this too, however
/// long the store takes.
pub(crate) fn open(settings: &Arc<Settings>, global: &Global) -> Result<(Context, Signals), Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::internal("open the store", error);
    let interrupted = Arc::<AtomicBool>::default();
    outlet::hurry_when(&interrupted);
    let mut signals =
        Signals::install(&interrupted).map_err(|error| Failure::internal("handle signals", &error))?;
    let _slow = match (settings.place(), settings.store_timeout()) {
        (Ok(place), Ok(tried)) if !global.quiet => SlowStore::watch(&place.store, tried),
        _ => SlowStore::unwatched(),
    };
    let (opened, tell) = std::io::pipe().map_err(|error| cannot(&error))?;
    let theirs = settings.clone();
    let opening = move || {
        // Dropped at the end, also after a panic: then the other side becomes readable.
        let _tell = tell;
        theirs.open_interruptibly(interrupted)
    };
    let thread = std::thread::Builder::new().name("flowlock-opens".into()).spawn(opening);
    let thread = thread.map_err(|error| cannot(&error))?;
    loop {
        let mut ready =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(opened.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) if ready[1].any().unwrap_or(true) => {
                let context = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                return Ok((context.map_err(|failure| not_opened(failure, &mut signals))?, signals));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(cannot(&error)),
        }
        if let Some(signal) = signals.take().into_iter().find(|signal| Signals::ends_a_wait(*signal)) {
            let message = format!("not started after {signal}: interrupted while opening the store");
            return Err(Failure::new(code_of(signal), "cancelled", message).at(&settings.place()?));
        }
    }
}

/// Waits for the grant. A signal that asks to end leaves the queue at once.
pub(crate) fn acquire(
    wanted: &Wanted,
    context: &Context,
    signals: &mut Signals,
    global: &Global,
) -> Result<Grant, Failure> {
    let slow = slow_store(context, global);
    let begun = wanted.job.begin().map_err(|error| not_begun(error, &wanted.id, context, signals))?;
    drop(slow);
    match begun {
        Begun::Granted(grant) => Ok(grant),
        Begun::Waiting(pending) => {
            if let Some(doubt) = parent::doubt(context).filter(|_| !global.quiet) {
                terminal::say(&doubt);
            }
            let mut progress = WaitProgress::for_wait(global, Screen::detect());
            let granted = wait(pending, context, signals, &mut progress, global);
            progress.end();
            granted
        }
    }
}

fn slow_store(context: &Context, global: &Global) -> SlowStore {
    if global.quiet {
        return SlowStore::unwatched();
    }
    SlowStore::watch(&context.place.store, context.flowlock.store_timeout())
}

/// Asks once.
pub(crate) fn once(
    wanted: &Wanted,
    context: &Context,
    signals: &mut Signals,
    global: &Global,
) -> Result<Grant, Failure> {
    let _slow = slow_store(context, global);
    let until = Instant::now() + context.flowlock.store_timeout();
    loop {
        match wanted.job.try_acquire().map_err(|error| not_begun(error, &wanted.id, context, signals))? {
            Acquired::Granted(grant) => return Ok(grant),
            Acquired::Blocked(blocked) if blocked.by.is_empty() && blocked.retry_after_ms == Some(0) => {
                if let Some(signal) = signals.take().into_iter().find(|signal| Signals::ends_a_wait(*signal))
                {
                    let message = format!("not started after {signal}: the store does older work first");
                    return Err(Failure::new(code_of(signal), "cancelled", message).at(&context.place));
                }
                if Instant::now() >= until {
                    break;
                }
            }
            Acquired::Blocked(blocked) => {
                return Err(
                    hinted(Failure::blocked(&wanted.name, &blocked), &blocked, context).at(&context.place)
                );
            }
        }
    }
    Err(Failure::new(exit::BUSY, "busy", "not started: the store has too much older work to finish first")
        .at(&context.place))
}

/// If a signal came while the store was opened, it is the reason, although the store may have been the
/// first to report the interruption.
fn not_opened(failure: Failure, signals: &mut Signals) -> Failure {
    match signals.take_what_interrupted() {
        Some(signal) => Failure {
            code: code_of(signal),
            outcome: "cancelled",
            message: format!("not started after {signal}: {}", failure.message),
            ..failure
        },
        None => failure,
    }
}

/// If a signal came while the store was asked, it is the reason, whatever the store says.
pub(crate) fn not_begun(error: Error, run: &RunId, context: &Context, signals: &mut Signals) -> Failure {
    let is_unknown = matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Unknown);
    let mut failure = not_answered(error, context, signals);
    if is_unknown {
        failure.run = Some(Box::new(run.clone()));
        let by_id = shell_argument(&format!("run:{run}"));
        failure.details.push(format!(
            "run {run} may or may not hold its names: once the store answers, `flowlock why {by_id}` shows it, and `flowlock unlock {by_id}` frees them; otherwise they are free when its lease ends"
        ));
    }
    failure
}

fn not_answered(error: Error, context: &Context, signals: &mut Signals) -> Failure {
    match (signals.take_what_interrupted(), &error) {
        (Some(signal), Error::Store(_)) => {
            let message = format!("not started after {signal}: {error}");
            Failure::new(code_of(signal), "cancelled", message).at(&context.place)
        }
        _ => refused(error, context),
    }
}

/// Returns the code that a shell would report.
fn code_of(signal: Signal) -> u8 {
    128 + (signal as i32).to_le_bytes()[0]
}

fn refused(error: Error, context: &Context) -> Failure {
    let blocked = exit::blocked(&error).cloned();
    let failure = context.failure(error);
    match blocked {
        Some(blocked) => hinted(failure, &blocked, context),
        None => failure,
    }
}

/// Adds existing names that are spelt almost like the missing ones.
fn hinted(mut failure: Failure, blocked: &Blocked, context: &Context) -> Failure {
    let near = exit::unknown_inputs(blocked).filter_map(|name| crate::hint::near(&context.flowlock, name));
    failure.details.extend(near);
    failure
}

fn wait(
    mut pending: Pending,
    context: &Context,
    signals: &mut Signals,
    progress: &mut WaitProgress,
    global: &Global,
) -> Result<Grant, Failure> {
    let begun = Instant::now();
    let mut doubts_at = (!global.quiet).then(|| begun + alert::GRACE);
    interrupt_on_signals(&pending, signals)?;
    loop {
        let until_doubts = doubts_at.map(|at| at.saturating_duration_since(Instant::now()));
        match pending.wait(until_doubts.map_or(progress.pause(), |left| left.min(progress.pause()))) {
            Ok(Progress::Granted(grant)) => return Ok(grant),
            Ok(Progress::Waiting) => {}
            Err(error) => return Err(not_begun(error, &pending.run_id().clone(), context, signals)),
        }
        let arrived = signals.take();
        if let Some(signal) = arrived.iter().find(|signal| Signals::ends_a_wait(**signal)) {
            return Err(leave(pending, context, *signal));
        }
        if !arrived.is_empty() {
            interrupt_on_signals(&pending, signals)?;
        }
        context.pass_notices_on();
        if doubts_at.is_some_and(|at| at <= Instant::now()) {
            doubts_at = None;
            alert::say_of_inputs(&context.flowlock, pending.run_id(), &pending.blocked());
        }
        progress.tell(&pending, begun);
    }
}

fn leave(pending: Pending, context: &Context, signal: Signal) -> Failure {
    let (run, blocked) = (pending.run_id().clone(), pending.blocked());
    let message = match pending.cancel() {
        Ok(()) => format!("{run} left the queue after {signal}: {}", blocked.summary()),
        // Runs behind it pass a run that is silent.
        Err(error) => {
            format!("{run} stopped waiting after {signal}, but the store could not be told: {error}")
        }
    };
    Failure::new(code_of(signal), "cancelled", message).because(&blocked).at(&context.place)
}

/// Starts a thread that sleeps until a signal arrives, and then ends the wait.
fn interrupt_on_signals(pending: &Pending, signals: &Signals) -> Result<(), Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::internal("wait for signals", error);
    let arrived: OwnedFd = signals.as_fd().try_clone_to_owned().map_err(|error| cannot(&error))?;
    let interrupter = pending.interrupter();
    let watch = move || {
        let mut ready = [PollFd::new(arrived.as_fd(), PollFlags::POLLIN)];
        while poll(&mut ready, PollTimeout::NONE).is_err_and(|error| error == Errno::EINTR) {}
        interrupter.interrupt();
    };
    let spawned = std::thread::Builder::new().name("flowlock-signal".into()).spawn(watch);
    spawned.map(drop).map_err(|error| cannot(&error))
}
