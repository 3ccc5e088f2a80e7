//! What a page shows against what was printed. What differs from reader to reader (times, run numbers, process ids, the
//! home folder, the width of a column) may be shown as it once was; for the rest, `...` alone on a line stands for any
//! lines and `[..]` within a line for any text.

use std::sync::LazyLock;

use regex::Regex;

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

/// Whether the output is as shown; otherwise both, side by side for a reader.
pub(super) fn matches(shown: &[String], output: &str) -> Result<(), String> {
    let printed: Vec<&str> = output.lines().collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let alike = |lines: &[&str]| lines.iter().map(|line| settled(line)).collect::<Vec<_>>();
    if lines_match(&alike(&shown), &alike(&printed)) {
        return Ok(());
    }
    Err(format!("  the page shows\n{}\n  it printed\n{}", quoted(&shown), quoted(&printed)))
}

fn settled(line: &str) -> String {
    let line = line.trim_end().to_owned();
    RULES.iter().fold(line, |line, (pattern, stand_in)| pattern.replace_all(&line, *stand_in).into_owned())
}

fn quoted(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n")
}

fn lines_match(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any == "..." => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        (Some((line, shown)), Some((text, printed))) => {
            line_matches(line, text) && lines_match(shown, printed)
        }
        _ => false,
    }
}

fn line_matches(shown: &str, printed: &str) -> bool {
    match shown.split_once("[..]") {
        None => shown == printed,
        Some((start, more)) => printed.strip_prefix(start).is_some_and(|rest| ends_like(more, rest)),
    }
}

/// Whether some end of the text is as shown.
fn ends_like(shown: &str, text: &str) -> bool {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| line_matches(shown, &text[at..]))
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
        let difference = matches(&["a".to_owned()], "b\n").unwrap_err();
        assert_eq!(difference, "  the page shows\n    | a\n  it printed\n    | b");
    }
}
