//! The terminal: what may be written to it, and how.
//!
//! Data goes to standard output, messages to standard error. All text from a user, a store or another
//! program passes through [`shown`] first, so no name can move the cursor or hide a part of itself.

mod json;
mod table;

use std::io::{self, IsTerminal as _, Write as _};

pub(crate) use flowlock::escape as shown;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use self::json::write_json;
pub(crate) use self::json::{JsonList, Reader, print_json};
pub(crate) use self::table::{Table, emphasized};
use crate::outlet;

/// What the two streams can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Whether standard error is a terminal on which a line can be rewritten in place.
    pub(crate) live: bool,
    /// Whether standard output may have bold text.
    pub(crate) styled: bool,
}

impl Screen {
    /// Detects it from the streams and the environment: `NO_COLOR`, `TERM=dumb` and pipes mean plain
    /// text.
    pub(crate) fn detect() -> Self {
        let capable = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            live: capable && io::stderr().is_terminal(),
            styled: capable && colour && io::stdout().is_terminal(),
        }
    }
}

/// Prints data.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a result for which a caller waits, while this process handles signals; [`outlet::deliver`]
/// says how long it tries.
pub(crate) fn deliver(text: &str) -> io::Result<()> {
    outlet::deliver(io::stdout(), text.into())
}

/// Prints one JSON value in the same way.
pub(crate) fn deliver_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = Vec::new();
    write_json(&mut text, value)?;
    outlet::deliver(io::stdout(), text)
}

/// Prints a message. Does not wait long for a reader: see [`outlet`].
pub(crate) fn say(text: &str) {
    outlet::say(format!("flowlock: {text}\n"));
}

/// Prints that a result was not delivered. What was done remains done, so the exit code does not change.
pub(crate) fn say_not_told(what: &str, place: &str, error: &io::Error) {
    say(&format!("{what}; {place} could not be written: {error}"));
}

/// Prints a further line of a message.
pub(crate) fn add(line: &str) {
    outlet::say(format!("{line}\n"));
}

/// Prints a question; the answer follows on the same line.
pub(crate) fn ask(question: &str) {
    outlet::say(question);
}

/// One line of standard error that is rewritten in place, and removed afterwards.
#[derive(Debug, Default)]
pub(crate) struct LiveLine {
    drawn: bool,
}

impl LiveLine {
    /// Shows `text`, cut to the width of the terminal.
    pub(crate) fn draw(&mut self, text: &str) {
        let width =
            terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
        outlet::say_unless_behind(format!("\r\x1b[2K{}", cut(text, width.saturating_sub(1))));
        self.drawn = true;
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            outlet::say("\r\x1b[2K");
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Returns at most `width` columns of `text`.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + c.to_string().width() >= width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests;
