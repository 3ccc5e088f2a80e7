//! Opening the store that flags, environment and files name.

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

/// How long the store is asked before a command gives up, if nothing else is said.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a commit adds to the larger of deadline and store timeout, if nothing else is said: 60 s of asking at least.
const COMMIT_WAIT: Duration = Duration::from_secs(30);

/// How long the end of a command waits for its own thread to tidy up, which may be asking a store that is away.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Said by every command that is given one.
const PASSWORD_IN_ARGUMENT: &str = "the password in --store can be read by everybody who lists the processes of this machine; put it into a file and write ?password_file=PATH, or set FLOWLOCK_STORE";

/// The settings in force, before anything is opened.
#[derive(Debug)]
pub(crate) struct Settings {
    config: Config,
    /// Where this user's commands remember things.
    state: Option<PathBuf>,
}

/// An open store. When it is dropped, at the end of the command, it says what the store has to tell and remembers how
/// far the store has come.
#[derive(Debug)]
pub(crate) struct Context {
    /// The library's handle on the store.
    pub(crate) flowlock: Flowlock,
    /// What refusals say about it.
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
        // Said to the quiet too: with another setting than the one that was written, a job does something else.
        config.warnings.iter().for_each(|warning| terminal::say(warning));
        if !global.quiet && global.store.as_deref().is_some_and(has_password) {
            terminal::say(PASSWORD_IN_ARGUMENT);
        }
        Ok(Self { config, state: surroundings.state_directory()? })
    }

    /// The configuration itself.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The lease: as typed, else as set; none is the store's own.
    pub(crate) fn lease(&self, typed: Option<Duration>) -> Result<Option<Duration>, Failure> {
        match typed {
            Some(lease) => Ok(Some(lease)),
            None => Ok(self.config.duration("duration")?),
        }
    }

    /// How long the store is asked before a command gives up.
    pub(crate) fn store_timeout(&self) -> Result<Duration, Failure> {
        Ok(self.config.duration("store_timeout")?.unwrap_or(STORE_TIMEOUT))
    }

    /// The dates that names are filled in with: their zone as typed, else as set, else UTC.
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

    /// The store's URL and the namespace, as far as they can be told without opening anything.
    pub(crate) fn place(&self) -> Result<StoreAddress, Failure> {
        let store = without_password(&self.config.store()?.value);
        Ok(StoreAddress { store, namespace: self.config.namespace()?.as_str().to_owned() })
    }

    /// Opens the store; if it went back since an earlier command, that is said.
    pub(crate) fn open(&self) -> Result<Context, Failure> {
        self.open_interruptibly(Arc::default())
    }

    /// The same; once `interrupted` is set nothing waits for the store any longer.
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
        self.has_its_password()?;
        match self.config.open(builder) {
            Ok(flowlock) => {
                let namespace = flowlock.namespace().as_str().to_owned();
                let place = StoreAddress { store: without_password(&flowlock.store().url()), namespace };
                let state = self.state.as_deref().filter(|_| flowlock.store().reach() != Reach::Process);
                let seen = LastSeen::of(state, &place);
                Ok(Context { flowlock, place, seen })
            }
            Err(error) => Err(match self.place() {
                Ok(place) => Failure::from(error).at(&place),
                Err(_) => Failure::from(error),
            }),
        }
    }

    /// A command of a run sees the store's URL without its password, and may call flowlock in its turn.
    fn has_its_password(&self) -> Result<(), Failure> {
        if !self.config.store()?.value.contains(":***@") {
            return Ok(());
        }
        let message = "the store's URL has *** in place of its password: flowlock never hands a password to the commands it runs; for a flowlock among them put it into a file and write ?password_file=PATH in place of it";
        Err(Failure::new(exit::CONFIG, "configuration", message).at(&self.place()?))
    }
}

impl Context {
    /// Opens the store that `global` and the surroundings name.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        Settings::read(global)?.open()
    }

    /// An error of the store, or about what is in it, with the place it happened at.
    pub(crate) fn failure(&self, error: Error) -> Failure {
        let by_hand = match &error {
            Error::Lost { run, by: Lost::By(LostBy::Broken) } => self.by_hand(run),
            _ => None,
        };
        let mut failure = Failure::from(error).at(&self.place);
        failure.details.extend(by_hand);
        failure
    }

    /// The same for a step that changes something; with what to do, if nobody knows whether it did.
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

    /// Who unlocked a run, or ended it by hand, as far as the store remembers.
    pub(crate) fn by_hand(&self, run: &RunId) -> Option<String> {
        json::by_hand(&self.flowlock.run(run).ok()??.run)
    }

    /// Says what the store has to tell by now.
    pub(crate) fn pass_notices_on(&self) {
        for notice in self.flowlock.store().notices() {
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

/// The page of the build this runs in, if it says so in the usual way.
fn build_link() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("BUILD_URL").or_else(|| variable("CI_JOB_URL")).or_else(|| {
        let (server, repository, run) =
            (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?, variable("GITHUB_RUN_ID")?);
        Some(format!("{server}/{repository}/actions/runs/{run}"))
    })
}
