//! Configuration (feature `config`): the environment, `flowlock.toml` files, and the default place of
//! the embedded store. Nothing else in this crate reads them.
//!
//! The first of these that sets a value wins: flags, `FLOWLOCK_*` variables, `flowlock.toml` in the
//! current directory or the nearest one above it, `$XDG_CONFIG_HOME/flowlock/config.toml`,
//! `/etc/flowlock/config.toml`, the default.
//!
//! A project's `flowlock.toml` is not trusted by itself: it may set a namespace, a time zone, and a
//! `sqlite:` store below its own directory. All other settings need [`Trust`], or `trusted_projects` in
//! one of the other two files. If `/etc` sets the store or the namespace, no project can change it.
//!
//! A setting that is misspelt, has the wrong type, or can be changed by others is an error that names
//! file and line. If it were silently ignored, two jobs could use different stores and not exclude each
//! other.

mod duration;
mod file;
mod groups;
mod listed;
mod paths;
mod places;
mod private;
mod project;
mod project_file;
mod spelling;
mod surroundings;
mod table;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub use self::duration::{duration, duration_within};
pub use self::private::{make_private, open_private};
pub use self::surroundings::{OF_A_RUN, Surroundings};
pub use self::trust::{Trust, TrustState, Trusted};

use self::file::Links;
use self::paths::Base;
use self::project::Around;
use self::table::{Table, Whose};
use crate::error::Error;
use crate::flowlock::{Builder, Flowlock};
use crate::job::{KEEP_LAPSED, LEASES};
use crate::name::Namespace;
use crate::store::misplaced;
use crate::text::escape;

/// The settings, as they are spelled in files; the variable is `FLOWLOCK_` and the same in capitals.
pub const KEYS: [&str; 7] =
    ["store", "namespace", "duration", "keep_lapsed", "tz", "store_timeout", "commit_wait"];

/// The limits of how long a store may be asked, and of how long a commit may be repeated.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(366 * 24);

fn variable_of(key: &str) -> String {
    format!("FLOWLOCK_{}", key.to_uppercase())
}

fn is_duration(key: &str) -> bool {
    limits_of(key).is_some()
}

/// Returns the smallest and the largest value of a duration setting, also in words.
fn limits_of(key: &str) -> Option<(RangeInclusive<Duration>, &'static str)> {
    match key {
        "duration" => Some((LEASES, "1s to 7d")),
        "keep_lapsed" => Some((KEEP_LAPSED, "1s to 30d")),
        "store_timeout" | "commit_wait" => Some((TIMEOUTS, "1s to 366d")),
        _ => None,
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A flag.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "--{key}"),
            Self::Variable(name) => write!(f, "${name}"),
            Self::File { path, line } => write!(f, "{}:{line}", file::shown(path)),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting and where it comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// Its source.
    pub source: Source,
}

impl fmt::Debug for Setting {
    /// Without the value: a store's URL may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The settings in force.
///
/// ```
/// use flowlock::config::{Config, Surroundings};
///
/// let mut surroundings = Surroundings::of_this_process();
/// surroundings.environment = [("FLOWLOCK_STORE".into(), "memory:".into())].into();
/// let config = Config::read(&surroundings)?;
/// assert_eq!(config.get("store").unwrap().source.to_string(), "$FLOWLOCK_STORE");
/// let flowlock = config.open(flowlock::Flowlock::builder())?;
/// assert_eq!(flowlock.store().url(), "memory:");
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Config {
    settings: BTreeMap<&'static str, Setting>,
    /// What a project's file sets but does not take effect, and why: a sentence each, to be shown to the
    /// user who runs the job.
    pub warnings: Vec<String>,
    default_store: Option<Result<PathBuf, String>>,
}

impl Config {
    /// Reads the flags, the environment and all files.
    ///
    /// # Errors
    /// [`Error::Configuration`] for any setting that cannot be used as it was meant.
    pub fn read(surroundings: &Surroundings) -> Result<Self, Error> {
        surroundings.check()?;
        let given = given(surroundings)?;
        let system = own_file(surroundings, Some(surroundings.system_file()))?;
        let user = own_file(surroundings, surroundings.user_file()?)?;
        let trusted = [system.trusted_projects, user.trusted_projects].concat();
        let around = Around { given: &given, system: &system.settings, trusted: &trusted };
        let (project, warnings) = project::settings(surroundings, &around)?;
        let mut settings = system.settings;
        settings.extend(user.settings);
        settings.extend(project);
        settings.extend(given);
        for (key, setting) in &settings {
            check(key, setting)?;
        }
        let default_store = places::default_store(surroundings).map_err(|error| error.to_string());
        Ok(Self { settings, warnings, default_store: Some(default_store) })
    }

    /// Returns a setting, if it is set.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    /// Returns a duration setting, if it is set.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Error> {
        self.get(key).map(|setting| duration_of(key, setting)).transpose()
    }

