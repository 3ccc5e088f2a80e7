//! Opens the store that flags, environment and files name.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flowlock::config::{Config, Surroundings};
use flowlock::store::{Reach, StoreErrorKind, has_password, without_password};
use flowlock::{Error, Flowlock, Lost, LostBy, Origin, RunId};

use crate::args::{DateFlags, Global};
use crate::dates::{self, BadDate, Dates};
use crate::exit::{self, Failure, StoreAddress};
use crate::json;
use crate::last_seen::LastSeen;
use crate::terminal;

/// How long a store that does not answer is asked before a command gives up, by default.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a commit adds to the larger of deadline and store timeout, by default: it asks for at least 60
/// s.
const COMMIT_WAIT: Duration = Duration::from_secs(30);

/// How long the end of a command waits for its own thread to clean up, which may be asking an
/// unreachable store.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Printed by every command that gets one.
const PASSWORD_IN_ARGUMENT: &str = "the password in --store is visible to everybody who lists the processes of this machine; put it into a file and write ?password_file=PATH, or set FLOWLOCK_STORE";

/// The settings in force, before anything is opened.
#[derive(Debug)]
pub(crate) struct Settings {
    config: Config,
    /// The directory in which this user's commands remember things.
    state: Option<PathBuf>,
}

/// An open store. When it is dropped, at the end of the command, it prints the store's notices and
/// remembers how far the store has come.
#[derive(Debug)]
pub(crate) struct Context {
    /// The library's handle on the store.
    pub(crate) flowlock: Flowlock,
    /// What error messages say about it.
    pub(crate) place: StoreAddress,
    /// How far it had come before.
    pub(crate) seen: LastSeen,
}

