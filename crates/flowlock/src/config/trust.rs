//! Which projects' files a user trusts: each by its path and its content, so that a changed file is not
//! trusted any more.
//!
//! There is a small file for each, as direnv keeps them, in the user's state directory: its name is the
//! digest of path and content, its content the path.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::libc;
use sha2::{Digest as _, Sha256};

use super::Setting;
use super::file::{self, Found, Links};
use super::private::{make_private, open_private};
use super::project_file;
use super::surroundings::Surroundings;
use super::table::{Table, Whose};
use crate::error::Error;
use crate::store::path_walk;

/// The number of digits of a digest.
const DIGITS: usize = 64;

/// What a user trusts.
#[derive(Debug)]
pub struct Trust {
    directory: PathBuf,
    uid: u32,
}

/// A project's file that was trusted once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Returns the path of the file.
    pub path: PathBuf,
    /// What became of it.
    pub state: TrustState,
}

/// What became of a file since it was trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustState {
    /// It is unchanged, and its settings take effect.
    Unchanged,
    /// It has another content, which is not trusted.
    Changed,
    /// It does not exist, or cannot be read.
    Gone,
}

impl Trust {
    /// Returns where this user's trust is saved; `None` without a home.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a home that is a relative path.
    pub fn of(surroundings: &Surroundings) -> Result<Option<Self>, Error> {
        let state = surroundings.state_directory()?;
        Ok(state.map(|state| Self { directory: state.join("trusted"), uid: surroundings.uid }))
    }

    /// Returns the project's file that applies in a directory: the nearest, there or above it.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it cannot be determined.
    pub fn nearest(directory: &Path) -> Result<Option<PathBuf>, Error> {
        project_file::find(directory)
    }

    /// Returns the project's file that a path means, following links: the file itself, or the one in a
    /// directory.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it is another file, or if somebody else made a link on the way, or may
    /// have moved one there: that user would have chosen the file.
    pub fn file(&self, path: &Path) -> Result<PathBuf, Error> {
        let named = if path.is_dir() { path.join(project_file::NAME) } else { path.to_owned() };
        if named.file_name() != Some(OsStr::new(project_file::NAME)) {
            let (shown, name) = (file::shown(&named), project_file::NAME);
            return Err(Error::Configuration(format!(
                "{shown} is not called {name}, so it is not a project's file"
            )));
        }
        let mut weak = None;
        let directory = path_walk::see(crate::store::directory_of(&named), &mut |step| {
            weak = weak.take().or_else(|| file::weak_link(step, self.uid));
        });
        match (directory.map(|way| way.path().join(project_file::NAME)), weak) {
            (Ok(real), None) => Ok(real),
            (Ok(real), Some(why)) => Err(Error::Configuration(format!(
                "{} leads to {}, but {why}; if that file is what you mean, name it by that path",
                file::shown(path),
                file::shown(&real)
            ))),
            // A deleted project can still be forgotten.
            (Err(error), _) if file::is_absence(&error) => Ok(named),
            (Err(error), _) => {
                Err(Error::Configuration(format!("{} cannot be examined: {error}", file::shown(path))))
            }
        }
    }

    /// Trusts a file as it is now, and returns what it sets.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a file that could not be used anyway, or if the trust cannot be
    /// saved.
    pub fn add(&self, path: &Path) -> Result<Vec<(&'static str, Setting)>, Error> {
        let path = self.file(path)?;
        let Some(found) = file::read(&path, self.uid, Links::Refused)? else {
            return Err(Error::Configuration(format!("there is no file {}", file::shown(&path))));
        };
        if found.path.to_string_lossy().contains(char::is_control) {
            return Err(Error::Configuration(format!(
                "{} has control characters in its path, so it is not trusted; rename its directory",
                file::shown(&found.path)
            )));
        }
        let table = Table::parse(&found, Whose::Project)?;
        project_file::judge(&found, &table, "store")?;
        self.forget(&found.path)?;
        self.keep(&found).map_err(|error| {
            let shown = file::shown(&self.directory);
            Error::Configuration(format!("cannot save that in {shown}: {error}"))
        })?;
        Ok(table.settings.into_iter().collect())
    }

    /// Stops trusting a file, whatever its content; returns whether it was trusted.
    ///
    /// # Errors
    /// [`Error::Configuration`] if that cannot be written.
    pub fn remove(&self, path: &Path) -> Result<bool, Error> {
        self.forget(&self.file(path)?)
    }

