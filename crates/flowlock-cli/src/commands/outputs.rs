//! `flowlock outputs`: lists, creates and removes records.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use flowlock::step::Holders;
use flowlock::store::{Content, View};
use flowlock::{Creation, Name, Record, RecordState};

use crate::args::{DateFlags, Global, values};
use crate::context::{Context, Settings};
use crate::exit::{self, Failure};
use crate::json::{self, RecordJson};
use crate::request;
use crate::terminal::{self, JsonList, Reader, Screen, Table};

/// Lists, creates and removes records.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct OutputsArgs {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    list: ListArgs,
}

const EXAMPLES: &str = "\
Examples:
  flowlock outputs                          all records
  flowlock outputs 'sales.*'                those that match (quote the pattern)
  flowlock outputs create raw.2026-11-24    mark a name written, without a run
  flowlock outputs rm raw.2026-11-24        forget that it was written";

/// What to do with records.
#[derive(Debug, Subcommand)]
enum Subcommands {
    /// List what is written
    List(ListArgs),
    /// Mark names as written by hand
    Create(CreateArgs),
    /// Forget that names were written
    Rm(RmArgs),
}

/// Lists records.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only names that match: * stands for any text, ? for one character
    #[arg(value_name = "PATTERN", value_parser = values::text())]
    pattern: Option<String>,
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    json: bool,
}

/// Creates records.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The names; {date} and the like are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    names: Vec<String>,
    /// A note for readers, such as the path
    #[arg(long, value_name = "TEXT", value_parser = values::text())]
    note: Option<String>,
    /// How long they count as written [default: for ever]
    #[arg(long, value_name = "D", value_parser = values::age)]
    output_duration: Option<Duration>,
    /// Take the names away from runs that hold them first
    #[arg(long = "break")]
    break_holders: bool,
    #[command(flatten)]
    dates: DateFlags,
}

/// Removes records.
#[derive(Debug, Args)]
struct RmArgs {
    /// The names; {date} and the like are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    names: Vec<String>,
    /// Take the names away from runs that hold them first
    #[arg(long = "break")]
    break_holders: bool,
    #[command(flatten)]
    dates: DateFlags,
}

/// Lists records, or carries out the subcommand.
pub(crate) fn outputs(global: &Global, args: &OutputsArgs) -> Result<u8, Failure> {
    match &args.command {
        None => list(global, &args.list),
        Some(Subcommands::List(args)) => list(global, args),
        Some(Subcommands::Create(args)) => create(global, args),
        Some(Subcommands::Rm(args)) => rm(global, args),
    }
}

/// How many records are read at a time.
const PAGE: usize = 1_000;

/// How to find out what became of a step that got no answer.
const HOW_TO_LOOK: &str = "`flowlock outputs` shows what is recorded";

/// Lists the records that match.
fn list(global: &Global, args: &ListArgs) -> Result<u8, Failure> {
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
fn print_json(
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
fn print_table(
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

/// Returns whether `text` matches `pattern`, in which `*` stands for any text and `?` for one character.
fn matches(pattern: &str, text: &str) -> bool {
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

/// Marks names as written.
fn create(global: &Global, args: &CreateArgs) -> Result<u8, Failure> {
    request::check_note(args.note.as_deref())?;
    let (context, names) = opened(global, &args.names, &args.dates)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let creation = Creation {
        record_life: args.output_duration,
        note: args.note.clone(),
        holders: holders(args.break_holders),
    };
    context.flowlock.create(&names, creation).map_err(|error| context.unknown(error, HOW_TO_LOOK))?;
    Ok(exit::OK)
}

/// Forgets that names were written. If one was not, that is reported, but is not a failure.
fn rm(global: &Global, args: &RmArgs) -> Result<u8, Failure> {
    let (context, names) = opened(global, &args.names, &args.dates)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let removed = context.flowlock.remove(&names, holders(args.break_holders));
    let removed = removed.map_err(|error| context.unknown(error, HOW_TO_LOOK))?;
    if !removed && !global.quiet {
        terminal::say(&format!("there was no record to remove ({})", context.place));
    }
    Ok(exit::OK)
}

fn holders(break_them: bool) -> Holders {
    if break_them { Holders::Break } else { Holders::Respect }
}

/// Opens the store, and fills the dates into the names.
pub(super) fn opened(
    global: &Global,
    names: &[String],
    dates: &DateFlags,
) -> Result<(Context, Vec<String>), Failure> {
    let settings = Settings::read(global)?;
    let names = request::fill(names, &settings.dates(dates)?)?;
    Ok((settings.open()?, names))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use flowlock::Flowlock;

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