impl Settings {
    /// Reads the environment and the configuration files.
    pub(crate) fn read(global: &Global) -> Result<Self, Failure> {
        let mut surroundings = Surroundings::of_this_process();
        for (key, flag) in [("store", &global.store), ("namespace", &global.namespace)] {
            if let Some(value) = flag {
                surroundings.flags.insert(key, value.clone());
            }
        }
        let config = Config::read(&surroundings)?;
        // Printed even with `--quiet`: without the setting that was written, a job does something else.
        config.warnings.iter().for_each(|warning| terminal::say(warning));
        if !global.quiet && global.store.as_deref().is_some_and(has_password) {
            terminal::say(PASSWORD_IN_ARGUMENT);
        }
        Ok(Self { config, state: surroundings.state_directory()? })
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the lease: the one in the flag, else the one in the settings, else `None` for the store's
    /// own.
    pub(crate) fn lease(&self, typed: Option<Duration>) -> Result<Option<Duration>, Failure> {
        match typed {
            Some(lease) => Ok(Some(lease)),
            None => Ok(self.config.duration("duration")?),
        }
    }

    /// Returns how long a store that does not answer is asked before a command gives up.
    pub(crate) fn store_timeout(&self) -> Result<Duration, Failure> {
        Ok(self.config.duration("store_timeout")?.unwrap_or(STORE_TIMEOUT))
    }

    /// Returns the dates to fill into names; their zone is the one in the flag, else in the settings,
    /// else UTC.
    pub(crate) fn dates(&self, typed: &DateFlags) -> Result<Dates, Failure> {
        let (now, date) = (jiff::Timestamp::now(), typed.date.as_deref());
        if let (None, Some(set)) = (&typed.tz, self.config.get("tz")) {
            dates::time_zone(&set.value).map_err(|BadDate(problem)| {
                Failure::from(Error::Configuration(format!("tz from {}: {problem}", set.source)))
            })?;
        }
        let set = self.config.get("tz").map(|setting| setting.value.as_str());
        Ok(Dates::new(now, date, typed.tz.as_deref().or(set))?)
    }

    /// Returns the store's URL and the namespace, as far as they are known without opening anything.
    pub(crate) fn place(&self) -> Result<StoreAddress, Failure> {
        let store = without_password(&self.config.store()?.value);
        Ok(StoreAddress { store, namespace: self.config.namespace()?.as_str().to_owned() })
    }

    /// Takes the store's file as it is, if its journal does not belong to it; returns whether the journal was
    /// removed for that.
    pub(crate) fn accept_restore(&self) -> Result<bool, Failure> {
        let (url, timeout) = (self.config.store()?.value, self.store_timeout()?);
        flowlock::store::accept_restore(&url, timeout).map_err(|error| self.failure(error))
    }

    /// Opens the store; prints a message if it went back since an earlier command.
    pub(crate) fn open(&self) -> Result<Context, Failure> {
        self.open_interruptibly(Arc::default())
    }

    /// Opens the store; once `interrupted` is set, no call waits for the store any longer.
    pub(crate) fn open_interruptibly(&self, interrupted: Arc<AtomicBool>) -> Result<Context, Failure> {
        let context = self.open_at(interrupted)?;
        context.seen.tell(&context.flowlock);
        Ok(context)
    }

    fn open_at(&self, interrupted: Arc<AtomicBool>) -> Result<Context, Failure> {
        let builder = Flowlock::builder().store_timeout(STORE_TIMEOUT).commit_wait(COMMIT_WAIT);
        let mut builder = builder.interrupted_by(interrupted);
        if let Some(ci) = build_link() {
            builder = builder.origin(Origin { ci: Some(ci), ..Origin::of_this_process() });
        }
        self.refuse_removed_password()?;
        match self.config.open(builder) {
            Ok(flowlock) => {
                let namespace = flowlock.namespace().as_str().to_owned();
                let place = StoreAddress { store: without_password(&flowlock.store().url()), namespace };
                let state = self.state.as_deref().filter(|_| flowlock.store().reach() != Reach::Process);
                let seen = LastSeen::of(state, &place);
                Ok(Context { flowlock, place, seen })
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Returns an error before the store is open, with the store's address if that is known.
    fn failure(&self, error: Error) -> Failure {
        match self.place() {
            Ok(place) => Failure::from(error).at(&place),
            Err(_) => Failure::from(error),
        }
    }

    /// Refuses a store's URL whose password was removed: a command of a run sees the URL that way, and
    /// may call flowlock.
    fn refuse_removed_password(&self) -> Result<(), Failure> {
        if !self.config.store()?.value.contains(":***@") {
            return Ok(());
        }
        let message = "the store's URL has *** in place of its password: flowlock does not pass a password to the commands that it runs; if a command is a flowlock as well, put the password into a file and write ?password_file=PATH in its place";
        Err(Failure::new(exit::CONFIG, "configuration", message).at(&self.place()?))
    }
}

impl Context {
    /// Opens the store that `global` and the environment name.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        Settings::read(global)?.open()
    }

    /// Turns an error of the store into a failure that names the store.
    pub(crate) fn failure(&self, error: Error) -> Failure {
        let by_hand = match &error {
            Error::Lost { run, by: Lost::By(LostBy::Broken) } => self.by_hand(run),
            _ => None,
        };
        let mut failure = Failure::from(error).at(&self.place);
        failure.details.extend(by_hand);
        failure
    }

    /// The same for a step that changes something, with advice if its outcome is unknown.
    pub(crate) fn unknown(&self, error: Error, advice: &str) -> Failure {
        let is_unknown = match &error {
            Error::Unknown { .. } => true,
            Error::Store(error) => error.kind() == StoreErrorKind::Unknown,
            _ => false,
        };
        if !is_unknown {
            return self.failure(error);
        }
        let mut failure = Failure::from(error);
        failure.message = format!("{}; {advice}", failure.message);
        failure.at(&self.place)
    }

    /// Returns who unlocked a run, or ended it by hand, as far as the store remembers.
    pub(crate) fn by_hand(&self, run: &RunId) -> Option<String> {
        json::by_hand(&self.flowlock.run(run).ok()??.run)
    }

    /// Prints the store's notices.
    pub(crate) fn pass_notices_on(&self) {
        for notice in self.flowlock.store().take_notices() {
            terminal::say(&format!("{} ({})", terminal::shown(&notice), self.place));
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.flowlock.stop_listening(LAST_MOMENT);
        self.pass_notices_on();
        self.seen.keep(&self.flowlock);
    }
}

/// Returns the page of the build in which this runs, if the usual variables name it.
fn build_link() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("BUILD_URL").or_else(|| variable("CI_JOB_URL")).or_else(|| {
        let (server, repository, run) =
            (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?, variable("GITHUB_RUN_ID")?);
        Some(format!("{server}/{repository}/actions/runs/{run}"))
    })
}
