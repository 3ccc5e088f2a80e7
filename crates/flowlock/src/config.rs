//! Configuration from the surroundings (feature `config`): the environment, `flowlock.toml` files, and the
//! default place of the embedded store. Nothing else in this crate looks at them.
//!
//! The nearest wins: `FLOWLOCK_*` variables, `flowlock.toml` in the current directory or one above it,
//! `$XDG_CONFIG_HOME/flowlock/config.toml`, `/etc/flowlock/config.toml`, the default.
//!
//! A file that belongs neither to the user nor to root is ignored with a warning. Where `/etc` sets the
//! store or the namespace, a project's `flowlock.toml` cannot change them, unless `/etc` also says
//! `allow_project_store = true`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::coordinator::{Builder, Flowlock};
use crate::error::Error;
use crate::name::Namespace;
use crate::text::escape;

/// The settings there are, as they stand in files; the variable is `FLOWLOCK_` and the same in capitals.
pub const KEYS: [&str; 6] = ["store", "namespace", "duration", "tz", "store_timeout", "commit_wait"];
const ALLOW_PROJECT_STORE: &str = "allow_project_store";

/// What configuration is read from.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Where the search for `flowlock.toml` begins.
    pub directory: PathBuf,
    /// The user's home, if there is one.
    pub home: Option<PathBuf>,
    /// The user's number.
    pub uid: u32,
    /// What `/etc` and `/var` lie below: `/`, or `$FLOWLOCK_SYSTEM_ROOT`.
    pub root: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| key.starts_with("FLOWLOCK_") || key.starts_with("XDG_") || key == "HOME")
            .collect();
        let uid = nix::unistd::getuid();
        let home = match environment.get("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Some(PathBuf::from(home)),
            None => nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.dir),
        };
        let root = environment.get("FLOWLOCK_SYSTEM_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let directory = std::env::current_dir().unwrap_or_default();
        Self { environment, directory, home, uid: uid.as_raw(), root }
    }

    /// Where this user's programs keep what they remember: `$XDG_STATE_HOME/flowlock`, else
    /// `~/.local/state/flowlock`; none without a home.
    pub fn state_directory(&self) -> Option<PathBuf> {
        Some(self.below_home("XDG_STATE_HOME", ".local/state")?.join("flowlock"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn below_home(&self, variable: &str, otherwise: &str) -> Option<PathBuf> {
        match self.variable(variable) {
            Some(path) if Path::new(path).is_absolute() => Some(PathBuf::from(path)),
            _ => Some(self.home.as_ref()?.join(otherwise)),
        }
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// An environment variable.
    Variable(String),
    /// A file.
    File(PathBuf),
    /// Nothing said otherwise.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${name}"),
            Self::File(path) => f.write_str(&escape(&path.display().to_string())),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// Its source.
    pub source: Source,
}

/// The settings in force.
///
/// ```
/// use flowlock::config::{Config, Surroundings};
///
/// let mut surroundings = Surroundings::of_this_process();
/// surroundings.environment.insert("FLOWLOCK_STORE".into(), "memory:".into());
/// let config = Config::read(&surroundings)?;
/// assert_eq!(config.get("store").unwrap().source.to_string(), "$FLOWLOCK_STORE");
/// let flowlock = config.open(flowlock::Flowlock::builder())?;
/// assert_eq!(flowlock.store().url(), "memory:");
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Config {
    settings: BTreeMap<&'static str, Setting>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
    default_store: Option<Result<PathBuf, String>>,
}

impl Config {
    /// Reads the environment and all files.
    pub fn read(surroundings: &Surroundings) -> Result<Self, Error> {
        let mut config = Self::default();
        let system = surroundings.root.join("etc/flowlock/config.toml");
        let allowed = config.take_file(surroundings, &system, &KEYS)?;
        if let Some(directory) = surroundings.below_home("XDG_CONFIG_HOME", ".config") {
            config.take_file(surroundings, &directory.join("flowlock/config.toml"), &KEYS)?;
        }
        if let Some(project) = find_upwards(&surroundings.directory) {
            let keys = config.keys_for_projects(&system, allowed);
            config.take_file(surroundings, &project, &keys)?;
        }
        for key in KEYS {
            let name = format!("FLOWLOCK_{}", key.to_uppercase());
            if let Some(value) = surroundings.variable(&name) {
                config
                    .settings
                    .insert(key, Setting { value: value.to_owned(), source: Source::Variable(name) });
            }
        }
        config.default_store = Some(default_store(surroundings));
        Ok(config)
    }

    /// A setting, if something sets it.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    /// The store's URL: as set, or the default place of the embedded store.
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

    /// The namespace.
    pub fn namespace(&self) -> Result<Namespace, Error> {
        Ok(self
            .get("namespace")
            .map_or_else(|| Ok(Namespace::default()), |s| Namespace::parse_or_default(&s.value))?)
    }

    /// Opens the store in force; makes the directory of the default store if it is not there yet.
    pub fn open(&self, builder: Builder) -> Result<Flowlock, Error> {
        let store = self.store()?;
        if let (Source::Default, Some(Ok(path))) = (&store.source, &self.default_store) {
            make_private(crate::store::directory_of(path))?;
        }
        builder.namespace(self.namespace()?).open(&store.value)
    }

    /// Which settings a project's file may change.
    fn keys_for_projects(&mut self, system: &Path, allowed: bool) -> Vec<&'static str> {
        let fixed = |key: &str| {
            matches!(key, "store" | "namespace")
                && !allowed
                && self
                    .settings
                    .get(key)
                    .is_some_and(|setting| setting.source == Source::File(system.to_owned()))
        };
        KEYS.into_iter().filter(|key| !fixed(key)).collect()
    }

    /// Takes the settings of one file, if it is there; answers whether it lets projects choose the store.
    fn take_file(
        &mut self,
        surroundings: &Surroundings,
        path: &Path,
        keys: &[&'static str],
    ) -> Result<bool, Error> {
        let shown = escape(&path.display().to_string());
        let meta = match fs::metadata(path) {
            Ok(meta) if meta.is_file() => meta,
            _ => return Ok(false),
        };
        if meta.uid() != surroundings.uid && meta.uid() != 0 {
            self.warnings
                .push(format!("{shown} is ignored: it belongs to user {}, neither you nor root", meta.uid()));
            return Ok(false);
        }
        let text = fs::read_to_string(path)
            .map_err(|error| Error::Configuration(format!("cannot read {shown}: {error}")))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::Configuration(format!("{shown} is not valid TOML: {}", error.message()))
        })?;
        for (key, value) in &table {
            self.take(&shown, path, key, value, keys)?;
        }
        Ok(table.get(ALLOW_PROJECT_STORE).and_then(toml::Value::as_bool).unwrap_or(false))
    }

    fn take(
        &mut self,
        shown: &str,
        path: &Path,
        key: &str,
        value: &toml::Value,
        keys: &[&'static str],
    ) -> Result<(), Error> {
        let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
            if key != ALLOW_PROJECT_STORE {
                self.warnings.push(format!(
                    "{shown}: there is no setting \"{}\"; there are {}",
                    escape(key),
                    KEYS.join(", ")
                ));
            }
            return Ok(());
        };
        if !keys.contains(&known) {
            self.warnings
                .push(format!("{shown}: {known} is ignored, because the system's configuration fixes it"));
            return Ok(());
        }
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            _ => return Err(Error::Configuration(format!("{shown}: {known} must be a text"))),
        };
        self.settings.insert(known, Setting { value, source: Source::File(path.to_owned()) });
        Ok(())
    }
}

