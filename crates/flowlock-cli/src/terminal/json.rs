//! JSON for people and for programs.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use flowlock::escape as shown;
use serde::Serialize;

/// Prints one JSON value and a newline: indented and without hidden characters for people, on one line
/// for programs.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_json(&mut out, value)?;
    out.flush()
}

pub(super) fn write_json(mut out: impl io::Write, value: &impl Serialize) -> io::Result<()> {
    match Reader::detect() {
        Reader::Person => out.write_all(escaped_json(&serde_json::to_string_pretty(value)?).as_bytes())?,
        Reader::Program => serde_json::to_writer(&mut out, value)?,
    }
    out.write_all(b"\n")
}

/// Returns the same value with every character that could move the cursor or hide written as `\u202e`.
/// Such characters occur only in its texts, where that means the same; only newlines occur between them.
pub(super) fn escaped_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || shown(&c.to_string()) == c.to_string() {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// On a terminal.
    Person,
    /// Of a file or a pipe.
    Program,
}

impl Reader {
    /// Detects the reader of standard output.
    pub(crate) fn detect() -> Self {
        if io::stdout().is_terminal() { Self::Person } else { Self::Program }
    }
}

/// A JSON object that ends with a list, which is written piece by piece, exactly as [`print_json`] would
/// print the whole.
#[derive(Debug)]
pub(crate) struct JsonList<W> {
    out: W,
    /// Whether it is indented, and has no hidden characters.
    reader: Reader,
    any: bool,
}

impl<W: io::Write> JsonList<W> {
    /// Begins the object with its version, and the list under `key`.
    pub(crate) fn begin(mut out: W, reader: Reader, version: u32, key: &str) -> io::Result<Self> {
        match reader {
            Reader::Person => write!(out, "{{\n  \"version\": {version},\n  \"{key}\": [")?,
            Reader::Program => write!(out, "{{\"version\":{version},\"{key}\":[")?,
        }
        Ok(Self { out, reader, any: false })
    }

    /// Writes the next values.
    pub(crate) fn extend(&mut self, values: impl IntoIterator<Item = impl Serialize>) -> io::Result<()> {
        for value in values {
            if std::mem::replace(&mut self.any, true) {
                self.out.write_all(b",")?;
            }
            if self.reader == Reader::Person {
                let text = escaped_json(&serde_json::to_string_pretty(&value)?);
                write!(self.out, "\n    {}", text.replace('\n', "\n    "))?;
            } else {
                serde_json::to_writer(&mut self.out, &value)?;
            }
        }
        self.out.flush()
    }

    /// Ends the list and the object.
    pub(crate) fn end(mut self) -> io::Result<()> {
        let end: &[u8] = match (self.reader, self.any) {
            (Reader::Person, true) => b"\n  ]\n}\n",
            (Reader::Person, false) => b"]\n}\n",
            (Reader::Program, _) => b"]}\n",
        };
        self.out.write_all(end)?;
        self.out.flush()
    }
}
