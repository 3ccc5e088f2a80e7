//! The file of `--json-result`.

use std::fs::File;
use std::io;
use std::path::Path;

use flowlock::named_file;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::exit::Failure;
use crate::json::{self, ResultJson};
use crate::outlet;
use crate::terminal::{self, shown};

/// An open file, and how it was named.
#[derive(Debug)]
pub(super) struct ResultFile {
    file: File,
    place: String,
}

impl ResultFile {
    /// Opens the file. It is opened first, so that a path that cannot be written is reported before
    /// anything is done. It is emptied only once it is known to be the right file: the result of the last
    /// run must not be taken for that of a run that is killed.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let place = format!("--json-result {}", shown(&path.display().to_string()));
        let file = open(path).map_err(|error| {
            let is_a_pipe = error.raw_os_error() == Some(Errno::ENXIO as i32);
            let hint = if is_a_pipe { "; no process reads it" } else { "" };
            Failure::usage(format!("{place}: {error}{hint}"))
        })?;
        Ok(Self { file, place })
    }

    /// Writes what happened. If that does not succeed, a message says so: the run has ended all the same.
    pub(super) fn write(&self, story: ResultJson, ended: &Result<u8, Failure>) {
        if let Err(error) = self.try_to_write(story, ended) {
            let code = ended.as_ref().map_or_else(|failure| failure.code, |code| *code);
            terminal::say_not_told(&format!("the run ended with {code} all the same"), &self.place, &error);
        }
    }

    fn try_to_write(&self, mut story: ResultJson, ended: &Result<u8, Failure>) -> io::Result<()> {
        match ended {
            Ok(code) => story.exit_code = *code,
            Err(failure) => {
                story.exit_code = failure.code;
                story.outcome = failure.outcome;
                story.message = Some(failure.message.clone());
                story.blockers.clone_from(&failure.blockers);
                story.run = story.run.or_else(|| Some(failure.run.as_ref()?.as_str().to_owned()));
            }
        }
        let mut text = serde_json::to_vec(&story)?;
        text.push(b'\n');
        outlet::deliver(&self.file, text)
    }
}

/// Writes a failure from before the run began, in place of the result of the last run.
pub(crate) fn write_failure(path: &Path, failure: Failure) {
    let story = ResultJson { version: json::VERSION, ..ResultJson::default() };
    match ResultFile::open(path) {
        Ok(file) => file.write(story, &Err(failure)),
        Err(unwritten) => terminal::say(&unwritten.message),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe without a reader is an error, and not waited for.
    let file = named_file::open_to_write(path)?;
    // If standard output is a log, it does not belong to this run alone.
    let is_a_log = fcntl(&file, FcntlArg::F_GETFL)? & libc::O_APPEND != 0;
    if file.metadata()?.is_file() && !is_a_log {
        file.set_len(0)?;
    }
    Ok(file)
}
