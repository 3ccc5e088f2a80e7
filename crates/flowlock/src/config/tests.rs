//! Homes, projects and machines made of files, and the configuration that results.

mod fuzz;
mod layers;
mod listed;
mod others;
mod projects;
#[cfg(feature = "redis")]
mod secrets;
mod trusted;
mod wrong;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;

const SYSTEM: &str = "etc/flowlock/config.toml";
const USER: &str = "home/.config/flowlock/config.toml";
const PROJECT: &str = "home/project/flowlock.toml";
/// What a project's file may only set if it is trusted.
const SERVER: &str = "store = 'redis://there.example?password_file=/home/you/.ssh/id_ed25519'\n";

/// A machine with one user, whose jobs run in a directory of a project.
struct House {
    root: tempfile::TempDir,
    surroundings: Surroundings,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().canonicalize().unwrap();
        fs::create_dir_all(at.join("home/project/deep")).unwrap();
        let surroundings = Surroundings {
            flags: BTreeMap::new(),
            environment: BTreeMap::new(),
            directory: at.join("home/project/deep"),
            home: Some(at.join("home")),
            uid: nix::unistd::getuid().as_raw(),
            root: at,
        };
        Self { root, surroundings }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.surroundings.root.join(path)
    }

    /// Writes a file that only its user may write, whatever the umask of the tests.
    fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mut at = path.as_path();
        while at.starts_with(self.root.path()) {
            let mode = if at.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
            at = at.parent().unwrap();
        }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.surroundings.environment.insert(name.into(), value.into());
        self
    }

    fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.surroundings.flags.insert(key, value.into());
        self
    }

    fn trust(&self) -> Trust {
        Trust::of(&self.surroundings).unwrap().unwrap()
    }

    #[track_caller]
    fn read(&self) -> Config {
        Config::read(&self.surroundings).unwrap()
    }

    /// Returns the error of a reading that must fail, with the machine's root as `/`.
    #[track_caller]
    fn refusal(&self) -> String {
        let error = Config::read(&self.surroundings).unwrap_err();
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
        self.plain(&error.to_string())
    }

    fn plain(&self, text: &str) -> String {
        text.replace(self.surroundings.root.to_str().unwrap(), "")
    }

    #[track_caller]
    fn store(&self) -> String {
        self.plain(&self.read().store().unwrap().value)
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file to another user; returns whether that was possible.
fn give_away(path: &Path) -> bool {
    let can = nix::unistd::getuid().is_root();
    if can {
        std::os::unix::fs::lchown(path, Some(12_345), None).unwrap();
    } else {
        eprintln!("not root, so no file can be given to another user: this part is skipped");
    }
    can
}