    /// Returns every file that was trusted, by its path.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the saved trust cannot be read.
    pub fn list(&self) -> Result<Vec<Trusted>, Error> {
        let mut all = Vec::new();
        for (entry, path) in self.entries()? {
            let state = match file::read(&path, self.uid, Links::Refused) {
                Ok(Some(found)) if entry.file_name() == Some(OsStr::new(&digest(&found))) => {
                    TrustState::Unchanged
                }
                Ok(Some(_)) => TrustState::Changed,
                Ok(None) | Err(_) => TrustState::Gone,
            };
            all.push(Trusted { path, state });
        }
        all.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(all)
    }

    /// Returns whether a file is trusted with the content that was read.
    pub(super) fn knows(&self, found: &Found) -> Result<bool, Error> {
        let entry = self.directory.join(digest(found));
        match file::read(&entry, self.uid, Links::Refused)? {
            Some(kept) => match kept.weakness.or(kept.brought) {
                None => Ok(true),
                Some(weakness) => {
                    let shown = file::shown(&entry);
                    Err(Error::Configuration(format!("{shown} is not accepted as trust: {weakness}")))
                }
            },
            None => Ok(false),
        }
    }

    fn keep(&self, found: &Found) -> io::Result<()> {
        make_private(&self.directory, self.uid)?;
        let entry = self.directory.join(digest(found));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(entry)?;
        file.write_all(found.path.as_os_str().as_bytes())
    }

    fn forget(&self, path: &Path) -> Result<bool, Error> {
        let mut was_there = false;
        for (entry, of) in self.entries()? {
            if of == path {
                fs::remove_file(&entry).map_err(|error| self.cannot_read(&error))?;
                was_there = true;
            }
        }
        Ok(was_there)
    }

    /// Returns the saved entries: each file, and the path it is about. Leaves other files alone.
    fn entries(&self) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
        let opened = open_private(&self.directory, self.uid);
        let listed = match opened.and_then(|_| fs::read_dir(&self.directory)) {
            Ok(listed) => listed,
            Err(error) if file::is_absence(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.cannot_read(&error)),
        };
        let mut entries = Vec::new();
        for entry in listed {
            let entry = entry.map_err(|error| self.cannot_read(&error))?;
            let is_file = entry.file_type().map_err(|error| self.cannot_read(&error))?.is_file();
            if !is_file || !is_a_digest(&entry.file_name()) {
                continue;
            }
            if let Some(about) = about(&entry.path()).map_err(|error| self.cannot_read(&error))? {
                entries.push((entry.path(), about));
            }
        }
        Ok(entries)
    }

    fn cannot_read(&self, error: &io::Error) -> Error {
        Error::Configuration(format!("{} cannot be used: {error}", file::shown(&self.directory)))
    }
}

/// Returns the path in an entry; `None` if it is longer than a path, or gone by now.
fn about(entry: &Path) -> io::Result<Option<PathBuf>> {
    let flags = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK);
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(entry) {
        Ok(file) => file,
        Err(error) if file::is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut about = Vec::new();
    file.take(libc::PATH_MAX as u64).read_to_end(&mut about)?;
    let is_whole = about.len() < libc::PATH_MAX as usize;
    Ok(is_whole.then(|| PathBuf::from(OsStr::from_bytes(&about))))
}

fn is_a_digest(name: &OsStr) -> bool {
    let digits = name.as_bytes();
    digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn digest(found: &Found) -> String {
    let mut digest = Sha256::new();
    digest.update(found.path.as_os_str().as_bytes());
    digest.update([0]);
    digest.update(found.text.as_bytes());
    digest.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between listing and reading it may be gone, or be another thing.
    #[test]
    fn an_entry_that_is_gone_is_about_nothing_and_one_that_is_a_link_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let [entry, link] = ["entry", "link"].map(|name| directory.path().join(name));
        assert_eq!(about(&entry).unwrap(), None);
        fs::write(&entry, "/home/ann/flowlock.toml").unwrap();
        assert_eq!(about(&entry).unwrap(), Some(PathBuf::from("/home/ann/flowlock.toml")));
        std::os::unix::fs::symlink(&entry, &link).unwrap();
        assert!(about(&link).is_err());
    }
}
