//! What the command finds in its environment, and the note that it may leave.

mod files;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use flowlock::{Flowlock, Grant, LONGEST_NOTE};
use serde::Serialize;

pub(crate) use self::files::Files;
use crate::exit::Failure;
use crate::json::InputJson;
use crate::parent;

/// A variable larger than this is put into a file: the kernel accepts at most 128 KiB for one.
const LARGEST_VARIABLE: usize = 64 * 1024;

/// How much of a note is read: the longest note, and as much again in newlines.
const LARGEST_NOTE_FILE: u64 = 2 * LONGEST_NOTE as u64;

/// The name of the note's file.
const NOTE: &str = "note";

/// Variables that only some runs have. Those of an outer run would be taken for the run's own.
const NOT_OF_EVERY_RUN: [&str; 5] = [
    "FLOWLOCK_INPUTS",
    "FLOWLOCK_INPUTS_FILE",
    "FLOWLOCK_OUTPUTS",
    "FLOWLOCK_OUTPUTS_FILE",
    "FLOWLOCK_NOTE_FILE",
];

/// Variables for a command, and the files that they name. The files are removed with this value.
#[derive(Debug)]
pub(crate) struct Environment {
    variables: Vec<(&'static str, OsString)>,
    files: Option<Files>,
    has_note: bool,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    version: String,
}

impl Environment {
    /// For the command of `grant`, whose dates count from `day`.
    pub(crate) fn new(flowlock: &Flowlock, grant: &Grant, day: String) -> Result<Self, Failure> {
        let (run, job) = (grant.run_id().as_str(), grant.spec().job.as_str());
        let namespace = flowlock.namespace().as_str();
        let mut environment = Self { variables: Vec::with_capacity(13), files: None, has_note: false };
        environment.set(parent::RUN_ID, run);
        environment.set(parent::PROOF, grant.as_parent().proof());
        environment.set("FLOWLOCK_JOB", job);
        environment.set("FLOWLOCK_TOKEN", grant.token().to_string());
        environment.set("FLOWLOCK_NAMESPACE", namespace);
        environment.set("FLOWLOCK_STORE", flowlock.store().url());
        environment.set("FLOWLOCK_DATE", day);
        environment.set("OPENLINEAGE_PARENT_ID", format!("{namespace}/{job}/{run}"));
        let inputs: Vec<_> = grant.inputs().iter().map(InputJson::from).collect();
        environment.list("FLOWLOCK_INPUTS", "FLOWLOCK_INPUTS_FILE", &inputs)?;
        let version = grant.token().to_string();
        let outputs = grant.spec().claims.outputs();
        let outputs: Vec<_> =
            outputs.map(|claim| OutputJson { name: claim.name.as_str(), version: version.clone() }).collect();
        environment.list("FLOWLOCK_OUTPUTS", "FLOWLOCK_OUTPUTS_FILE", &outputs)?;
        if !outputs.is_empty() {
            environment.file("FLOWLOCK_NOTE_FILE", NOTE, b"")?;
            environment.has_note = true;
        }
        Ok(environment)
    }

    /// Returns the variables for one process to be started; one without a value is removed.
    pub(crate) fn variables(&self) -> Vec<(&'static str, Option<OsString>)> {
        let not_set =
            NOT_OF_EVERY_RUN.into_iter().filter(|name| self.variables.iter().all(|(set, _)| set != name));
        let set = self.variables.iter().map(|(name, value)| (*name, Some(value.clone())));
        not_set.map(|name| (name, None)).chain(set).collect()
    }

    /// Returns what the command wrote into `$FLOWLOCK_NOTE_FILE`, without the newline at its end.
    pub(crate) fn note(&self) -> Result<Option<String>, Failure> {
        let Some(files) = self.files.as_ref().filter(|_| self.has_note) else { return Ok(None) };
        let bytes = match files.read(NOTE, LARGEST_NOTE_FILE) {
            Ok(bytes) => bytes,
            // A command may remove or replace it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::usage(format!(
                    "cannot read the note in $FLOWLOCK_NOTE_FILE: {error}; outputs are not recorded as written"
                )));
            }
        };
        note_in(bytes)
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    fn list(
        &mut self,
        name: &'static str,
        name_of_file: &'static str,
        items: &[impl Serialize],
    ) -> Result<(), Failure> {
        let text = serde_json::to_string(items).map_err(|error| Failure::internal("write JSON", &error))?;
        if text.len() <= LARGEST_VARIABLE {
            self.set(name, text);
            return Ok(());
        }
        self.file(name_of_file, &format!("{name}.json"), text.as_bytes())
    }

    /// Creates a file for the command, and sets the variable that names it.
    fn file(&mut self, variable: &'static str, name: &str, content: &[u8]) -> Result<(), Failure> {
        let made = || -> io::Result<PathBuf> {
            let files = match &mut self.files {
                Some(files) => files,
                none => none.insert(Files::new()?),
            };
            files.make(name, content)?;
            Ok(files.path(name))
        };
        let path = { made }().map_err(|error| {
            Failure::internal("make a file for the command (is $TMPDIR writable?)", &error)
        })?;
        self.set(variable, path);
        Ok(())
    }
}

/// Returns the note in the bytes of a file.
pub(crate) fn note_in(bytes: Vec<u8>) -> Result<Option<String>, Failure> {
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("the note in $FLOWLOCK_NOTE_FILE is not UTF-8; outputs are not recorded as written")
    })?;
    let text = text.trim_end_matches(['\n', '\r']);
    Ok(if text.is_empty() { None } else { Some(text.to_owned()) })
}
