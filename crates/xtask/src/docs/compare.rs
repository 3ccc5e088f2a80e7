//! What a page shows against what was printed. `...` alone on a line stands for any lines, `[..]` within a line for any
//! text: times, process ids and folders differ from reader to reader.

/// Whether the output is as shown; otherwise both, side by side for a reader.
pub(super) fn matches(shown: &[String], output: &str) -> Result<(), String> {
    let printed: Vec<&str> = output.lines().collect();
    if lines_match(shown, &printed) {
        return Ok(());
    }
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    Err(format!("  the page shows\n{}\n  it printed\n{}", quoted(&shown), quoted(&printed)))
}

fn quoted(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n")
}

fn lines_match(shown: &[String], printed: &[&str]) -> bool {
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
    let (shown, printed) = (shown.trim_end(), printed.trim_end());
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
    fn a_difference_shows_both_sides() {
        let difference = matches(&["a".to_owned()], "b\n").unwrap_err();
        assert_eq!(difference, "  the page shows\n    | a\n  it printed\n    | b");
    }
}
