//! Titled, timed steps, one after the other, stopping at the first that fails.

use std::fmt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::paint::{self, BOLD, DIM, GREEN, RED};
use crate::watchdog;

/// Why a command of ours could not go on, in words for the person who started it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with its message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The steps done so far; prints the table of them when it goes, whatever ended the run.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

#[derive(Debug)]
struct Done {
    title: String,
    took: Duration,
    passed: bool,
}

impl Steps {
    /// Runs one command with its output shown.
    pub(crate) fn command(&mut self, title: &str, command: &mut Command) -> Result<(), Failure> {
        self.step(title, || run(command))
    }

    /// The same for a command that may hang: after `at_most` all its threads are printed and it is ended.
    pub(crate) fn command_within(
        &mut self,
        title: &str,
        command: &mut Command,
        at_most: Duration,
    ) -> Result<(), Failure> {
        self.step(title, || {
            let line = announce(command);
            match watchdog::run(command, at_most) {
                Ok(Some(status)) => judge(&line, status),
                Ok(None) => Err(Failure::new(format!("`{line}` was not done after {}", seconds(at_most)))),
                Err(error) => Err(Failure::new(format!("cannot start `{line}`: {error}"))),
            }
        })
    }

    /// Runs one step written in Rust.
    pub(crate) fn step(
        &mut self,
        title: &str,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        paint::heading(title);
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        self.done.push(Done { title: title.to_owned(), took, passed: result.is_ok() });
        match &result {
            Ok(()) => anstream::println!("{GREEN}ok{GREEN:#} {DIM}{}{DIM:#}", seconds(took)),
            Err(_) => anstream::println!("{RED}stopped{RED:#} {DIM}{}{DIM:#}", seconds(took)),
        }
        result.map_err(|reason| Failure::new(format!("{title}: {reason}")))
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        anstream::println!("\n{BOLD}Summary{BOLD:#}");
        let total: Duration = self.done.iter().map(|done| done.took).sum();
        for Done { title, took, passed } in &self.done {
            let (colour, word) = if *passed { (GREEN, "ok") } else { (RED, "FAILED") };
            anstream::println!("  {colour}{word:<6}{colour:#} {:>8}  {title}", seconds(*took));
        }
        anstream::println!("         {:>8}  together", seconds(total));
    }
}

/// Runs a command with its output shown; its failure names the command and how it ended.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let line = announce(command);
    let status = command.status().map_err(|error| Failure::new(format!("cannot start `{line}`: {error}")))?;
    judge(&line, status)
}

fn announce(command: &Command) -> String {
    let line = line_of(command);
    anstream::println!("{DIM}$ {line}{DIM:#}");
    line
}

fn judge(line: &str, status: ExitStatus) -> Result<(), Failure> {
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{line}` ended with {status}"))) }
}

/// A command as one would type it, without the path of the program.
fn line_of(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// `0.8 s`, `12.3 s`, `4 min 05 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_stops_the_run_and_names_the_command_and_its_end() {
        let mut steps = Steps::default();
        let outcome = steps.command("breaking", Command::new("sh").args(["-c", "exit 3"]));
        assert_eq!(outcome.unwrap_err().to_string(), "breaking: `sh -c exit 3` ended with exit status: 3");
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(seconds(Duration::from_millis(840)), "0.8 s");
        assert_eq!(seconds(Duration::from_secs(245)), "4 min 05 s");
    }
}
