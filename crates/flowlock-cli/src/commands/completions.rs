//! `flowlock completions`: from the same parser as everything else.

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::exit::{self, Failure};
use crate::terminal;

/// Prints the completions of a shell.
pub(crate) fn completions(args: &Completions) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "flowlock", &mut script);
    terminal::print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}
