//! How text from users is shown.

use std::fmt::Write as _;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, NoncharacterCodePoint};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Names the kind of a character that changes how the text around it looks, or that is invisible or
/// looks like a space.
///
/// Unicode's own tables decide, so that no such character is missed. Private-use characters and
/// unassigned ones are displayed by a terminal in some way, and are kept.
pub(crate) fn hidden(c: char) -> Option<&'static str> {
    /// A pattern without a dot. Unicode counts it as a symbol, but it looks like a space.
    const BLANK_BRAILLE: char = '\u{2800}';
    if c.is_ascii() {
        return c.is_ascii_control().then_some("control character");
    }
    if CodePointSetData::new::<NoncharacterCodePoint>().contains(c) {
        return Some("noncharacter");
    }
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return Some("invisible character");
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control => Some("control character"),
        GeneralCategory::Format => Some("formatting character"),
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => Some("line break"),
        GeneralCategory::SpaceSeparator => Some("blank"),
        _ => (c == BLANK_BRAILLE).then_some("blank"),
    }
}

/// Makes user text safe for a terminal or a log line: hidden characters, and every blank except the
/// space, become `\x1b` or `\u{202e}`.
///
/// ```
/// assert_eq!(flowlock::escape("a\u{1b}[2Jb"), r"a\x1b[2Jb");
/// ```
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if hidden(c).is_some() && c.is_ascii() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if hidden(c).is_some() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Returns an argument of a command that a message suggests, so that it can be pasted into a shell: any
/// text stays one argument, and a text that begins with a dash is not taken for an option.
///
/// ```
/// assert_eq!(flowlock::shell_argument("etl.7"), "etl.7");
/// assert_eq!(flowlock::shell_argument("$(id)'s"), r"'$(id)'\''s'");
/// assert_eq!(flowlock::shell_argument("-rf"), "-- -rf");
/// ```
pub fn shell_argument(text: &str) -> String {
    // `=` at the beginning has a meaning in zsh, `~` in all shells.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@%:".contains(c);
    let options_end = if text.starts_with('-') { "-- " } else { "" };
    if !text.is_empty() && text.chars().all(is_plain) {
        return format!("{options_end}{text}");
    }
    format!("{options_end}'{}'", escape(text).replace('\'', r"'\''"))
}

/// Returns the beginning of any text for a message: at most 80 characters.
#[cfg(any(feature = "sqlite", feature = "redis"))]
pub(crate) fn excerpt(text: &str) -> String {
    // The text may be megabytes long; only what is shown is escaped.
    let beginning = text.char_indices().nth(LONGEST_SHOWN + 1).map_or(text, |(end, _)| &text[..end]);
    cut(&escape(beginning))
}

/// How much of a text is shown in a message, in characters.
const LONGEST_SHOWN: usize = 80;

/// Returns at most 80 characters of a text that is already escaped.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Formats a duration for a message.
pub(crate) fn show(duration: &std::time::Duration) -> String {
    if duration.as_millis() < 10_000 {
        return format!("{} ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell takes it as it is, as one argument.
    #[test]
    fn an_argument_is_one_argument_for_a_shell() {
        for name in [
            "etl.7",
            "run:a b",
            "it's",
            "$(touch x)",
            "`id`",
            "a;b",
            "a|b>c",
            "\"q\"",
            "~/x",
            "=ls",
            "-rf x",
            "--",
            "a\\b",
            "!1",
            "#x",
            "{a,b}",
            "*",
            "é",
            "\u{202f}",
            "",
        ] {
            let argument = shell_argument(name);
            let end_of_options = if name.starts_with('-') { "" } else { "-- " };
            let line = format!("set {end_of_options}{argument}; printf '%s\\n' $# \"$1\"");
            let told = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8(told.stdout).unwrap(), format!("1\n{}\n", escape(name)), "{name}");
        }
    }
}
