//! `flowlock completions`: from the same parser as everything else.

use clap::Args;

use crate::exit::{self, Failure};
use crate::terminal;

/// Prints completions.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  flowlock completions bash > ~/.local/share/bash-completion/completions/flowlock"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Prints the completions of a shell.
pub(crate) fn completions(mut parser: clap::Command, args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parser, "flowlock", &mut script);
    terminal::print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}
