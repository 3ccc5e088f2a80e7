//! What may stand in a name, and how user text is shown.

use std::fmt::Write as _;

use unicode_normalization::is_nfc;

/// The longest name, job, run id or namespace, in bytes of UTF-8.
pub const LONGEST_NAME: usize = 512;

/// Why a text cannot be a name, a job, a run id or a namespace.
///
/// The message names what was given (escaped, cut to 80 characters), the problem and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid {what} \"{shown}\": {problem}; use 1 to {LONGEST_NAME} bytes of UTF-8 without control, zero-width or bidirectional characters"
)]
pub struct InvalidText {
    /// What it should have been: `name`, `job`, `run id` or `namespace`.
    pub what: &'static str,
    /// The text, escaped and cut.
    pub shown: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Checks `text` against the one rule for names, jobs, run ids and namespaces.
pub(crate) fn check(what: &'static str, text: &str) -> Result<(), InvalidText> {
    match problem(text) {
        None => Ok(()),
        Some(problem) => Err(InvalidText { what, shown: cut(&escape(text)), problem }),
    }
}

fn problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("it is empty".into());
    }
    if text.len() > LONGEST_NAME {
        return Some(format!("it has {} bytes", text.len()));
    }
    // Most names are plain ASCII, about which all else is known.
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if text.chars().all(char::is_whitespace) {
        return Some("it has only spaces".into());
    }
    if let Some((at, bad)) = text.char_indices().find(|&(_, c)| is_hidden(c)) {
        let kind = if bad.is_control() { "control" } else { "invisible" };
        return Some(format!("{kind} character U+{:04X} at byte {at}", u32::from(bad)));
    }
    if !is_nfc(text) {
        return Some("it is not in Unicode normal form C, so it would look like another name".into());
    }
    None
}

/// Characters that change how the text around them looks, or that cannot be seen at all.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Makes user text safe for a terminal or a log line: hidden characters become `\x1b` or `\u{202e}`.
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
            c if is_hidden(c) && u32::from(c) < 0x80 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// At most 80 characters of an already escaped text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_characters_of_every_kind_are_names() {
        for name in ["a", "a b", "a/b:c{d}*", "../../etc/passwd", "-rf", "é", "日本", "a.2026-11-24"] {
            assert_eq!(check("name", name), Ok(()), "{name}");
        }
    }

    #[test]
    fn hidden_empty_long_and_decomposed_texts_are_refused_with_their_reason() {
        let said = |text: &str| check("name", text).unwrap_err().problem;
        assert_eq!(said(""), "it is empty");
        assert_eq!(said("  "), "it has only spaces");
        assert_eq!(said(&"x".repeat(513)), "it has 513 bytes");
        assert_eq!(said("ab\u{1b}"), "control character U+001B at byte 2");
        assert_eq!(said("\u{202e}a"), "invisible character U+202E at byte 0");
        assert_eq!(said("a\u{feff}"), "invisible character U+FEFF at byte 1");
        assert_eq!(
            said("e\u{301}"),
            "it is not in Unicode normal form C, so it would look like another name"
        );
    }

    #[test]
    fn the_message_shows_no_escape_and_at_most_eighty_characters() {
        let message = check("name", &format!("\u{1b}{}", "y".repeat(600))).unwrap_err().to_string();
        assert!(message.starts_with(r#"invalid name "\x1byyy"#), "{message}");
        assert!(message.chars().count() < 260 && !message.contains('\u{1b}'));
    }
}
