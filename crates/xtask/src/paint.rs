//! Colour on a terminal, plain text under `NO_COLOR`, `TERM=dumb` or in a pipe (anstream decides).

use anstyle::{AnsiColor, Style};

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less: commands, times.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Good news.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Bad news.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();

/// A line that opens a part of the output.
pub(crate) fn heading(text: &str) {
    anstream::println!("\n{BOLD}── {text}{BOLD:#}");
}

/// The last line of a command that did not work.
pub(crate) fn failure(text: &str) {
    anstream::eprintln!("\n{RED}failed:{RED:#} {text}");
}
