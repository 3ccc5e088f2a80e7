//! What the command finds in its environment, and the note it may leave.

use std::ffi::OsString;
use std::io::Write as _;

use flowlock::{Flowlock, Grant, LONGEST_NOTE};
use serde::Serialize;
use tempfile::{NamedTempFile, TempPath};

use crate::exit::{Failure, Place};
use crate::json::InputJson;
use crate::parent;

/// A variable above this size goes into a file: the kernel takes at most 128 KiB for one.
const LARGEST_VARIABLE: usize = 64 * 1024;

/// What is read of a note: as much as is kept, and as much again in newlines.
const LARGEST_NOTE_FILE: u64 = 2 * LONGEST_NOTE as u64;

/// What not every run has. Those of a run around it would be taken for its own.
const NOT_OF_EVERY_RUN: [&str; 5] = [
    "FLOWLOCK_INPUTS",
    "FLOWLOCK_INPUTS_FILE",
    "FLOWLOCK_OUTPUTS",
    "FLOWLOCK_OUTPUTS_FILE",
    "FLOWLOCK_NOTE_FILE",
];

/// Variables for a command, and the files they name. The files go away with this value.
#[derive(Debug)]
pub(crate) struct Environment {
    variables: Vec<(&'static str, OsString)>,
    note: Option<TempPath>,
    files: Vec<TempPath>,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    version: String,
}

impl Environment {
    /// For the command of `grant`, which counts its dates from `day`.
    pub(crate) fn new(
        flowlock: &Flowlock,
        grant: &Grant,
        place: &Place,
        day: String,
    ) -> Result<Self, Failure> {
        let (run, job) = (grant.run_id().as_str(), grant.spec().job.as_str());
        let namespace = flowlock.namespace().as_str();
        let mut environment = Self { variables: Vec::with_capacity(13), note: None, files: Vec::new() };
        environment.set(parent::RUN_ID, run);
        environment.set(parent::PROOF, grant.as_parent().proof());
        environment.set("FLOWLOCK_JOB", job);
        environment.set("FLOWLOCK_TOKEN", grant.token().to_string());
        environment.set("FLOWLOCK_NAMESPACE", namespace);
        environment.set("FLOWLOCK_STORE", &place.store);
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
            let note = new_file()?.into_temp_path();
            environment.set("FLOWLOCK_NOTE_FILE", note.as_os_str());
            environment.note = Some(note);
        }
        Ok(environment)
    }

    /// The variables, once for each process to be started; one without a value is taken away.
    pub(crate) fn variables(&self) -> Vec<(&'static str, Option<OsString>)> {
        let not_set =
            NOT_OF_EVERY_RUN.into_iter().filter(|name| self.variables.iter().all(|(set, _)| set != name));
        let set = self.variables.iter().map(|(name, value)| (*name, Some(value.clone())));
        not_set.map(|name| (name, None)).chain(set).collect()
    }

    /// What the command wrote into `$FLOWLOCK_NOTE_FILE`, without the newline at its end.
    pub(crate) fn note(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.note else { return Ok(None) };
        let bytes = match flowlock::named_file::read(path, LARGEST_NOTE_FILE) {
            Ok(bytes) => bytes,
            // A command may remove or replace it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
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
        let mut file = new_file()?;
        file.write_all(text.as_bytes())
            .map_err(|error| Failure::internal("write a file for the command", &error))?;
        let path = file.into_temp_path();
        self.set(name_of_file, path.as_os_str());
        self.files.push(path);
        Ok(())
    }
}

/// The note that a file of these bytes holds.
pub(crate) fn note_in(bytes: Vec<u8>) -> Result<Option<String>, Failure> {
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("the note in $FLOWLOCK_NOTE_FILE is not UTF-8; outputs are not recorded as written")
    })?;
    let text = text.trim_end_matches(['\n', '\r']);
    Ok(if text.is_empty() { None } else { Some(text.to_owned()) })
}

fn new_file() -> Result<NamedTempFile, Failure> {
    let made = tempfile::Builder::new().prefix("flowlock-").tempfile();
    made.map_err(|error| Failure::internal("make a file for the command (is $TMPDIR writable?)", &error))
}
