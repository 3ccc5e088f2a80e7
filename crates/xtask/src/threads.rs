//! Every thread that the library and the command line start has a name of its own and a row in ARCHITECTURE.md, and there
//! is no row without a thread. Tests are left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use syn::visit::Visit;

use crate::circles::is_of_tests;
use crate::repo;
use crate::steps::Failure;

/// Whose threads are looked for.
const SOURCES: [&str; 2] = ["crates/flowlock/src/*.rs", "crates/flowlock-cli/src/*.rs"];
/// Where the table is, and how its rows begin.
const PAGE: &str = "ARCHITECTURE.md";
const ROW: &str = "| `flowlock-";
/// What Linux keeps of a name.
const LONGEST_NAME: usize = 15;

/// A thread's name, and the file that starts it.
type Thread = (String, String);

/// Fails with every thread that is missing in the table, and every row that is one too many.
pub(crate) fn check() -> Result<(), Failure> {
    let (mut started, mut report) = (BTreeSet::new(), String::new());
    for file in repo::tracked(&SOURCES)? {
        let file = file.to_string_lossy().into_owned();
        if file.contains("/tests/") || file.ends_with("/tests.rs") {
            continue;
        }
        let found =
            Found::in_source(&read(&file)?).map_err(|error| Failure::new(format!("{file}: {error}")))?;
        if found.nameless > 0 {
            let _ = writeln!(
                report,
                "{file}: {} started without a name, or by an imported function (write thread::…)",
                found.nameless
            );
        }
        started.extend(found.names.into_iter().map(|name| (name, file.clone())));
    }
    report += &compare(&started, &listed(&read(PAGE)?));
    if started.is_empty() {
        report += "no thread was found: this check would pass by doing nothing\n";
    }
    if report.is_empty() { Ok(()) } else { Err(Failure::new(report)) }
}

fn read(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(repo::root().join(Path::new(file)))
        .map_err(|error| Failure::new(format!("{file}: {error}")))
}

/// What differs between the code and the table, a line each.
fn compare(started: &BTreeSet<Thread>, listed: &BTreeSet<Thread>) -> String {
    let mut report = String::new();
    for (name, file) in started.difference(listed) {
        let _ = writeln!(report, "{file} starts {name}, which has no row with this file in {PAGE}");
    }
    for (name, file) in listed.difference(started) {
        let _ = writeln!(report, "{PAGE} has a row for {name} in {file}, which starts no such thread");
    }
    for (name, file) in started.iter().filter(|(name, _)| name.len() > LONGEST_NAME) {
        let _ = writeln!(report, "{file}: /proc shows {LONGEST_NAME} bytes of a name, {name} has more");
    }
    report
}

/// The rows of the table: a name in backticks, and then a link to the file.
fn listed(page: &str) -> BTreeSet<Thread> {
    let rows = page.lines().filter(|line| line.starts_with(ROW));
    rows.filter_map(|row| {
        let name = row.split('`').nth(1)?;
        let file = row.split_once("](")?.1.split_once(')')?.0;
        Some((name.to_owned(), file.to_owned()))
    })
    .collect()
}

/// The threads that one file starts.
#[derive(Debug, Default)]
struct Found {
    names: Vec<String>,
    nameless: usize,
}

impl Found {
    fn in_source(text: &str) -> syn::Result<Self> {
        let mut found = Self::default();
        found.visit_file(&syn::parse_file(text)?);
        Ok(found)
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_of_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    /// `Builder::new().name("…".into())`: the name takes back what its receiver counts for.
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        syn::visit::visit_expr_method_call(self, call);
        if call.method == "name"
            && starts_thread(&call.receiver)
            && let Some(name) = call.args.first().and_then(literal)
        {
            self.nameless -= 1;
            self.names.push(name);
        }
    }

    /// `use std::thread::spawn` and the like: its calls would not be seen.
    fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
        if path.ident == "thread" && imports_a_start(&path.tree) {
            self.nameless += 1;
        }
        syn::visit::visit_use_path(self, path);
    }

    fn visit_expr(&mut self, expression: &'ast syn::Expr) {
        if starts_thread(expression) {
            self.nameless += 1;
        }
        syn::visit::visit_expr(self, expression);
    }
}

/// Whether it is a call of `thread::Builder::new`, `thread::spawn` or `thread::scope`.
fn starts_thread(expression: &syn::Expr) -> bool {
    let syn::Expr::Call(call) = expression else { return false };
    let syn::Expr::Path(function) = &*call.func else { return false };
    let segments: Vec<_> = function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let ends_with = |end: &[&str]| {
        segments.iter().rev().zip(end.iter().rev()).filter(|(a, b)| a == b).count() == end.len()
    };
    [&["thread", "Builder", "new"][..], &["thread", "spawn"], &["thread", "scope"]].into_iter().any(ends_with)
}

fn imports_a_start(tree: &syn::UseTree) -> bool {
    let starts = |name: &syn::Ident| ["Builder", "spawn", "scope"].iter().any(|start| name == start);
    match tree {
        syn::UseTree::Name(name) => starts(&name.ident),
        syn::UseTree::Rename(name) => starts(&name.ident),
        syn::UseTree::Group(group) => group.items.iter().any(imports_a_start),
        syn::UseTree::Path(_) | syn::UseTree::Glob(_) => false,
    }
}

/// The text of `"…"`, `"…".into()` and the like.
fn literal(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        syn::Expr::MethodCall(call) => literal(&call.receiver),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        use std::thread::{self, Builder};
        fn a() { std::thread::Builder::new().name("flowlock-a".into()).spawn(|| ()); }
        fn b() { let it = thread::Builder::new().spawn(|| ()); }
        fn c() { std::thread::spawn(|| ()); Command::new("true").spawn(); }
        #[cfg(test)]
        mod tests { fn d() { std::thread::spawn(|| ()); } }
    "#;

    fn threads(all: &[(&str, &str)]) -> BTreeSet<Thread> {
        all.iter().map(|(name, file)| ((*name).to_owned(), (*file).to_owned())).collect()
    }

    #[test]
    fn threads_are_found_with_their_names_and_those_without_are_counted() {
        let found = Found::in_source(SOURCE).unwrap();
        assert_eq!(found.names, ["flowlock-a"]);
        assert_eq!(found.nameless, 3);
    }

    #[test]
    fn a_missing_row_one_too_many_one_with_another_file_and_a_name_that_is_cut_off_are_told() {
        let page = "| thread | file |\n|---|---|\n| `flowlock-a` | [a](src/a.rs) | x |\n| `flowlock-old` | [b](src/b.rs) |\n";
        let listed = listed(page);
        assert_eq!(listed, threads(&[("flowlock-a", "src/a.rs"), ("flowlock-old", "src/b.rs")]));
        assert_eq!(compare(&listed, &listed), "");
        let report = |started| compare(&threads(started), &listed).lines().count();
        assert_eq!(report(&[("flowlock-a", "src/a.rs")]), 1);
        assert_eq!(report(&[("flowlock-a", "src/moved.rs"), ("flowlock-old", "src/b.rs")]), 2);
        let cut_off =
            [("flowlock-a", "src/a.rs"), ("flowlock-old", "src/b.rs"), ("flowlock-watcher", "src/c.rs")];
        assert_eq!(report(&cut_off), 2);
    }
}
