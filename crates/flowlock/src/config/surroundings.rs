//! What configuration is read from, and which variables have a meaning.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::spelling;
use super::{KEYS, Source, variable_of};
use crate::error::Error;
use crate::text::escape;

/// Variables that a command of a run finds in its environment, apart from settings; and the root of the
/// system. They are neither settings nor misspelt.
pub const OF_A_RUN: [&str; 11] = [
    "FLOWLOCK_RUN_ID",
    "FLOWLOCK_PARENT_PROOF",
    "FLOWLOCK_JOB",
    "FLOWLOCK_TOKEN",
    "FLOWLOCK_INPUTS",
    "FLOWLOCK_INPUTS_FILE",
    "FLOWLOCK_OUTPUTS",
    "FLOWLOCK_OUTPUTS_FILE",
    "FLOWLOCK_NOTE_FILE",
    "FLOWLOCK_DATE",
    SYSTEM_ROOT,
];
const SYSTEM_ROOT: &str = "FLOWLOCK_SYSTEM_ROOT";

/// What configuration is read from.
#[derive(Clone)]
pub struct Surroundings {
    /// Settings from flags, by their keys: they take precedence over everything else.
    pub flags: BTreeMap<&'static str, String>,
    /// Environment variables.
    pub environment: BTreeMap<String, OsString>,
    /// Where the search for `flowlock.toml` begins.
    pub directory: PathBuf,
    /// The user's home, if there is one: `$HOME`, else the home of the user's account, as for `~` in a
    /// shell. systemd starts root's services without `HOME`, and they share a store with root's other
    /// jobs.
    pub home: Option<PathBuf>,
    /// The user's id.
    pub uid: u32,
    /// The directory that contains `/etc` and `/var`: `/`, or `$FLOWLOCK_SYSTEM_ROOT`.
    pub root: PathBuf,
}