fn find_upwards(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|directory| directory.join("flowlock.toml")).find(|file| file.is_file())
}

/// Where the embedded store lies if nothing else is said: shared by all users if the machine has been
/// prepared for that, else the user's own. Never one in place of the other.
fn default_store(surroundings: &Surroundings) -> Result<PathBuf, String> {
    let shared = surroundings.root.join("var/lib/flowlock");
    if shared.is_dir() {
        let access = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
        return match nix::unistd::access(&shared, access) {
            Ok(()) => Ok(shared.join("flowlock.db")),
            Err(error) => Err(format!(
                "the shared store's directory {} cannot be written by user {}: {}; join its group, or name another store with --store",
                escape(&shared.display().to_string()),
                surroundings.uid,
                error.desc()
            )),
        };
    }
    match surroundings.state_directory() {
        Some(state) => Ok(state.join("flowlock.db")),
        None => Err(format!(
            "user {} has no home directory for the store; set HOME or XDG_STATE_HOME, or name a store with --store",
            surroundings.uid
        )),
    }
}

fn make_private(directory: &Path) -> Result<(), Error> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        let shown = escape(&directory.display().to_string());
        Error::Configuration(format!(
            "cannot make the store's directory {shown}: {error}; name a store with --store"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct House {
        root: tempfile::TempDir,
        surroundings: Surroundings,
    }

    impl House {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            fs::create_dir_all(at("home/project/deep")).unwrap();
            let surroundings = Surroundings {
                environment: BTreeMap::new(),
                directory: at("home/project/deep"),
                home: Some(at("home")),
                uid: nix::unistd::getuid().as_raw(),
                root: root.path().to_owned(),
            };
            Self { root, surroundings }
        }

        fn file(self, path: &str, text: &str) -> Self {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn read(&self) -> Config {
            Config::read(&self.surroundings).unwrap()
        }

        fn store(&self) -> String {
            self.read().store().unwrap().value
        }
    }

    #[test]
    fn the_nearest_source_wins() {
        let mut house = House::new().file("etc/flowlock/config.toml", "tz = 'a'");
        assert_eq!(house.read().get("tz").unwrap().value, "a");
        house = house.file("home/.config/flowlock/config.toml", "tz = 'b'");
        assert_eq!(house.read().get("tz").unwrap().value, "b");
        house = house.file("home/project/flowlock.toml", "tz = 'c'");
        assert_eq!(house.read().get("tz").unwrap().value, "c");
        house.surroundings.environment.insert("FLOWLOCK_TZ".into(), "d".into());
        assert_eq!(house.read().get("tz").unwrap().source, Source::Variable("FLOWLOCK_TZ".into()));
    }

    #[test]
    fn a_project_cannot_move_the_store_that_the_system_fixes() {
        let project = ("home/project/flowlock.toml", "store = 'sqlite:/elsewhere'");
        let house = House::new().file(project.0, project.1);
        assert_eq!(house.store(), "sqlite:/elsewhere");
        let house = house.file("etc/flowlock/config.toml", "store = 'sqlite:/fixed'");
        assert_eq!(house.store(), "sqlite:/fixed");
        assert!(house.read().warnings[0].contains("store is ignored"));
        let house =
            house.file("etc/flowlock/config.toml", "store = 'sqlite:/fixed'\nallow_project_store = true");
        assert_eq!(house.store(), "sqlite:/elsewhere");
    }

    #[test]
    fn a_strangers_file_is_ignored_with_a_word() {
        let mut house = House::new().file("home/project/flowlock.toml", "namespace = 'trap'");
        if nix::unistd::getuid().is_root() {
            let file = house.root.path().join("home/project/flowlock.toml");
            std::os::unix::fs::chown(file, Some(12_345), None).unwrap();
        } else {
            house.surroundings.uid += 1;
        }
        let config = house.read();
        assert_eq!(config.get("namespace"), None);
        assert!(config.warnings[0].contains("neither you nor root"), "{:?}", config.warnings);
    }

    #[test]
    fn the_default_store_is_the_prepared_shared_one_or_the_users_own() {
        let house = House::new();
        let root = house.root.path().display().to_string();
        assert_eq!(house.store(), format!("sqlite:{root}/home/.local/state/flowlock/flowlock.db"));
        fs::create_dir_all(house.root.path().join("var/lib/flowlock")).unwrap();
        assert_eq!(house.store(), format!("sqlite:{root}/var/lib/flowlock/flowlock.db"));
    }

    #[test]
    fn without_a_home_there_is_no_store_and_no_guess() {
        let mut house = House::new();
        house.surroundings.home = None;
        let said = house.read().store().unwrap_err().to_string();
        assert!(said.contains("has no home directory for the store"), "{said}");
    }

    #[test]
    fn broken_files_and_unknown_settings_are_named() {
        let house = House::new().file("home/project/flowlock.toml", "stor = 'x'");
        assert!(
            house.read().warnings[0].contains("there is no setting \"stor\"; there are store, namespace")
        );
        let house = house.file("home/project/flowlock.toml", "store = [");
        let said = Config::read(&house.surroundings).unwrap_err().to_string();
        assert!(said.contains("flowlock.toml is not valid TOML"), "{said}");
    }
}
