//! `flowlock outputs`: records listed, created and removed.

use flowlock::step::Holders;
use flowlock::store::{Content, View};
use flowlock::{Creation, Name, Record, RecordState};
use serde::Serialize;

use crate::args::{DateFlags, Global, OutputsCreate, OutputsList, OutputsRm};
use crate::door::{Door, Settings};
use crate::exit::{self, Failure};
use crate::json::{self, RecordJson};
use crate::request;
use crate::terminal::{self, Screen, Table};
use crate::times;

/// Records read at a time.
const PAGE: usize = 1_000;

#[derive(Serialize)]
struct RecordsJson {
    version: u32,
    records: Vec<RecordJson>,
}

/// Lists the records that match.
pub(crate) fn list(global: &Global, args: &OutputsList) -> Result<u8, Failure> {
    let door = Door::open(global)?;
    let pattern = args.pattern.as_deref().unwrap_or("*");
    let records = matching(&door, pattern)?;
    if args.json {
        let records = records.iter().map(RecordJson::from).collect();
        terminal::print_json(&RecordsJson { version: json::VERSION, records })?;
    } else if records.is_empty() {
        terminal::say(&format!("no output matches {} ({})", terminal::shown(pattern), door.place));
    } else {
        terminal::print(&table(&records).text(Screen::detect()))?;
    }
    Ok(exit::OK)
}

fn matching(door: &Door, pattern: &str) -> Result<Vec<Record>, Failure> {
    let prefix = &pattern[..pattern.find(['*', '?']).unwrap_or(pattern.len())];
    let mut found = Vec::new();
    let mut after: Option<Name> = None;
    loop {
        let view = View::Records { prefix: prefix.to_owned(), after, limit: PAGE };
        let page = door.flowlock.view(&view).map_err(|error| door.failure(error))?;
        let Content::Records(records, next) = page.content else {
            return Ok(found);
        };
        found.extend(records.into_iter().filter(|record| matches(pattern, record.name.as_str())));
        if next.is_none() {
            return Ok(found);
        }
        after = next;
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text and `?` for one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and how much of the text it covers so far.
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

fn table(records: &[Record]) -> Table {
    let mut table = Table::new(&["NAME", "WRITTEN", "BY RUN", "VERSION", "EXPIRES", "NOTE"]);
    for record in records {
        let written = times::local(record.written_at_us);
        let state = if record.state == RecordState::Incomplete { " (incomplete)" } else { "" };
        table.row(&[
            &format!("{}{state}", record.name.as_str()),
            &written,
            record.run.as_str(),
            &record.version.to_string(),
            &record.expires_at_us.map_or_else(|| "never".to_owned(), times::local),
            record.note.as_deref().unwrap_or_default(),
        ]);
    }
    table
}

/// Marks names as written.
pub(crate) fn create(global: &Global, args: &OutputsCreate) -> Result<u8, Failure> {
    let (door, names) = opened(global, &args.names, &args.dates)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let creation = Creation {
        record_life: args.output_duration,
        note: args.note.clone(),
        holders: holders(args.break_holders),
    };
    door.flowlock.create(&names, creation).map_err(|error| door.failure(error))?;
    Ok(exit::OK)
}

/// Forgets that names were written. That one was not is worth a word, and no failure.
pub(crate) fn rm(global: &Global, args: &OutputsRm) -> Result<u8, Failure> {
    let (door, names) = opened(global, &args.names, &args.dates)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let removed =
        door.flowlock.remove(&names, holders(args.break_holders)).map_err(|error| door.failure(error))?;
    if !removed && !global.quiet {
        terminal::say(&format!("there was no record to remove ({})", door.place));
    }
    Ok(exit::OK)
}

fn holders(break_them: bool) -> Holders {
    if break_them { Holders::Break } else { Holders::Respect }
}

/// The store, and the names with their dates filled in.
pub(super) fn opened(
    global: &Global,
    names: &[String],
    dates: &DateFlags,
) -> Result<(Door, Vec<String>), Failure> {
    let settings = Settings::read(global)?;
    let names = request::fill(names, &settings.dates(dates)?)?;
    Ok((settings.open()?, names))
}

#[cfg(test)]
mod tests {
    use super::matches;

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
