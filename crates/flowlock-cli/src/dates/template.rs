//! The small language between the braces.

use jiff::{Span, ToSpan as _, ZonedDateTime};

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stands for itself.
    Text(String),
    /// Stands for one date or several.
    Dates(Stretch),
}

/// A word with the moments it covers: one, or a range with both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    word: Word,
    from: Offset,
    to: Offset,
    format: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Date,
    Hour,
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Offset {
    amount: i64,
    unit: Option<char>,
}

const KNOWN: &str = "known are {date}, {hour} and {month}, as in {date-1d}, {date-7d..date-1d} or {date:YYYYMMDD}; {{ is a brace";

/// Splits `text` at its braces.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
        } else if brace == "}" {
            return Err("a } without its {; write }} for a brace".to_owned());
        } else {
            let (inside, after) = rest.split_once('}').ok_or("a { without its }; write {{ for a brace")?;
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Dates(stretch(inside)?));
            rest = after;
        }
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

fn stretch(inside: &str) -> Result<Stretch, String> {
    let (expression, format) = inside.split_once(':').map_or((inside, None), |(e, f)| (e, Some(f)));
    let (from, to) = expression.split_once("..").unwrap_or((expression, expression));
    let ((word, from), (same_word, to)) = (point(from)?, point(to)?);
    if word != same_word {
        return Err(format!("the two ends of {{{}}} differ in their word", crate::terminal::shown(inside)));
    }
    let format = format.map(|format| checked_format(word, format)).transpose()?;
    Ok(Stretch { word, from, to, format })
}

/// Parses `date`, `date-1d`, `month+2m`.
fn point(text: &str) -> Result<(Word, Offset), String> {
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (word, offset) = text.split_at(end);
    let word = match word {
        "date" => Word::Date,
        "hour" => Word::Hour,
        "month" => Word::Month,
        _ => return Err(format!("unknown {{{}}}; {KNOWN}", crate::terminal::shown(word))),
    };
    if offset.is_empty() {
        return Ok((word, Offset::default()));
    }
    let bad = || {
        let shown = crate::terminal::shown(offset);
        format!("\"{shown}\" is not an offset; write -1 or +1 and h, d, w, m (month) or y, as in {{date-1d}}")
    };
    let unit = offset.chars().last().filter(|unit| "hdwmy".contains(*unit)).ok_or_else(bad)?;
    let digits = &offset[1..offset.len() - 1];
    let amount: i64 = digits
        .parse()
        .ok()
        .filter(|_| digits.len() <= 4 && !digits.starts_with(['+', '-']))
        .ok_or_else(bad)?;
    let amount = if offset.starts_with('-') { -amount } else { amount };
    Ok((word, Offset { amount, unit: Some(unit) }))
}

/// Checks a format: letters must be YYYY, YY, MM, DD or HH, no finer than the word; anything else stands
/// for itself.
fn checked_format(word: Word, format: &str) -> Result<String, String> {
    let left =
        ["YYYY", "YY", "MM", "DD", "HH"].iter().fold(format.to_owned(), |text, part| text.replace(part, ""));
    if format.is_empty() || left.contains(|c: char| c.is_alphabetic() || c == '{') {
        let shown = crate::terminal::shown(format);
        return Err(format!(
            "\"{shown}\" is not a format; it is made of YYYY, YY, MM, DD, HH and punctuation"
        ));
    }
    match word {
        Word::Month if format.contains("DD") => Err("a month has no DD; write {date:…}".to_owned()),
        Word::Date | Word::Month if format.contains("HH") => Err("only {hour:…} has HH".to_owned()),
        _ => Ok(format.to_owned()),
    }
}

impl Stretch {
    /// Returns one text for each moment from the first to the last, at most `limit`.
    pub(super) fn texts(&self, moment: &ZonedDateTime, limit: usize) -> Result<Vec<String>, String> {
        let far = |_| "it reaches beyond the calendar".to_owned();
        let first = self.word.start(&moment.checked_add(self.from.span()).map_err(far)?).map_err(far)?;
        let last = self.word.start(&moment.checked_add(self.to.span()).map_err(far)?).map_err(far)?;
        if first.year() < 1 {
            return Err("it reaches beyond the calendar".to_owned());
        }
        if first > last {
            return Err("its range ends before it begins".to_owned());
        }
        let mut texts = Vec::new();
        for step in 0.. {
            // A day whose first hour was skipped begins at one o'clock, and a change of clocks by half
            // an hour moves all later hours: so the beginning of each counts.
            let at = first
                .checked_add(self.word.step() * step)
                .and_then(|at| self.word.start(&at))
                .map_err(far)?;
            if at > last {
                break;
            }
            if texts.len() == limit {
                return Err(format!("it stands for more than {limit} names"));
            }
            let text = self.text(&at);
            // An hour that a change of clocks repeats is one name, and a skipped day has no name.
            if texts.last() != Some(&text) {
                texts.push(text);
            }
        }
        Ok(texts)
    }

    fn text(&self, at: &ZonedDateTime) -> String {
        let format = self.format.as_deref().unwrap_or(match self.word {
            Word::Date => "YYYY-MM-DD",
            Word::Hour => "YYYY-MM-DDTHH",
            Word::Month => "YYYY-MM",
        });
        let year = format!("{:04}", at.year());
        format
            .replace("YYYY", &year)
            .replace("YY", &year[year.len() - 2..])
            .replace("MM", &format!("{:02}", at.month()))
            .replace("DD", &format!("{:02}", at.day()))
            .replace("HH", &format!("{:02}", at.hour()))
    }
}

impl Word {
    /// Returns the beginning of the day, hour or month that contains a moment.
    fn start(self, at: &ZonedDateTime) -> Result<ZonedDateTime, jiff::Error> {
        match self {
            Self::Date => at.start_of_day(),
            Self::Hour => at.with().minute(0).second(0).subsec_nanosecond(0).build(),
            Self::Month => at.first_of_month()?.start_of_day(),
        }
    }

    fn step(self) -> Span {
        match self {
            Self::Date => 1.day(),
            Self::Hour => 1.hour(),
            Self::Month => 1.month(),
        }
    }
}

impl Offset {
    fn span(self) -> Span {
        match self.unit {
            Some('h') => self.amount.hours(),
            Some('w') => self.amount.weeks(),
            Some('m') => self.amount.months(),
            Some('y') => self.amount.years(),
            _ => self.amount.days(),
        }
    }
}
