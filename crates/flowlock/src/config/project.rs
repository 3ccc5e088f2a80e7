//! A project's `flowlock.toml`: what it may set by itself, and what only if the user trusts it.
//!
//! The file came with the project, and the project may have come from anywhere. A user who runs a job in
//! a clone must not be made to send a file to a stranger's server, or to lock in another place than they
//! think.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file::{self, Found, Links};
use super::listed::{Listed, look_up};
use super::project_file::{command, judge, nearest, way_out, whole};
use super::surroundings::Surroundings;
use super::table::{Table, Whose};
use super::trust::Trust;
use super::{Setting, paths};
use crate::error::Error;

/// Settings that decide where a lock is: two jobs with different values do not exclude each other.
const PLACES: [&str; 2] = ["store", "namespace"];

type Settings = BTreeMap<&'static str, Setting>;

/// The settings that take precedence over a project's file, and those that do not.
#[derive(Debug)]
pub(super) struct Around<'s> {
    /// Flags and variables.
    pub(super) given: &'s Settings,
    /// The file in `/etc`.
    pub(super) system: &'s Settings,
    /// Directories that the user's file or the one in `/etc` trusts.
    pub(super) trusted: &'s [PathBuf],
}

impl Around<'_> {
    fn decide_all_places(&self) -> bool {
        PLACES.iter().all(|key| self.given.contains_key(key) || self.system.contains_key(key))
    }
}

/// Returns the settings that take effect, and a sentence for each that does not.
pub(super) fn settings(
    surroundings: &Surroundings,
    around: &Around<'_>,
) -> Result<(Settings, Vec<String>), Error> {
    let nothing = (Settings::new(), Vec::new());
    let directory = match whole(&surroundings.directory) {
        // No project could lead elsewhere; a job may have removed the directory it works in.
        Err(unknown) if around.decide_all_places() => {
            return Ok((Settings::new(), vec![format!("no project's settings are used: {unknown}")]));
        }
        directory => directory?,
    };
    let Some(path) = directory.map_or(Ok(None), |directory| nearest(&directory))? else {
        return Ok(nothing);
    };
    let Some(found) = file::read(&path, surroundings.uid, Links::Refused)? else { return Ok(nothing) };
    let known = match Trust::of(surroundings)? {
        Some(trust) => trust.knows(&found)?,
        None => false,
    };
    // A file whose content was trusted may be where others can change it: then it is not trusted any
    // more.
    if let Some(weakness) = found.weakness.as_ref().filter(|_| !known) {
        return Err(refused(&found, weakness));
    }
    let listed = if known { Listed::Trusted } else { look_up(&found.path, around.trusted, surroundings.uid) };
    let (is_trusted, why_not) = match listed {
        Listed::Trusted => (true, Vec::new()),
        Listed::Untrusted(why_not) => (false, why_not),
    };
    let table = Table::parse(&found, Whose::Project)?;
    let project = Project { is_trusted, why_not, table, found: &found };
    project.settings(around)
}

fn refused(found: &Found, weakness: &str) -> Error {
    Error::Configuration(format!(
        "{} is not used: {weakness}; fix that, or read the file and run: {}",
        file::shown(&found.path),
        command(&found.path)
    ))
}

struct Project<'f> {
    found: &'f Found,
    table: Table,
    is_trusted: bool,
    /// Why `trusted_projects` does not apply, for each of its entries that contains the file.
    why_not: Vec<String>,
}

impl Project<'_> {
    fn settings(&self, around: &Around<'_>) -> Result<(Settings, Vec<String>), Error> {
        let (mut taken, mut said, mut untrusted) = (Settings::new(), Vec::new(), Vec::new());
        for (key, setting) in &self.table.settings {
            let fixed = PLACES.contains(key).then(|| around.system.get(key)).flatten();
            match () {
                // A setting with precedence decides.
                () if around.given.contains_key(key) => {}
                () if fixed.is_some() => {
                    let is_other =
                        |fixed: &&Setting| paths::unmarked(&fixed.value) != paths::unmarked(&setting.value);
                    said.extend(fixed.filter(is_other).map(|fixed| {
                        format!("{}: {key} is not used, because {} fixes it", setting.source, fixed.source)
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

    /// Marks a path from an untrusted file, so that it is never reached through a link later either, for
    /// example by a flowlock in the command of a run.
    fn marked(&self, key: &str, setting: &Setting) -> Setting {
        if self.is_trusted || key != "store" {
            return setting.clone();
        }
        let directory = crate::store::directory_of(&self.found.path);
        Setting { value: paths::of_project(&setting.value, directory), ..setting.clone() }
    }

    fn needs_trust(&self, key: &str, setting: &Setting) -> Error {
        Error::Configuration(format!(
            "{}: this {key} is not used, because {}: an untrusted project's file may only name a sqlite: file below its own directory, reached without symbolic links; to trust it, read it and run: {}",
            setting.source,
            self.nobody(),
            command(&self.found.path)
        ))
    }

    fn nobody(&self) -> String {
        match self.why_not.as_slice() {
            [] => "the file is not trusted".to_owned(),
            why_not => format!("the file is not trusted ({})", why_not.join("; ")),
        }
    }

    fn not_taken(&self, keys: &[&str]) -> String {
        format!(
            "{}: {} {} not used, because {}; to trust it, read it and run: {}",
            file::shown(&self.found.path),
            keys.join(", "),
            if keys.len() == 1 { "is" } else { "are" },
            self.nobody(),
            command(&self.found.path)
        )
    }
}
