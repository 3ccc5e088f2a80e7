//! Opening the store that flags, environment and files name.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flowlock::config::{Config, Surroundings};
use flowlock::store::redis::RedisStore;
use flowlock::store::without_password;
use flowlock::{Error, Flowlock, Origin};

use crate::args::Global;
use crate::args::values;
use crate::exit::{self, Failure, Place};
use crate::seen::Seen;
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
pub(crate) struct Door {
    /// The library's door.
    pub(crate) flowlock: Flowlock,
    /// What refusals say about it.
    pub(crate) place: Place,
    /// How far it had come before.
    pub(crate) seen: Seen,
    /// Set by signals: requests and commits do not wait for the store any longer.
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Settings {
    /// Reads the environment and the configuration files.
    pub(crate) fn read(global: &Global) -> Result<Self, Failure> {
        let mut surroundings = Surroundings::of_this_process();
        // Flags are nearer than everything else.
        for (variable, flag) in [("FLOWLOCK_STORE", &global.store), ("FLOWLOCK_NAMESPACE", &global.namespace)]
        {
            if let Some(value) = flag {
                surroundings.environment.insert(variable.to_owned(), value.clone());
            }
        }
        let config = Config::read(&surroundings)?;
        if !global.quiet {
            config.warnings.iter().for_each(|warning| terminal::say(warning));
            if global.store.as_deref().is_some_and(RedisStore::has_password_in) {
                terminal::say(PASSWORD_IN_ARGUMENT);
            }
        }
        Ok(Self { config, state: surroundings.state_directory() })
    }

    /// The configuration itself.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// A setting, if something sets it.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(|setting| setting.value.as_str())
    }

    /// A setting that is a duration, within the limits of `parse`.
    pub(crate) fn duration(
        &self,
        key: &str,
        parse: fn(&str) -> Result<Duration, String>,
    ) -> Result<Option<Duration>, Failure> {
        let Some(setting) = self.config.get(key) else {
            return Ok(None);
        };
        parse(&setting.value).map(Some).map_err(|problem| {
            let shown = terminal::shown(&setting.value);
            Error::Configuration(format!("{key} \"{shown}\" from {}: {problem}", setting.source)).into()
        })
    }

    /// The store's URL and the namespace, as far as they can be told without opening anything.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        let store = without_password(&self.config.store()?.value);
        Ok(Place { store, namespace: self.config.namespace()?.as_str().to_owned() })
    }

    /// Opens the store, which must not have gone back since an earlier command.
    pub(crate) fn open(&self) -> Result<Door, Failure> {
        let mut door = self.open_whatever_it_is()?;
        door.seen.tell(&door.flowlock);
        Ok(door)
    }

    /// Opens the store, however far back it is.
    pub(crate) fn open_whatever_it_is(&self) -> Result<Door, Failure> {
        let timeout = self.duration("store_timeout", values::runtime)?.unwrap_or(STORE_TIMEOUT);
        let commit_wait = self.duration("commit_wait", values::runtime)?.unwrap_or(COMMIT_WAIT);
        let interrupted = Arc::new(AtomicBool::default());
        let builder = Flowlock::builder().store_timeout(timeout).commit_wait(commit_wait);
        let mut builder = builder.interrupted_by(interrupted.clone());
        if let Some(ci) = build_link() {
            builder = builder.origin(Origin { ci: Some(ci), ..Origin::of_this_process() });
        }
        self.has_its_password()?;
        match self.config.open(builder) {
            Ok(flowlock) => {
                let namespace = flowlock.namespace().as_str().to_owned();
                let place = Place { store: flowlock.store().url(), namespace };
                let seen = Seen::of(self.state.as_deref(), &place);
                Ok(Door { flowlock, place, seen, interrupted })
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

impl Door {
    /// Opens the store that `global` and the surroundings name.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        Settings::read(global)?.open()
    }

    /// An error of the store, or about what is in it, with the place it happened at.
    pub(crate) fn failure(&self, error: Error) -> Failure {
        Failure::from(error).at(&self.place)
    }

    /// Says what the store has to tell by now.
    pub(crate) fn pass_notices_on(&self) {
        for notice in self.flowlock.store().notices() {
            terminal::say(&format!("{} ({})", terminal::shown(&notice), self.place));
        }
    }
}

impl Drop for Door {
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
