//! The terminal: what may be written to it, and how.
//!
//! Data goes to standard output, messages to standard error. All text from a user, a store or another
//! program passes through [`shown`] first, so no name can move the cursor or hide a part of itself.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::outlet;

pub(crate) use flowlock::escape as shown;

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

/// Prints one JSON value and a newline: indented and without hidden characters for people, on one line
/// for programs.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_json(&mut out, value)?;
    out.flush()
}

fn write_json(mut out: impl io::Write, value: &impl Serialize) -> io::Result<()> {
    match Reader::detect() {
        Reader::Person => out.write_all(escaped_json(&serde_json::to_string_pretty(value)?).as_bytes())?,
        Reader::Program => serde_json::to_writer(&mut out, value)?,
    }
    out.write_all(b"\n")
}

/// Returns the same value with every character that could move the cursor or hide written as `\u202e`.
/// Such characters occur only in its texts, where that means the same; only newlines occur between them.
fn escaped_json(text: &str) -> String {
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

/// Columns under a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// The minimum widths of the columns.
    widths: Vec<usize>,
    /// Whether the heading was printed.
    has_begun: bool,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()],
            widths: vec![0; headings.len()],
            has_begun: false,
        }
    }

    /// Adds a row. Makes its texts safe.
    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| shown(cell)).collect());
    }

    /// Returns the whole table, each line with its newline.
    pub(crate) fn text(mut self, screen: Screen) -> String {
        self.take(screen)
    }

    /// Returns the rows that were added since the last call, with the heading the first time; columns
    /// never get narrower.
    pub(crate) fn take(&mut self, screen: Screen) -> String {
        let rows = std::mem::take(&mut self.rows);
        for (column, width) in self.widths.iter_mut().enumerate() {
            *width = rows.iter().map(|row| row[column].width()).max().unwrap_or(0).max(*width);
        }
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
            let line = line.trim_end();
            let is_heading = !std::mem::replace(&mut self.has_begun, true);
            text.push_str(&if is_heading { emphasized(line, screen) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

/// Returns bold text, where that is possible.
pub(crate) fn emphasized(text: &str, screen: Screen) -> String {
    if screen.styled { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
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
mod tests {
    use super::*;

    const PLAIN: Screen = Screen { live: false, styled: false };

    #[test]
    fn columns_stand_under_their_headings_whatever_the_script() {
        let mut table = Table::new(&["NAME", "JOB"]);
        table.row(&["日本", "a"]);
        table.row(&["sales.clean", ""]);
        assert_eq!(table.text(PLAIN), "NAME         JOB\n日本         a\nsales.clean\n");
    }

    #[test]
    fn a_table_that_is_printed_in_parts_keeps_its_columns() {
        let mut table = Table::new(&["NAME", "JOB"]);
        table.row(&["sales", "a"]);
        assert_eq!(table.take(PLAIN), "NAME   JOB\nsales  a\n");
        table.row(&["b", "c"]);
        assert_eq!(table.take(PLAIN), "b      c\n");
        table.row(&["sales.clean", "d"]);
        assert_eq!(table.take(PLAIN), "sales.clean  d\n");
        assert_eq!(table.take(PLAIN), "");
    }

    #[test]
    fn a_list_written_as_it_comes_is_the_json_of_the_whole() {
        #[derive(Serialize)]
        struct Whole<'a> {
            version: u32,
            names: &'a [serde_json::Value],
        }
        let values = [serde_json::json!({ "name": "a", "list": [1, 2] }), serde_json::json!("b")];
        for names in [&values[..0], &values[..1], &values[..]] {
            let parts = |reader| {
                let mut out = Vec::new();
                let mut list = JsonList::begin(&mut out, reader, 1, "names").unwrap();
                for name in names {
                    list.extend([name]).unwrap();
                }
                list.end().unwrap();
                String::from_utf8(out).unwrap()
            };
            let whole = Whole { version: 1, names };
            assert_eq!(parts(Reader::Program), serde_json::to_string(&whole).unwrap() + "\n");
            assert_eq!(parts(Reader::Person), serde_json::to_string_pretty(&whole).unwrap() + "\n");
        }
    }

    #[test]
    fn no_name_reaches_the_terminal_unescaped() {
        let mut table = Table::new(&["NAME"]);
        table.row(&["\u{1b}]0;owned\u{7}\r\u{202e}x\u{200b}"]);
        assert_eq!(table.text(PLAIN), "NAME\n\\x1b]0;owned\\x07\\r\\u{202e}x\\u{200b}\n");
    }

    #[test]
    fn json_for_people_means_the_same_and_hides_nothing() {
        let text = "\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{200b}\u{e0041}é日\\\"\n\t";
        let pretty = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = escaped_json(&pretty);
        assert_eq!(
            escaped,
            "[\n  \"\\u001b[2J\\u007f\\u009b\\u202e\\u200b\\udb40\\udc41é日\\\\\\\"\\n\\t\"\n]"
        );
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
    }

    #[test]
    fn headings_are_emphasized_only_where_that_is_wanted() {
        let table = Table::new(&["NAME"]);
        assert_eq!(table.clone().text(Screen { live: false, styled: true }), "\x1b[1mNAME\x1b[0m\n");
        assert_eq!(table.text(PLAIN), "NAME\n");
    }

    #[test]
    fn a_live_line_fits_its_terminal() {
        assert_eq!(cut("waiting for a", 80), "waiting for a");
        assert_eq!(cut("waiting for sales", 9), "waiting …");
        assert_eq!(cut("日本日本", 5), "日本…");
    }
}
