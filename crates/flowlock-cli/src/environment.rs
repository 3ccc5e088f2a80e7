//! What the command finds in its environment, and the note it may leave.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flowlock::config::open_private;
use flowlock::{Flowlock, Grant, LONGEST_NOTE, named_file};
use nix::libc;
use serde::Serialize;

use crate::exit::Failure;
use crate::json::InputJson;
use crate::parent;

/// A variable above this size goes into a file: the kernel takes at most 128 KiB for one.
const LARGEST_VARIABLE: usize = 64 * 1024;

/// What is read of a note: as much as is kept, and as much again in newlines.
const LARGEST_NOTE_FILE: u64 = 2 * LONGEST_NOTE as u64;

/// What the note's file is called.
const NOTE: &str = "note";

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
    files: Option<Files>,
    has_note: bool,
}

/// A directory of the user's own for the command's files. What is in it is reached through its descriptor.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    held: File,
}

/// Where the command's files are made: in `$TMPDIR`, unless somebody else could put another directory in the place of one
/// there, and so other lists before the command.
fn place_for_files() -> io::Result<PathBuf> {
    let uid = nix::unistd::geteuid().as_raw();
    let private = |place: &Path| {
        let place = fs::canonicalize(place)?;
        open_private(&place, uid).map(|_| place)
    };
    let exchangeable = match private(&std::env::temp_dir()) {
        Err(error) if error.kind() == io::ErrorKind::Other => error,
        usual => return usual,
    };
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut others = runtime.into_iter().chain(["/tmp", "/var/tmp"].map(PathBuf::from));
    others.find_map(|place| private(&place).ok()).ok_or(exchangeable)
}

impl Files {
    fn new() -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix("flowlock-").tempdir_in(place_for_files()?)?.keep();
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let held = File::options().read(true).custom_flags(flags).open(&path)?;
        Ok(Self { path, held })
    }

    /// The way through the descriptor.
    fn inside(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.held.as_raw_fd().to_string()).join(name)
    }

    /// Where the command finds a file.
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn make(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(self.inside(name))?.write_all(content)
    }

    /// Reads a file that the command may have replaced: it counts if it is one, and no link to another.
    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let other = || io::Error::other("not a regular file");
        let opened = File::options().read(true).custom_flags(flags).open(self.inside(name));
        let is_link = |error: &io::Error| error.raw_os_error() == Some(libc::ELOOP);
        let file = opened.map_err(|error| if is_link(&error) { other() } else { error })?;
        if !file.metadata()?.is_file() {
            return Err(other());
        }
        named_file::read_whole(file, most)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Never what has its name by now, and nothing below it: `remove_dir` takes empty directories alone.
        for entry in fs::read_dir(self.inside(".")).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let _ = fs::remove_dir(&self.path);
    }
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    version: String,
}

impl Environment {
    /// For the command of `grant`, which counts its dates from `day`.
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

    /// The variables, once for each process to be started; one without a value is taken away.
    pub(crate) fn variables(&self) -> Vec<(&'static str, Option<OsString>)> {
        let not_set =
            NOT_OF_EVERY_RUN.into_iter().filter(|name| self.variables.iter().all(|(set, _)| set != name));
        let set = self.variables.iter().map(|(name, value)| (*name, Some(value.clone())));
        not_set.map(|name| (name, None)).chain(set).collect()
    }

    /// What the command wrote into `$FLOWLOCK_NOTE_FILE`, without the newline at its end.
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

    /// Makes a file for the command, and tells it where.
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

/// The note that a file of these bytes holds.
pub(crate) fn note_in(bytes: Vec<u8>) -> Result<Option<String>, Failure> {
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("the note in $FLOWLOCK_NOTE_FILE is not UTF-8; outputs are not recorded as written")
    })?;
    let text = text.trim_end_matches(['\n', '\r']);
    Ok(if text.is_empty() { None } else { Some(text.to_owned()) })
}
