//! Prose that is wider than a page: it is hard to read and to compare.

use std::path::Path;

/// Prose is wrapped at this many characters.
const WIDTH: usize = 100;

/// Pages that are not wrapped yet. Remove a page from this list when you wrap it.
const NOT_WRAPPED: [&str; 1] = ["docs/track-record.md"];

/// Returns the lines of prose that are wider than [`WIDTH`] although they could be broken, each with its number.
pub(super) fn too_wide(page: &Path, text: &str) -> Vec<String> {
    if NOT_WRAPPED.iter().any(|name| page == Path::new(name)) {
        return Vec::new();
    }
    let mut in_block = false;
    let mut complaints = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        let width = line.chars().count();
        if !in_block && !is_fence && width > WIDTH && can_be_broken(line) {
            complaints.push(format!("{number}: {width} characters wide; prose is wrapped at {WIDTH}"));
        }
    }
    complaints
}

/// Whether a line break could stand in it: not in a row of a table, a heading or a comment, nor within code.
fn can_be_broken(line: &str) -> bool {
    let text = line.trim_start();
    if ["|", "#", "<!--"].iter().any(|start| text.starts_with(start)) {
        return false;
    }
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = ["* ", "- ", ". "].iter().find_map(|mark| number.strip_prefix(mark)).unwrap_or(text);
    text.trim_end().split('`').step_by(2).any(|prose| prose.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        too_wide(Path::new("README.md"), text)
    }

    #[test]
    fn wide_prose_is_named_with_its_line() {
        let just_fits = "é".repeat(49) + " " + &"é".repeat(50);
        assert!(complaints(&just_fits).is_empty());
        let wide = format!("{just_fits}!");
        let complaint = "101 characters wide; prose is wrapped at 100";
        assert_eq!(complaints(&format!("a\n\n{wide}\n")), [format!("3: {complaint}")]);
        assert_eq!(complaints(&format!("```text\n{wide}\n```\n{wide}\n")), [format!("4: {complaint}")]);
        assert_eq!(complaints(&format!("* {wide}\n12. {wide}\n  {wide}\n")).len(), 3);
    }

    #[test]
    fn what_cannot_be_broken_may_be_wide() {
        let word = "x".repeat(120);
        for line in [
            format!("| {word} | {word} |"),
            format!("## Of {word}"),
            format!("<!-- {word} -->"),
            format!("* {word}"),
            format!("1. [{word}](a.md)"),
            format!("  `flowlock run {word}`,"),
            format!("```sh\necho {word}\n```"),
        ] {
            assert_eq!(complaints(&line), [""; 0], "{line}");
        }
    }

    #[test]
    fn a_page_that_is_not_wrapped_yet_is_left_alone() {
        let wide = "word ".repeat(30);
        assert!(too_wide(Path::new("docs/track-record.md"), &wide).is_empty());
        assert!(!too_wide(Path::new("design.md"), &wide).is_empty());
    }
}
