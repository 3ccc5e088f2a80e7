//! The content of one file: its settings with their lines, and nothing that flowlock does not know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{self, Found};
use super::paths::{self, Base};
use super::{KEYS, Setting, Source, is_duration, spelling};
use crate::error::Error;
use crate::store::misplaced;
use crate::text::escape;

/// Directories whose projects are trusted; a project's file cannot set it.
const TRUSTED_PROJECTS: &str = "trusted_projects";

/// Whom the file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The machine's or the user's.
    Own,
    /// The author of the project.
    Project,
}

/// The settings of a file.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) settings: BTreeMap<&'static str, Setting>,
    /// Whether the store is a `sqlite:` file whose path was relative.
    pub(super) is_store_relative: bool,
    /// Absolute paths.
    pub(super) trusted_projects: Vec<PathBuf>,
}

impl Table {
    /// Parses a file that was found; an error names file, line and key.
    pub(super) fn parse(found: &Found, whose: Whose) -> Result<Self, Error> {
        let reader = Reader { found, whose };
        let table = DeTable::parse(&found.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            // Only the message: the whole error has the line in it, which may contain a password.
            reader.wrong(at, &format!("not valid TOML: {}", error.message()))
        })?;
        let mut read = Self::default();
        for (key, value) in table.get_ref() {
            reader.take(key.get_ref(), key.span().start, value, &mut read)?;
        }
        Ok(read)
    }
}

struct Reader<'f> {
    found: &'f Found,
    whose: Whose,
}

impl Reader<'_> {
    fn take(
        &self,
        key: &str,
        at: usize,
        value: &Spanned<DeValue<'_>>,
        table: &mut Table,
    ) -> Result<(), Error> {
        if key == TRUSTED_PROJECTS && self.whose == Whose::Own {
            table.trusted_projects = self.directories(at, value.get_ref())?;
            return Ok(());
        }
        let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
            return Err(self.wrong(at, &unknown(key, self.whose)));
        };
        let mut text = self.text(known, at, value.get_ref())?;
        if known == "store" {
            table.is_store_relative = paths::file_of(&text).is_some_and(|file| Path::new(file).is_relative());
            let base = match self.whose {
                Whose::Own => Base::Directory(self.directory()),
                Whose::Project => Base::Project(self.directory()),
            };
            text = paths::absolute(&text, base)
                .map_err(|problem| self.wrong(at, &format!("store: {problem}")))?;
        }
        let source = Source::File { path: self.found.path.clone(), line: self.line(at) };
        table.settings.insert(known, Setting { value: text, source });
        Ok(())
    }

    fn text(&self, key: &str, at: usize, value: &DeValue<'_>) -> Result<String, Error> {
        match value {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(number) if is_duration(key) && number.radix() == 10 => {
                Ok(number.as_str().to_owned())
            }
            other => {
                let example = if is_duration(key) { "\"90s\", or a number of seconds" } else { "\"…\"" };
                let kind = other.type_str();
                let a = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
                Err(self.wrong(at, &format!("{key} is {a} {kind}; write {key} = {example}")))
            }
        }
    }

    fn directories(&self, at: usize, value: &DeValue<'_>) -> Result<Vec<PathBuf>, Error> {
        let wrong = || {
            self.wrong(at, &format!("{TRUSTED_PROJECTS} must be a list of directories, as in [\"/srv/etl\"]"))
        };
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter()
            .map(|entry| match entry.get_ref().as_str() {
                Some(text) if !text.is_empty() && !text.starts_with('~') => Ok(self.directory().join(text)),
                _ => Err(wrong()),
            })
            .collect()
    }

    fn directory(&self) -> &Path {
        crate::store::directory_of(&self.found.path)
    }

    fn line(&self, at: usize) -> usize {
        self.found.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn wrong(&self, at: usize, problem: &str) -> Error {
        Error::Configuration(format!("{}:{}: {problem}", file::shown(&self.found.path), self.line(at)))
    }
}

fn unknown(key: &str, whose: Whose) -> String {
    if key == TRUSTED_PROJECTS {
        return format!(
            "{TRUSTED_PROJECTS} may be set in the user's file or the one in /etc, not in a project's"
        );
    }
    let own = (whose == Whose::Own).then_some(TRUSTED_PROJECTS);
    let tip = match spelling::nearest(key, KEYS.into_iter().chain(own)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the known ones are {}", KEYS.into_iter().chain(own).collect::<Vec<_>>().join(", ")),
    };
    format!("there is no setting \"{}\"; {tip}", escape(&misplaced(key)))
}
