//! Rust examples on a page: each must stand, line by line, in the library's own documentation, whose examples `cargo test`
//! compiles and runs.

use std::fs;

use super::page::Page;
use crate::repo;
use crate::steps::Failure;

/// The library's documentation, its hidden lines left out.
pub(super) fn documentation() -> Result<String, Failure> {
    let mut text = String::new();
    for path in repo::tracked(&["crates/flowlock/src/*.rs"])? {
        let source = fs::read_to_string(repo::root().join(path))?;
        text.extend(source.lines().filter_map(doc_line).map(|line| format!("{line}\n")));
    }
    Ok(text)
}

/// The examples of a page that the documentation does not have.
pub(super) fn untested(page: &Page, documentation: &str) -> Vec<String> {
    let is_new = |body: &str| !documentation.contains(body);
    let blocks = page.blocks.iter().filter(|block| block.language == "rust" && is_new(&block.body));
    blocks
        .map(|block| {
            format!("{}: no documentation of the library has this example, so no test runs it", block.line)
        })
        .collect()
}

fn doc_line(line: &str) -> Option<&str> {
    let text = line.trim_start();
    let text = text.strip_prefix("//!").or_else(|| text.strip_prefix("///"))?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    (!text.starts_with("# ")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_counts_as_tested_only_where_the_library_documents_it() {
        let documentation = documentation().unwrap();
        let page = |body: &str| Page::read(&format!("```rust\n{body}\n```\n")).unwrap();
        let known = "let flowlock = Flowlock::open(\"memory:\")?;\n";
        assert!(documentation.contains(known));
        assert!(untested(&page(known.trim_end()), &documentation).is_empty());
        assert_eq!(untested(&page("let nothing = 0;"), &documentation).len(), 1);
    }
}
