//! A project's `flowlock.toml`: what it may set by itself, and what only if somebody trusts it.
//!
//! It came with the project, and the project may have come from anywhere: whoever runs a job in a clone must not be
//! made to send a file to a stranger's server, or to lock in another place than they think.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::file::{self, Found, Links};
use super::surroundings::Surroundings;
use super::table::{Table, Whose};
use super::trust::{self, Trust};
use super::{Setting, paths};
use crate::error::Error;

/// The name of a project's file.
pub(super) const NAME: &str = "flowlock.toml";

/// Settings that decide where a lock is: with another one two jobs do not meet.
const PLACES: [&str; 2] = ["store", "namespace"];

type Settings = BTreeMap<&'static str, Setting>;

/// What is nearer than a project's file, and what is further away.
#[derive(Debug)]
pub(super) struct Around<'s> {
    /// Flags and variables.
    pub(super) given: &'s Settings,
    /// The file in `/etc`.
    pub(super) system: &'s Settings,
    /// Directories that the user's file or the one in `/etc` trusts.
    pub(super) trusted: &'s [PathBuf],
}

/// The nearest file, in the directory or above it.
pub(super) fn find(from: &Path) -> Result<Option<PathBuf>, Error> {
    // Without a working directory there is no project.
    let Ok(from) = fs::canonicalize(from) else { return Ok(None) };
    for directory in from.ancestors() {
        let path = directory.join(NAME);
        match fs::symlink_metadata(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(error) if file::is_absence(&error) => {}
            // What is in a directory that the user may not even enter was not meant for them.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => {
                let shown = file::shown(&path);
                return Err(Error::Configuration(format!("{shown} cannot be looked at: {error}")));
            }
        }
    }
    Ok(None)
}

/// The settings that count, and in a sentence each which do not.
pub(super) fn settings(
    surroundings: &Surroundings,
    around: &Around<'_>,
) -> Result<(Settings, Vec<String>), Error> {
    let nothing = (Settings::new(), Vec::new());
    let Some(path) = find(&surroundings.directory)? else { return Ok(nothing) };
    let Some(found) = file::read(&path, surroundings.uid, Links::Refused)? else { return Ok(nothing) };
    let known = match Trust::of(surroundings)? {
        Some(trust) => trust.knows(&found)?,
        None => false,
    };
    // Whose content was trusted as it is may lie where others can change it: then it is not trusted any more.
    if let Some(weakness) = found.weakness.as_ref().filter(|_| !known) {
        return Err(refused(&found, weakness));
    }
    let project = Project {
        is_trusted: known || is_listed(&found.path, around.trusted),
        table: Table::parse(&found, Whose::Project)?,
        found: &found,
    };
    project.settings(around)
}

fn refused(found: &Found, weakness: &str) -> Error {
    Error::Configuration(format!(
        "{} is not taken: {weakness}; mend that, or read the file and type: {}",
        file::shown(&found.path),
        trust::command(&found.path)
    ))
}

fn is_listed(path: &Path, trusted: &[PathBuf]) -> bool {
    trusted
        .iter()
        .any(|directory| fs::canonicalize(directory).is_ok_and(|directory| path.starts_with(directory)))
}

struct Project<'f> {
    found: &'f Found,
    table: Table,
    is_trusted: bool,
}

