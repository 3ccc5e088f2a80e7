//! `flowlock outputs list`: the records that match, page by page.

use std::io::Write;

use flowlock::store::{Content, View};
use flowlock::{Name, Record, RecordState};

use super::ListArgs;
use crate::args::Global;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::json::{self, RecordJson};
use crate::terminal::{self, JsonList, Reader, Screen, Table};

/// How many records are read at a time.
const PAGE: usize = 1_000;

/// Lists the records that match.
pub(super) fn list(global: &Global, args: &ListArgs) -> Result<u8, Failure> {
    let context = Context::open(global)?;
    let pattern = args.pattern.as_deref().unwrap_or("*");
    let pages = Matching { context: &context, pattern, after: None, is_over: false };
    let any = if args.json {
        print_json(pages, std::io::stdout().lock(), Reader::detect())?
    } else {
        print_table(pages, std::io::stdout().lock(), Screen::detect())?
    };
    if !any && !args.json {
        terminal::say(&format!("no output matches {} ({})", terminal::shown(pattern), context.place));
    }
    Ok(exit::OK)
}

/// The records that match a pattern, by pages: a store may have more than fit into memory.
struct Matching<'a> {
    context: &'a Context,
    pattern: &'a str,
    after: Option<Name>,
    is_over: bool,
}

impl Matching<'_> {
    fn next_page(&mut self) -> Result<Vec<Record>, Failure> {
        let pattern = self.pattern;
        let prefix = pattern[..pattern.find(['*', '?']).unwrap_or(pattern.len())].to_owned();
        let view = View::Records { prefix, after: self.after.take(), limit: PAGE };
        let page = self.context.flowlock.view(&view).map_err(|error| self.context.failure(error))?;
        let Content::Records(mut records, next) = page.content else {
            self.is_over = true;
            return Ok(Vec::new());
        };
        self.is_over = next.is_none();
        self.after = next;
        records.retain(|record| matches(pattern, record.name.as_str()));
        Ok(records)
    }
}

impl Iterator for Matching<'_> {
    type Item = Result<Vec<Record>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.is_over).then(|| self.next_page().inspect_err(|_| self.is_over = true))
    }
}

/// Prints each page before the next is read; returns whether there was a record.
pub(super) fn print_json(
    pages: impl Iterator<Item = Result<Vec<Record>, Failure>>,
    out: impl Write,
    reader: Reader,
) -> Result<bool, Failure> {
    let (mut list, mut any) = (None, false);
    let mut out = Some(out);
    for page in pages {
        let page = page?;
        // If the store does not answer at all, nothing that looks like JSON is printed.
        if let Some(out) = out.take() {
            list = Some(JsonList::begin(out, reader, json::VERSION, "records")?);
        }
        any |= !page.is_empty();
        list.as_mut().map_or(Ok(()), |list| list.extend(page.iter().map(RecordJson::from)))?;
    }
    list.map_or(Ok(()), JsonList::end)?;
    Ok(any)
}

/// The same as a table, whose columns grow as needed.
pub(super) fn print_table(
    pages: impl Iterator<Item = Result<Vec<Record>, Failure>>,
    mut out: impl Write,
    screen: Screen,
) -> Result<bool, Failure> {
    let mut table = Table::new(&["NAME", "WRITTEN", "BY RUN", "VERSION", "EXPIRES", "NOTE"]);
    let mut any = false;
    for page in pages {
        let page = page?;
        for record in &page {
            add(&mut table, record);
        }
        any |= !page.is_empty();
        if any {
            out.write_all(table.take(screen).as_bytes())?;
            out.flush()?;
        }
    }
    Ok(any)
}

fn add(table: &mut Table, record: &Record) {
    let written = flowlock::shown_time(record.written_at_us);
    let state = if record.state == RecordState::Incomplete { " (incomplete)" } else { "" };
    table.row(&[
        &format!("{}{state}", record.name.as_str()),
        &written,
        record.run.as_str(),
        &record.version.to_string(),
        &record.expires_at_us.map_or_else(|| "never".to_owned(), flowlock::shown_time),
        record.note.as_deref().unwrap_or_default(),
    ]);
}

/// Returns whether `text` matches `pattern`, in which `*` stands for any text and `?` for one character.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // After the last star, and how much of the text it covers so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((behind, covered)) = star else {
                    return false;
                };
                star = Some((behind, covered + 1));
                (p, t) = (behind, covered + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use flowlock::{Creation, Flowlock};

    use super::*;

    /// Only counts what is written.
    struct Counted<'a>(&'a Cell<usize>);

    impl Write for Counted<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.set(self.0.get() + bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn some_record() -> Record {
        let flowlock = Flowlock::open("memory:").unwrap();
        flowlock.create(&["a"], Creation::default()).unwrap();
        let seen = flowlock.names(&[Name::parse("a").unwrap()]).unwrap();
        seen[0].record.clone().unwrap()
    }

    /// Pages without end, as far as this test goes: each must find the one before it printed.
    fn pages<'a>(
        record: &'a Record,
        written: &'a Cell<usize>,
    ) -> impl Iterator<Item = Result<Vec<Record>, Failure>> + 'a {
        (0..1_000).map(|number| {
            assert!(
                number == 0 || written.take() > 0,
                "page {number} is asked for before the last is printed"
            );
            Ok(vec![record.clone(); 10])
        })
    }

    #[test]
    fn a_store_with_names_without_end_is_printed_page_by_page() {
        let (record, written) = (some_record(), Cell::new(0));
        for reader in [Reader::Person, Reader::Program] {
            assert!(print_json(pages(&record, &written), Counted(&written), reader).unwrap());
        }
        let screen = Screen { live: false, styled: false };
        assert!(print_table(pages(&record, &written), Counted(&written), screen).unwrap());
    }

    #[test]
    fn stars_stand_for_any_text_and_question_marks_for_one_character() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("a*c", "abbc"),
            ("*b*", "abc"),
            ("?", "é"),
            ("a**b", "ab"),
            ("*aab", "aaaab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", "ab"), ("?", ""), ("a*c", "ab"), ("*b", "abc"), ("[a]", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
