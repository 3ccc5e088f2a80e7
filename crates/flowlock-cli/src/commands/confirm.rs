//! Asks before something that cannot be undone.

use std::io::{BufRead as _, IsTerminal as _};

use crate::exit::Failure;
use crate::terminal;

/// Shows what it is about and asks, on the terminal; without a terminal, `command` needs `--yes`.
pub(super) fn confirmed(command: &str, about: &[String], question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let problem =
            format!("{command} asks before it acts, but standard input is not a terminal; add --yes");
        return Err(Failure::usage(problem));
    }
    for line in about {
        terminal::add(line);
    }
    terminal::ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