impl Surroundings {
    /// Reads those of this process.
    pub fn of_this_process() -> Self {
        let uid = nix::unistd::getuid();
        let of_account = || nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.dir);
        // If it cannot be told, reading fails for the same reason; see `project_file::whole`.
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self { directory, uid: uid.as_raw(), ..Self::of(std::env::vars_os(), of_account) }
    }

    /// Those with these variables, and with this home if they name none.
    fn of(
        variables: impl Iterator<Item = (OsString, OsString)>,
        home_of_account: impl FnOnce() -> Option<PathBuf>,
    ) -> Self {
        let environment: BTreeMap<String, OsString> = variables
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.starts_with("FLOWLOCK_") || name.starts_with("XDG_") || name == "HOME")
            .collect();
        let home = match environment.get("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Some(PathBuf::from(home)),
            None => home_of_account().filter(|home| !home.as_os_str().is_empty()),
        };
        let root = environment.get(SYSTEM_ROOT).map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Self { flags: BTreeMap::new(), environment, directory: PathBuf::new(), home, uid: 0, root }
    }

    /// Returns the directory in which this user's programs save what they remember:
    /// `$XDG_STATE_HOME/flowlock`, else `~/.local/state/flowlock`; `None` without a home.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a relative path, which would mean a different place in every
    /// directory.
    pub fn state_directory(&self) -> Result<Option<PathBuf>, Error> {
        Ok(self.below_home("XDG_STATE_HOME", ".local/state")?.map(|state| state.join("flowlock")))
    }

    /// Returns this user's configuration file; `None` without a home.
    pub(super) fn user_file(&self) -> Result<Option<PathBuf>, Error> {
        let directory = self.below_home("XDG_CONFIG_HOME", ".config")?;
        Ok(directory.map(|directory| directory.join("flowlock/config.toml")))
    }

    /// Returns the machine's configuration file.
    pub(super) fn system_file(&self) -> PathBuf {
        self.root.join("etc/flowlock/config.toml")
    }

    /// Returns the value of a setting's variable, with its name.
    pub(super) fn setting(&self, key: &str) -> Result<Option<(String, Source)>, Error> {
        let name = variable_of(key);
        let Some(value) = self.variable(&name) else { return Ok(None) };
        match value.to_str() {
            Some(text) => Ok(Some((text.to_owned(), Source::Variable(name)))),
            None => Err(Error::Configuration(format!("${name} is not UTF-8; write it as UTF-8 text"))),
        }
    }

    /// Refuses what would silently lead to another store: variables that are not read because they are
    /// misspelt, and a root that depends on the working directory.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.root.is_absolute() {
            return Err(relative(SYSTEM_ROOT, &self.root));
        }
        let known = |name: &str| {
            KEYS.iter().any(|key| variable_of(key) == name) || OF_A_RUN.contains(&name) || is_a_service(name)
        };
        let unknown = self
            .environment
            .iter()
            .find(|(name, value)| name.starts_with("FLOWLOCK_") && !value.is_empty() && !known(name));
        match unknown {
            Some((name, _)) => Err(unknown_variable(name)),
            None => Ok(()),
        }
    }

    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.get(name).filter(|value| !value.is_empty())
    }

    fn below_home(&self, variable: &str, otherwise: &str) -> Result<Option<PathBuf>, Error> {
        if let Some(path) = self.variable(variable).map(PathBuf::from) {
            return if path.is_absolute() { Ok(Some(path)) } else { Err(relative(variable, &path)) };
        }
        match &self.home {
            Some(home) if home.is_absolute() => Ok(Some(home.join(otherwise))),
            Some(home) => Err(relative("HOME", home)),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Surroundings {
    /// Without the values of variables and flags: a store's URL may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("flags", &self.flags.keys().collect::<Vec<_>>())
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("directory", &self.directory)
            .field("home", &self.home)
            .field("uid", &self.uid)
            .field("root", &self.root)
            .finish()
    }
}

/// Returns whether Kubernetes makes such a variable: it tells every pod about every service, and one may
/// be called flowlock.
fn is_a_service(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn relative(variable: &str, path: &Path) -> Error {
    Error::Configuration(format!(
        "{variable} is \"{}\", a relative path, which would mean a different place in every directory; make it absolute",
        escape(&path.display().to_string())
    ))
}

fn unknown_variable(name: &str) -> Error {
    let variables: Vec<String> = KEYS.iter().map(|key| variable_of(key)).collect();
    let candidates = variables.iter().map(String::as_str).chain(OF_A_RUN);
    let tip = match spelling::nearest(name, candidates) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the known ones are {}", variables.join(", ")),
    };
    Error::Configuration(format!(
        "${} is set, but flowlock has no such variable; {tip} (unset it, or give it a name that does not begin with FLOWLOCK_)",
        escape(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_environment_only_what_is_flowlocks_and_the_home_is_looked_at() {
        let all = |home: &str| {
            let given = [
                ("FLOWLOCK_STORE", "memory:"),
                ("XDG_STATE_HOME", "/state"),
                ("PATH", "/bin"),
                ("HOME", home),
                ("HOMEPAGE", "x"),
            ];
            given.map(|(name, value)| (OsString::from(name), OsString::from(value))).into_iter()
        };
        let of_account = |home: &'static str| move || Some(PathBuf::from(home));
        let mine = Surroundings::of(all("/home/ann"), of_account("/account"));
        let known: Vec<_> = mine.environment.keys().map(String::as_str).collect();
        assert_eq!(known, ["FLOWLOCK_STORE", "HOME", "XDG_STATE_HOME"]);
        assert_eq!((mine.home, mine.root), (Some("/home/ann".into()), "/".into()));
        assert_eq!(Surroundings::of(all(""), of_account("/account")).home, Some("/account".into()));
        assert_eq!(Surroundings::of(all(""), of_account("")).home, None);
        assert_eq!(Surroundings::of(all(""), || None).home, None);
    }
}