    /// Returns the store's URL: as set, or the default place of the embedded store.
    pub fn store(&self) -> Result<Setting, Error> {
        if let Some(setting) = self.get("store") {
            return Ok(setting.clone());
        }
        match &self.default_store {
            Some(Ok(path)) => {
                Ok(Setting { value: format!("sqlite:{}", path.display()), source: Source::Default })
            }
            Some(Err(problem)) => Err(Error::Configuration(problem.clone())),
            None => Err(Error::Configuration("no store is set; use --store or FLOWLOCK_STORE".into())),
        }
    }

    /// Returns the namespace. A store's URL with a password is refused as a namespace, because everybody
    /// would see it.
    pub fn namespace(&self) -> Result<Namespace, Error> {
        let Some(Setting { value, source }) = self.get("namespace") else { return Ok(Namespace::default()) };
        let shown = misplaced(value);
        if shown != *value && !shown.starts_with('…') {
            let problem = format!(
                "the namespace from {source} is a store's URL, \"{}\"; that belongs into store",
                escape(&shown)
            );
            return Err(Error::Configuration(problem));
        }
        Ok(Namespace::parse_or_default(value)?)
    }

    /// Opens the store in force, with the lease and the time limits that are set. Creates the directory
    /// of the default store if it does not exist.
    pub fn open(&self, mut builder: Builder) -> Result<Flowlock, Error> {
        let store = self.store()?;
        if let (Source::Default, Some(Ok(path))) = (&store.source, &self.default_store) {
            places::make_private(crate::store::directory_of(path), nix::unistd::geteuid().as_raw())?;
        }
        if let Some(lease) = self.duration("duration")? {
            builder = builder.lease(lease);
        }
        if let Some(time) = self.duration("keep_lapsed")? {
            builder = builder.keep_lapsed(time);
        }
        if let Some(timeout) = self.duration("store_timeout")? {
            builder = builder.store_timeout(timeout);
        }
        if let Some(wait) = self.duration("commit_wait")? {
            builder = builder.commit_wait(wait);
        }
        builder.namespace(self.namespace()?).open(&store.value).map_err(|error| match (error, store.source) {
            // An error shows little of an invalid URL, so it must say where the URL is set.
            (Error::Configuration(problem), source @ (Source::Variable(_) | Source::File { .. })) => {
                Error::Configuration(format!("{source}: {problem}"))
            }
            (error, _) => error,
        })
    }
}

/// Returns what flags and variables set.
fn given(surroundings: &Surroundings) -> Result<BTreeMap<&'static str, Setting>, Error> {
    let mut given = BTreeMap::new();
    for key in KEYS {
        let (value, source) = match surroundings.flags.get(key) {
            Some(value) => (value.clone(), Source::Flag(key)),
            None => match surroundings.setting(key)? {
                Some(said) => said,
                None => continue,
            },
        };
        given.insert(key, Setting { value, source });
    }
    if let Some(store) = given.get_mut("store") {
        // A relative path in a flag is relative to the directory where it is typed. A variable has the
        // same value in every directory.
        let base = match store.source {
            Source::Flag(_) => Base::Directory(&surroundings.directory),
            _ => Base::Nothing,
        };
        store.value = paths::absolute(&store.value, base)
            .map_err(|problem| Error::Configuration(format!("{}: {problem}", store.source)))?;
    }
    Ok(given)
}

/// Returns the settings of the machine's or the user's file; none if there is no file.
fn own_file(surroundings: &Surroundings, path: Option<PathBuf>) -> Result<Table, Error> {
    let Some(path) = path else { return Ok(Table::default()) };
    let Some(found) = file::read(&path, surroundings.uid, Links::Followed)? else {
        return Ok(Table::default());
    };
    // One's own file in a sticky directory may have been moved there out of a clone.
    match found.weakness.as_ref().or(found.brought.as_ref()) {
        Some(weakness) => {
            Err(Error::Configuration(format!("{} is not used: {weakness}", file::shown(&path))))
        }
        None => Table::parse(&found, Whose::Own),
    }
}

fn check(key: &str, setting: &Setting) -> Result<(), Error> {
    if is_duration(key) {
        duration_of(key, setting)?;
    }
    if key == "namespace"
        && let Err(error) = Namespace::parse_or_default(&setting.value)
    {
        return Err(match setting.source {
            // The same error as for every name that is typed.
            Source::Flag(_) => error.into(),
            _ => Error::Configuration(format!("{}: {error}", setting.source)),
        });
    }
    Ok(())
}

fn duration_of(key: &str, Setting { value, source }: &Setting) -> Result<Duration, Error> {
    let (allowed, limits) = limits_of(key).unwrap_or((TIMEOUTS, "1s to 366d"));
    duration_within(value, &allowed, limits).map_err(|problem| {
        Error::Configuration(format!("{key} \"{}\" from {source}: {problem}", escape(&misplaced(value))))
    })
}