impl Project<'_> {
    fn settings(&self, around: &Around<'_>) -> Result<(Settings, Vec<String>), Error> {
        let (mut taken, mut said, mut untrusted) = (Settings::new(), Vec::new(), Vec::new());
        for (key, setting) in &self.table.settings {
            let fixed = PLACES.contains(key).then(|| around.system.get(key)).flatten();
            match () {
                // Somebody nearer decides.
                () if around.given.contains_key(key) => {}
                () if fixed.is_some() => {
                    let is_other =
                        |fixed: &&Setting| paths::unmarked(&fixed.value) != paths::unmarked(&setting.value);
                    said.extend(fixed.filter(is_other).map(|fixed| {
                        format!("{}: {key} is not taken, because {} fixes it", setting.source, fixed.source)
                    }));
                }
                () if self.may_set(key, setting) => {
                    judge(self.found, &self.table, key)?;
                    taken.insert(*key, self.marked(key, setting));
                }
                () if PLACES.contains(key) => return Err(self.needs_trust(key, setting)),
                () => untrusted.push(*key),
            }
        }
        if !untrusted.is_empty() {
            said.push(self.not_taken(&untrusted));
        }
        Ok((taken, said))
    }

    fn may_set(&self, key: &str, setting: &Setting) -> bool {
        let directory = crate::store::directory_of(&self.found.path);
        self.is_trusted
            || match key {
                "namespace" | "tz" => true,
                "store" => {
                    paths::file_of(&setting.value).is_some_and(|file| way_out(directory, file).is_none())
                }
                _ => false,
            }
    }

    /// What nobody trusts is reached through no link later on either, by a flowlock in the command of a run for one.
    fn marked(&self, key: &str, setting: &Setting) -> Setting {
        if self.is_trusted || key != "store" {
            return setting.clone();
        }
        let directory = crate::store::directory_of(&self.found.path);
        Setting { value: paths::of_project(&setting.value, directory), ..setting.clone() }
    }

    fn needs_trust(&self, key: &str, setting: &Setting) -> Error {
        Error::Configuration(format!(
            "{}: this {key} is not taken, because nobody trusts the file: by itself a project's file may only name a sqlite: file below its own directory that no link leads to; read the file and type: {}",
            setting.source,
            trust::command(&self.found.path)
        ))
    }

    fn not_taken(&self, keys: &[&str]) -> String {
        format!(
            "{}: {} {} not taken, because nobody trusts the file; read it and type: {}",
            file::shown(&self.found.path),
            keys.join(", "),
            if keys.len() == 1 { "is" } else { "are" },
            trust::command(&self.found.path)
        )
    }
}

/// Refuses a store that a relative path leads out of the project, or to a link: the path was trusted, not what a later
/// state of the project makes of it.
pub(super) fn judge(found: &Found, table: &Table, key: &str) -> Result<(), Error> {
    let directory = crate::store::directory_of(&found.path);
    let Some(setting) = table.settings.get(key).filter(|_| key == "store" && table.is_store_relative) else {
        return Ok(());
    };
    match paths::file_of(&setting.value).and_then(|file| way_out(directory, file)) {
        None => Ok(()),
        Some(why) => Err(Error::Configuration(format!(
            "{}: this store is not taken, because {why}: a relative path in a project's file lies below the project and leads through no link, trusted or not, for the next pull may point a link anywhere; write the whole path of the store that you mean",
            setting.source
        ))),
    }
}

/// Why a file is not below a directory, or is reached through a link: a directory on the way may be one, the file, or
/// anything beside it whose name begins like its own, as `-wal` and `-wake` do.
fn way_out(directory: &Path, file: &str) -> Option<String> {
    let outside =
        || Some(format!("{} is no file below {}", file::shown(Path::new(file)), file::shown(directory)));
    let Ok(below) = Path::new(file).strip_prefix(directory) else { return outside() };
    let parts: Vec<_> = below.components().collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    if !plain || parts.is_empty() || file.ends_with('/') {
        return outside();
    }
    let mut at = directory.to_owned();
    for part in &parts {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_symlink()) {
            return Some(is_a_link(&at));
        }
    }
    link_beside(&at).map(|link| is_a_link(&link))
}

fn is_a_link(path: &Path) -> String {
    let target = fs::read_link(path).unwrap_or_default();
    format!("{} is a symbolic link to {}", file::shown(path), file::shown(&target))
}

fn link_beside(file: &Path) -> Option<PathBuf> {
    let begins = file.file_name().unwrap_or_default().as_encoded_bytes();
    let beside = fs::read_dir(crate::store::directory_of(file)).into_iter().flatten().flatten();
    beside
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(begins))
        .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| entry.path())
}
