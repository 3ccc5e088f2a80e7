//! What may stand in a name.

use unicode_normalization::is_nfc;

use crate::store::misplaced;
use crate::text::{cut, escape, hidden};

/// The longest name, job, run id or namespace, in bytes of UTF-8.
pub const LONGEST_NAME: usize = 512;

/// Why a text cannot be a name, a job, a run id or a namespace.
///
/// The message has the text (escaped, cut to 80 characters), the problem and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid {what} \"{shown}\": {problem}; use 1 to {LONGEST_NAME} bytes of UTF-8 without control or invisible characters; the only blank allowed is the space, and not as the first or last character"
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
        Some(problem) => {
            let shown = cut(&escape(&misplaced(text)));
            Err(InvalidText { what, shown, problem })
        }
    }
}

fn problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("it is empty".into());
    }
    if text.len() > LONGEST_NAME {
        return Some(format!("it has {} bytes", text.len()));
    }
    // Most names are plain ASCII, for which everything else is known to be right.
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if let Some((at, bad, kind)) = text.char_indices().find_map(|(at, c)| Some((at, c, hidden(c)?))) {
        return Some(format!("{kind} U+{:04X} at byte {at}", u32::from(bad)));
    }
    if text.bytes().all(|byte| byte == b' ') {
        return Some("it has only spaces".into());
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        let where_it_is = if text.starts_with(' ') { "begins" } else { "ends" };
        return Some(format!("it {where_it_is} with a space, so it would look like another name"));
    }
    if !is_nfc(text) {
        return Some("it is not in Unicode normal form C, so it would look like another name".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_characters_of_every_kind_are_names() {
        for name in ["a", "a b", "a/b:c{d}*", "../../etc/passwd", "-rf", "é", "日本", "a.2026-11-24"] {
            assert_eq!(check("name", name), Ok(()), "{name}");
        }
        for name in [
            "a  b",
            "๑ ที่",
            "हिन्दी",
            "서울",
            "שלום",
            "🐘👍🏽",
            "a\u{e000}",
            "a\u{378}",
            "a\u{fffd}",
            "a\u{2801}",
        ] {
            assert_eq!(check("name", name), Ok(()), "{name}");
            assert_eq!(escape(name), name);
        }
    }

    #[test]
    fn nothing_that_cannot_be_seen_or_told_from_a_space_is_in_a_name_or_shown_as_it_is() {
        let ranges = [
            ("control character", vec!['\0'..='\u{1f}', '\u{7f}'..='\u{9f}']),
            (
                "blank",
                vec![
                    '\u{a0}'..='\u{a0}',
                    '\u{1680}'..='\u{1680}',
                    '\u{2000}'..='\u{200a}',
                    '\u{202f}'..='\u{202f}',
                    '\u{205f}'..='\u{205f}',
                    '\u{2800}'..='\u{2800}',
                    '\u{3000}'..='\u{3000}',
                ],
            ),
            ("line break", vec!['\u{2028}'..='\u{2029}']),
            (
                "formatting character",
                vec!['\u{600}'..='\u{605}', '\u{fff9}'..='\u{fffb}', '\u{13430}'..='\u{1343f}'],
            ),
            (
                "noncharacter",
                vec![
                    '\u{fdd0}'..='\u{fdef}',
                    '\u{fffe}'..='\u{ffff}',
                    '\u{1fffe}'..='\u{1ffff}',
                    '\u{10fffe}'..='\u{10ffff}',
                ],
            ),
            (
                "invisible character",
                vec![
                    '\u{ad}'..='\u{ad}',
                    '\u{34f}'..='\u{34f}',
                    '\u{61c}'..='\u{61c}',
                    '\u{115f}'..='\u{1160}',
                    '\u{17b4}'..='\u{17b5}',
                    '\u{180b}'..='\u{180f}',
                    '\u{200b}'..='\u{200f}',
                    '\u{202a}'..='\u{202e}',
                    '\u{2060}'..='\u{206f}',
                    '\u{3164}'..='\u{3164}',
                    '\u{fe00}'..='\u{fe0f}',
                    '\u{feff}'..='\u{feff}',
                    '\u{ffa0}'..='\u{ffa0}',
                    '\u{fff0}'..='\u{fff8}',
                    '\u{1bca0}'..='\u{1bca3}',
                    '\u{1d173}'..='\u{1d17a}',
                    '\u{e0000}'..='\u{e0fff}',
                ],
            ),
        ];
        for (kind, ranges) in ranges {
            for c in ranges.into_iter().flatten() {
                let (name, code) = (format!("a{c}b"), u32::from(c));
                let problem = check("name", &name).map_err(|error| error.problem);
                assert_eq!(problem, Err(format!("{kind} U+{code:04X} at byte 1")));
                assert!(!escape(&name).contains(c), "U+{code:04X}");
            }
        }
    }

    #[test]
    fn hidden_empty_long_and_decomposed_texts_are_refused_with_their_reason() {
        let said = |text: &str| check("name", text).unwrap_err().problem;
        assert_eq!(said(""), "it is empty");
        assert_eq!(said("  "), "it has only spaces");
        assert_eq!(said(" a"), "it begins with a space, so it would look like another name");
        assert_eq!(said("a "), "it ends with a space, so it would look like another name");
        assert_eq!(said("a\t"), "control character U+0009 at byte 1");
        assert_eq!(said("\u{3000}a"), "blank U+3000 at byte 0");
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
        assert!(message.chars().count() < 320 && !message.contains('\u{1b}'));
    }
}
