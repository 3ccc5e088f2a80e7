//! Turns flags into a request: fills dates into names, and checks limits before any store is asked.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::Path;

use flowlock::{Flowlock, Job, JobName, LARGEST_REQUEST, LONGEST_NOTE, MOST_CLAIMS, Name, named_file};

use crate::args::values::Wait;
use crate::args::{ClaimFlags, IfWritten, OnFail, RequestFlags};
use crate::dates::Dates;
use crate::exit::Failure;
use crate::parent;

/// The names that a request claims, filled in and checked.
#[derive(Debug, Default)]
pub(crate) struct Names {
    inputs: Vec<String>,
    outputs: Vec<String>,
    locks: Vec<String>,
    shared_locks: Vec<String>,
    slots: Vec<(String, u32, u32)>,
}

impl Names {
    /// Takes them from the flags. `job` is the lock of `--single`.
    pub(crate) fn new(flags: &ClaimFlags, dates: &Dates, job: &JobName) -> Result<Self, Failure> {
        let mut inputs = fill(&flags.input, dates)?;
        if let Some(file) = &flags.inputs_from {
            inputs.extend(listed(file, dates)?);
        }
        let mut locks = fill(&flags.lock, dates)?;
        if flags.single {
            locks.push(job.as_str().to_owned());
        }
        let mut slots = Vec::new();
        for slot in &flags.slot {
            let names = fill(std::slice::from_ref(&slot.name), dates)?;
            slots.extend(names.into_iter().map(|name| (name, slot.units, slot.capacity)));
        }
        let (outputs, shared_locks) = (fill(&flags.output, dates)?, fill(&flags.lock_shared, dates)?);
        Ok(Self { inputs, outputs, locks, shared_locks, slots })
    }

    /// Returns whether nothing is claimed.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && [&self.inputs, &self.outputs, &self.locks, &self.shared_locks]
                .iter()
                .all(|names| names.is_empty())
    }

    /// Adds them to a job.
    pub(crate) fn claim(self, job: Job) -> Job {
        let job = self.inputs.into_iter().fold(job, Job::input);
        let job = self.outputs.into_iter().fold(job, Job::output);
        let job = self.locks.into_iter().fold(job, Job::lock);
        let job = self.shared_locks.into_iter().fold(job, Job::lock_shared);
        self.slots.into_iter().fold(job, |job, (name, units, capacity)| job.slot(name, units, capacity))
    }
}

/// Refuses a note that is too long, before anything is done.
pub(crate) fn check_note(note: Option<&str>) -> Result<(), Failure> {
    match note.map(str::len) {
        Some(bytes) if bytes > LONGEST_NOTE => Err(Failure::usage(format!(
            "invalid note: it has {bytes} bytes; at most {LONGEST_NOTE} are kept"
        ))),
        _ => Ok(()),
    }
}

