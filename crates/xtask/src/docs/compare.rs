//! What a page shows against what was printed. What differs from reader to reader (times, run numbers, process ids, the
//! home folder, the width of a column) may be shown as it once was; for the rest, `...` alone on a line stands for any
//! lines and `[..]` within a line for any text.

use std::sync::LazyLock;

use regex::Regex;
use snapbox::report::Palette;
use snapbox::{Assert, IntoData as _};

/// What differs from reader to reader, and what both sides of a comparison have in its place.
const DIFFERS: [(&str, &str); 7] = [
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:\d\d|Z)", "<time>"),
    (r"\.\d{9,15}\b", ".<number>"),
    (r"\b\d{16,17}\b", "<version>"),
    (r", [^,() ]+, pid \d+, user [^,() ]+", ", <host, pid, user>"),
    (r"lease left \d+ s", "lease left <time>"),
    (r"user id \d+", "user id <number>"),
    (r" {2,}", "  "),
];

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    DIFFERS.iter().filter_map(|(pattern, stand_in)| Some((Regex::new(pattern).ok()?, *stand_in))).collect()
});

/// Whether the output is as shown; otherwise the lines that differ.
pub(super) fn matches(shown: &[String], output: &str) -> Result<(), String> {
    let alike = |lines: &mut dyn Iterator<Item = &str>| lines.map(settled).collect::<Vec<_>>().join("\n");
    let shown = alike(&mut shown.iter().map(String::as_str));
    let printed = alike(&mut output.lines());
    let compared = Assert::new().palette(Palette::plain()).normalize_paths(false).try_eq(
        Some(&"what was printed"),
        printed.into_data(),
        shown.into_data(),
    );
    compared.map_err(|difference| difference.to_string())
}

fn settled(line: &str) -> String {
    let line = line.trim_end().to_owned();
    RULES.iter().fold(line, |line, (pattern, stand_in)| pattern.replace_all(&line, *stand_in).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(shown: &[&str], printed: &str) -> bool {
        let shown: Vec<String> = shown.iter().map(|line| (*line).to_owned()).collect();
        matches(&shown, printed).is_ok()
    }

    #[test]
    fn shown_output_must_be_the_whole_output() {
        assert!(same(&["a", "b"], "a\nb\n"));
        assert!(!same(&["a"], "a\nb\n"));
        assert!(!same(&["a", "b"], "a\n"));
        assert!(!same(&[], "a\n"));
        assert!(same(&[], ""));
    }

    #[test]
    fn holes_stand_for_what_differs_from_reader_to_reader() {
        assert!(same(&["held by pid [..] for [..] s"], "held by pid 17 for 3 s\n"));
        assert!(!same(&["held by pid [..] for [..] s"], "held by pid 17 for 3 min\n"));
        assert!(same(&["first", "...", "last"], "first\nx\ny\nlast\n"));
        assert!(same(&["first", "...", "last"], "first\nlast\n"));
        assert!(!same(&["first", "...", "last"], "first\nx\n"));
    }

    #[test]
    fn what_differs_from_reader_to_reader_may_be_shown_as_it_once_was() {
        assert_eq!(RULES.len(), DIFFERS.len());
        assert!(same(
            &["sales  2026-11-24 03:02:23 +00:00  load.168829556513187  1795489343078093  never"],
            "sales  2027-01-01 00:00:00 +00:00  load.17882955651318    1795489343078999  never\n"
        ));
        assert!(same(
            &["held by load (run load.168829556513187, ci-3, pid 17, user you, lease left 60 s)"],
            "held by load (run load.118829556513187, vm, pid 4711, user root, lease left 59 s)\n"
        ));
        assert!(!same(&["at 2026-11-24 03:02:23 +00:00"], "at never\n"));
    }

    #[test]
    fn a_difference_shows_both_sides() {
        let difference = matches(&["a".to_owned(), "same".to_owned()], "b\nsame\n").unwrap_err();
        for part in ["- a\n", "+ b\n", "| same"] {
            assert!(difference.contains(part), "{difference}");
        }
    }
}
