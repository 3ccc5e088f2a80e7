//! The examples in the docs, run: what a page shows is what a reader gets. CONTRIBUTING.md has the convention.

mod compare;
mod links;
mod page;
mod rust;
mod server;
mod session;
mod wrap;

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paint::{DIM, RED};
use crate::repo;
use crate::steps::{Failure, run};
use page::{Block, Example, Page};

/// Checks every page, with the programs of `bin` first on the `PATH`, and reports all that is wrong at once.
pub(crate) fn check(bin: &Path) -> Result<(), Failure> {
    let (mut examples, mut wrong) = (0, 0);
    let documentation = rust::documentation()?;
    for path in repo::tracked(&["*.md"])? {
        let text = fs::read_to_string(repo::root().join(&path))?;
        let page =
            Page::read(&text).map_err(|reason| Failure::new(format!("{}:{reason}", path.display())))?;
        let mut complaints = complaints_about(&path, &text, &page, bin)?;
        complaints.extend(rust::untested(&page, &documentation));
        examples += page.examples().count();
        wrong += complaints.len();
        anstream::println!("{}: {DIM}{} examples{DIM:#}", path.display(), page.examples().count());
        for complaint in complaints {
            anstream::println!("{RED}{}:{RED:#}{complaint}", path.display());
        }
    }
    shellcheck()?;
    match (examples, wrong) {
        (0, _) => Err(Failure::new("no example found: this check would pass by doing nothing")),
        (_, 0) => Ok(()),
        _ => Err(Failure::new(format!("{wrong} of the things the pages show are not so"))),
    }
}

fn complaints_about(path: &Path, text: &str, page: &Page, bin: &Path) -> Result<Vec<String>, Failure> {
    let mut complaints = links::dead(&repo::root(), path, text);
    complaints.extend(wrap::too_wide(path, text));
    if page.examples().next().is_none() {
        return Ok(complaints);
    }
    let outcomes = session::play(page, bin)?;
    let mut background = String::new();
    for (example, mut outcome) in page.examples().zip(outcomes) {
        if example.command.ends_with(" &") {
            background.push_str(&mem::take(&mut outcome.output));
        } else if example.command.split_whitespace().next() == Some("wait") {
            outcome.output = mem::take(&mut background);
        }
        complaints.extend(judge(example, &outcome));
    }
    if !background.is_empty() {
        complaints.push(format!(" no `$ wait` shows what was printed in the background:\n{background}"));
    }
    Ok(complaints)
}

/// What is wrong with one example, if anything: its line, the command, and the first place where reality differs.
fn judge(example: &Example, outcome: &session::Outcome) -> Option<String> {
    let Example { line, command, .. } = example;
    let Some(status) = outcome.status else {
        return Some(format!("{line}: `{command}` did not end; it printed:\n{}", outcome.output));
    };
    if let Err(difference) = compare::matches(&example.expected, &outcome.output) {
        return Some(format!("{line}: `{command}` printed something else\n{difference}"));
    }
    (status != 0 && !example.status_is_shown).then(|| {
        format!(
            "{line}: `{command}` ended with {status}; if that is meant, the page must go on with `$ echo $?`"
        )
    })
}

/// Reads every `sh` block of every page with shellcheck.
fn shellcheck() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let mut scripts: Vec<PathBuf> = Vec::new();
    for path in repo::tracked(&["*.md"])? {
        let page = Page::read(&fs::read_to_string(repo::root().join(&path))?).map_err(Failure::new)?;
        for block in page.blocks.iter().filter(|block| block.language == "sh") {
            let name = format!("{}-line-{}.sh", path.display(), block.line).replace('/', "-");
            fs::write(folder.path().join(&name), &block.body)?;
            scripts.push(name.into());
        }
    }
    if scripts.is_empty() {
        return Ok(());
    }
    // SC2016: in `flowlock run -- sh -c '… $VARIABLE …'` it is the inner shell that is meant to expand.
    run(Command::new("shellcheck")
        .args(["--shell=sh", "--exclude=SC2016"])
        .args(scripts)
        .current_dir(folder.path()))
}

/// A block that becomes a file of the reader's, for later commands of the page.
fn file_of(block: &Block) -> Option<&str> {
    block.info.iter().find_map(|word| word.strip_prefix("file="))
}
