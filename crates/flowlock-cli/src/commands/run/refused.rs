//! Finds `--json-result` in a command line that the parser refused.
//!
//! The parser stops at its first error, so the flags are gone through once more, with what it knows of
//! each: which of them take the next argument.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::vec::IntoIter;

use clap::{Arg, Command};

/// What an argument is to the parser.
enum Kind {
    /// A flag with all that belongs to it.
    Complete,
    /// A flag whose value is the next argument.
    TakesNext,
    Unknown,
    /// `--`, or an argument that is no flag.
    Other,
}

/// Returns the last file that `flowlock run` was given for its result; `None` for another command, or if
/// that flag has no value. What follows the beginning of COMMAND belongs to COMMAND.
pub(crate) fn result_of_run(mut parser: Command, line: Vec<OsString>) -> Option<PathBuf> {
    // Gives `run` the flags that every command has.
    parser.build();
    let mut line = line.into_iter().peekable();
    line.next();
    let run = subcommand(&parser, &mut line)?;
    let mut found = None;
    while let Some(argument) = line.next() {
        let value = match kind(run, &argument) {
            Kind::Complete => after_equals(&argument),
            Kind::TakesNext => line.next_if(|next| !is_flag(next)),
            Kind::Unknown => {
                // It may be misspelt and have a value. Without a `--` ahead, that may be COMMAND.
                if line.clone().any(|ahead| ahead == "--") {
                    line.next_if(|next| !is_flag(next));
                }
                continue;
            }
            Kind::Other => break,
        };
        if is_of(&argument, "--json-result") {
            found = value.filter(|value| !value.is_empty());
        }
    }
    found.map(PathBuf::from)
}

/// Moves on to behind `run`, if that is the command.
fn subcommand<'p>(parser: &'p Command, line: &mut Peekable<IntoIter<OsString>>) -> Option<&'p Command> {
    while let Some(argument) = line.next() {
        match kind(parser, &argument) {
            Kind::Complete => {}
            Kind::TakesNext => drop(line.next_if(|next| !is_flag(next))),
            Kind::Unknown => drop(line.next_if(|next| !is_flag(next) && next != "run")),
            Kind::Other => return parser.find_subcommand("run").filter(|_| argument == "run"),
        }
    }
    None
}

fn kind(command: &Command, argument: &OsStr) -> Kind {
    let bytes = argument.as_bytes();
    if !is_flag(argument) || bytes == b"--" {
        return Kind::Other;
    }
    if bytes.starts_with(b"--") {
        let is_meant = |arg: &&Arg| arg.get_long().is_some_and(|long| is_of(argument, &format!("--{long}")));
        return match command.get_arguments().find(is_meant) {
            None => Kind::Unknown,
            Some(arg) if arg.get_action().takes_values() && !bytes.contains(&b'=') => Kind::TakesNext,
            Some(_) => Kind::Complete,
        };
    }
    short(command, &bytes[1..])
}

/// Letters of flags together, as in `-qv`; after one with a value, the rest is the value.
fn short(command: &Command, letters: &[u8]) -> Kind {
    for (at, letter) in letters.iter().enumerate() {
        match command.get_arguments().find(|arg| arg.get_short() == Some(char::from(*letter))) {
            None => return Kind::Unknown,
            Some(arg) if arg.get_action().takes_values() => {
                return if at + 1 == letters.len() { Kind::TakesNext } else { Kind::Complete };
            }
            Some(_) => {}
        }
    }
    Kind::Complete
}

/// A single dash is a value.
fn is_flag(argument: &OsStr) -> bool {
    argument.len() > 1 && argument.as_bytes().starts_with(b"-")
}

/// Returns whether an argument is this flag, with a value after `=` or without.
fn is_of(argument: &OsStr, flag: &str) -> bool {
    let rest = argument.as_bytes().strip_prefix(flag.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'=')
}

fn after_equals(argument: &OsStr) -> Option<OsString> {
    let equals = argument.as_bytes().iter().position(|byte| *byte == b'=')?;
    Some(OsStr::from_bytes(&argument.as_bytes()[equals + 1..]).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// The file that is found in these words; none of them has a blank.
    fn found(line: &str) -> Option<String> {
        let words = line.split(' ').map(OsString::from).collect();
        result_of_run(Cli::command(), words).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_last_file_for_a_result_is_found_wherever_the_parser_stopped() {
        for line in [
            "flowlock run --json-result R --max-runtime 300ms -l x -- true",
            "flowlock run --max-runtime 300ms --json-result=R -l x -- true",
            "flowlock run --slot x:0 --json-result R true",
            "flowlock run -qlx --bogus --json-result R -- true",
            "flowlock run --max-runtim 5m --json-result R -- true",
            "flowlock run --json-result A --json-result R -- true",
            "flowlock run -l x -Xo --json-result R",
            "flowlock --store sqlite:x -vv --namespace=run run -q -v --json-result R -l x",
            "flowlock --bogus run --json-result R -l x -- true",
            "flowlock --stor sqlite:x run --json-result R -l x -- true",
            "flowlock run --name --json-result R -- true",
        ] {
            assert_eq!(found(line).as_deref(), Some("R"), "{line}");
        }
    }

    #[test]
    fn a_file_of_the_command_or_of_another_command_is_not_a_result() {
        for line in [
            "flowlock",
            "flowlock run",
            "flowlock run --slot x:0 ./job --json-result R",
            "flowlock run --slot=x:0 ./job --json-result R -- y",
            "flowlock run --slot x:0 -- ./job --json-result R",
            "flowlock run --bogus ./job --json-result R",
            "flowlock run -q - --json-result R",
            "flowlock start --json-result R",
            "flowlock help run --json-result R",
            "flowlock --store run --json-result R -- true",
            "flowlock -- run --json-result R",
            "flowlock run --bogus --json-result",
            "flowlock run --bogus --json-result -l x -- true",
            "flowlock run --json-result A --json-result= -- true",
            "flowlock run --json-results R -l x -- true",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