/// Returns names with their dates filled in, each of them checked.
pub(crate) fn fill(texts: &[String], dates: &Dates) -> Result<Vec<String>, Failure> {
    let mut names = Vec::with_capacity(texts.len());
    for text in texts {
        for name in dates.fill(text)? {
            Name::parse(&name)?;
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the names in a file, with their dates filled in.
fn listed(file: &Path, dates: &Dates) -> Result<Vec<String>, Failure> {
    let shown = crate::terminal::shown(&file.display().to_string());
    let names = read(file).and_then(|text| names_in(&text, dates));
    names.map_err(|problem| Failure::usage(format!("--inputs-from {shown}: {problem}")))
}

/// Returns the names in a text, or what is wrong with it: one on each line, without the blanks around
/// it. Empty lines, and those that begin with `#`, are skipped.
pub(crate) fn names_in(text: &str, dates: &Dates) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let filled = fill(&[line.to_owned()], dates);
        names.extend(filled.map_err(|failure| format!("line {number}: {}", failure.message))?);
    }
    names.sort();
    names.dedup();
    let bytes: usize = names.iter().map(String::len).sum();
    match names.len() {
        0 => Err("it names nothing".into()),
        count if count > MOST_CLAIMS => {
            Err(format!("it has {count} names; a request has at most {MOST_CLAIMS}"))
        }
        _ if bytes > LARGEST_REQUEST => Err(format!(
            "its names have {bytes} bytes together; those of a request have at most {LARGEST_REQUEST}"
        )),
        _ => Ok(names),
    }
}

/// Reads a whole file of names, or returns what is wrong with it.
fn read(file: &Path) -> Result<String, String> {
    let source: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(named_file::open_to_read(file).map_err(|error| error.to_string())?)
    };
    let most = LARGEST_REQUEST as u64 * 2;
    let mut text = String::new();
    source.take(most + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > most {
        return Err(format!(
            "it has more than {most} bytes; the names of a request have at most {LARGEST_REQUEST}"
        ));
    }
    Ok(text)
}

/// Sets what `run` and `start` have in common.
pub(crate) fn job(
    flowlock: &Flowlock,
    name: &JobName,
    names: Names,
    flags: &RequestFlags,
) -> Result<Job, Failure> {
    let mut job = names.claim(flowlock.job(name.as_str()));
    job = job.if_written(match flags.if_written {
        IfWritten::Overwrite => flowlock::IfWritten::Overwrite,
        IfWritten::Fail => flowlock::IfWritten::Fail,
        IfWritten::Skip => flowlock::IfWritten::Skip,
    });
    job = job.on_fail(match flags.on_fail {
        OnFail::Keep => flowlock::OnFail::Keep,
        OnFail::Incomplete => flowlock::OnFail::Incomplete,
    });
    if let Some(Wait::For(wait)) = flags.wait {
        job = job.wait(wait);
    }
    if let Some(life) = flags.output_duration {
        job = job.record_life(life);
    }
    if let Some(time) = flags.keep_lapsed {
        job = job.keep_lapsed(time);
    }
    // A command of a run asks on behalf of that run.
    if let Some(parent) = parent::from_environment()? {
        job = job.parent(parent);
    }
    Ok(job)
}

/// Returns a command's name by default: its base name, and the script if it is an interpreter.
pub(crate) fn name_of(command: &[OsString]) -> Result<JobName, Failure> {
    let base = |text: &OsStr| Path::new(text).file_name().and_then(OsStr::to_str).map(str::to_owned);
    let name = command.first().and_then(|first| base(first)).and_then(|name| {
        match command.get(1).filter(|_| is_interpreter(&name)) {
            Some(script) if !script.as_encoded_bytes().starts_with(b"-") => {
                Some(format!("{name}.{}", base(script)?))
            }
            _ => Some(name),
        }
    });
    let job = name.and_then(|name| JobName::parse(&name).ok());
    job.ok_or_else(|| {
        Failure::usage("the command's name cannot be a job's name; name the job with --name JOB")
    })
}

fn is_interpreter(name: &str) -> bool {
    const KNOWN: [&str; 12] =
        ["sh", "bash", "dash", "ksh", "zsh", "fish", "perl", "ruby", "node", "php", "Rscript", "julia"];
    KNOWN.contains(&name) || name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') == "python"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(command: &[&str]) -> String {
        let command: Vec<_> = command.iter().map(OsString::from).collect();
        name_of(&command).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_command_is_called_by_its_base_name_and_its_script() {
        assert_eq!(called(&["/usr/bin/rsync", "-a", "x"]), "rsync");
        assert_eq!(called(&["python3", "/srv/etl.py", "--fast"]), "python3.etl.py");
        assert_eq!(called(&["sh", "-c", "echo x"]), "sh");
        assert_eq!(called(&["bash", "./nightly.sh"]), "bash.nightly.sh");
        assert_eq!(called(&["bash"]), "bash");
        assert_eq!(called(&["cp", "a", "b"]), "cp");
    }

    #[test]
    fn a_command_without_a_sayable_name_needs_one() {
        for bad in [&[".."][..], &["a\u{1b}b"], &["/"]] {
            let command: Vec<_> = bad.iter().map(OsString::from).collect();
            assert!(name_of(&command).unwrap_err().message.contains("--name JOB"));
        }
    }
}
