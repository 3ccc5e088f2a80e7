//! No circles between modules: whoever reads one follows its `use` lines downwards and comes to an end.
//!
//! A module and those inside it may know each other; between all others the graph of "mentions" has no circle. Tests are
//! left out, and a name that a module only passes on (`pub use`) counts as that of the module it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::visit::Visit;

use crate::repo;
use crate::steps::Failure;

/// The crates that are read, each by its first file.
const CRATES: [&str; 4] = [
    "crates/flowlock/src/lib.rs",
    "crates/flowlock-cli/src/main.rs",
    "crates/flowlock-testkit/src/lib.rs",
    "crates/xtask/src/main.rs",
];

/// A module by its path within the crate; the crate's root is empty.
type Module = Vec<String>;

/// Fails with every circle, and with one mention for each of its steps.
pub(crate) fn check() -> Result<(), Failure> {
    let mut report = String::new();
    for first in CRATES {
        let modules = Crate::read(&repo::root().join(first))?;
        for circle in modules.circles() {
            let _ = writeln!(report, "{first}: these modules form a circle:");
            for (from, to) in circle {
                let _ = writeln!(report, "  {} mentions {}", from.join("::"), to.join("::"));
            }
        }
    }
    if report.is_empty() { Ok(()) } else { Err(Failure::new(report)) }
}

/// What the modules of one crate mention.
#[derive(Debug, Default)]
struct Crate {
    /// Every module, with the paths in it as they stand there.
    mentions: BTreeMap<Module, Vec<Vec<String>>>,
    /// What a module passes on under which name.
    passed_on: BTreeMap<(Module, String), Vec<String>>,
}

impl Crate {
    fn read(first: &Path) -> Result<Self, Failure> {
        let mut all = Self::default();
        all.read_file(first, &[], true)?;
        Ok(all)
    }

    /// Reads a module's file and those of the modules in it. The modules in `lib.rs`, `main.rs` and `mod.rs` lie beside it.
    fn read_file(&mut self, file: &Path, module: &[String], is_first: bool) -> Result<(), Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let parsed =
            syn::parse_file(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let beside = is_first || file.ends_with("mod.rs");
        let folder = if beside { file.with_file_name("") } else { file.with_extension("") };
        let mut reader = Reader { paths: Vec::new(), passed_on: Vec::new(), inside: Vec::new() };
        reader.visit_file(&parsed);
        let Reader { paths, passed_on, inside, .. } = reader;
        self.mentions.insert(module.to_vec(), paths);
        for (name, path) in passed_on {
            self.passed_on.insert((module.to_vec(), name), path);
        }
        for name in inside {
            let in_it: Module = module.iter().cloned().chain([name.clone()]).collect();
            self.read_file(&file_of(&folder, &name), &in_it, false)?;
        }
        Ok(())
    }

    /// The module that a path from `within` leads to, if it is one of this crate.
    fn target(&self, within: &[String], path: &[String]) -> Option<Module> {
        let mut absolute = self.absolute(within, path)?;
        // A name that is passed on counts as that of its origin; no chain of them is longer than this.
        for _ in 0..8 {
            let known = (0..=absolute.len()).rev().find(|&n| self.mentions.contains_key(&absolute[..n]))?;
            let module = absolute[..known].to_vec();
            let Some(name) = absolute.get(known) else { return Some(module) };
            let Some(origin) = self.passed_on.get(&(module.clone(), name.clone())) else {
                return Some(module);
            };
            absolute = self.absolute(&module, origin)?;
        }
        None
    }

    fn absolute(&self, within: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut base = within.to_vec();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    base.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                let inside: Module = base.iter().cloned().chain([first.to_owned()]).collect();
                if !self.mentions.contains_key(&inside) {
                    return None;
                }
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// Every circle, as the mentions it consists of.
    fn circles(&self) -> Vec<Vec<(Module, Module)>> {
        let names: Vec<&Module> = self.mentions.keys().collect();
        let number = |module: &Module| names.binary_search(&module).ok();
        let mut graph = DiGraphMap::<usize, ()>::new();
        for (from, module) in names.iter().enumerate() {
            for to in self.mentions[*module].iter().filter_map(|path| self.target(module, path)) {
                if !to.starts_with(module) && !module.starts_with(&to) {
                    graph.extend(number(&to).map(|to| (from, to)));
                }
            }
        }
        let circles = tarjan_scc(&graph).into_iter().filter(|members| members.len() > 1);
        circles
            .map(|members| {
                let members: BTreeSet<usize> = members.into_iter().collect();
                let steps =
                    graph.all_edges().filter(|(from, to, ())| members.contains(from) && members.contains(to));
                steps.map(|(from, to, ())| (names[from].clone(), names[to].clone())).collect()
            })
            .collect()
    }
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name).with_extension("rs");
    if plain.exists() { plain } else { folder.join(name).join("mod.rs") }
}

/// Collects the paths of one file.
struct Reader {
    paths: Vec<Vec<String>>,
    passed_on: Vec<(String, Vec<String>)>,
    /// Modules that have a file of their own.
    inside: Vec<String>,
}

impl Reader {
    fn read_use(&mut self, tree: &syn::UseTree, before: &[String], is_passed_on: bool) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.read_use(&path.tree, &with(&path.ident), is_passed_on),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(tree, before, is_passed_on);
                }
            }
            syn::UseTree::Name(name) => self.take_in(name.ident.to_string(), with(&name.ident), is_passed_on),
            syn::UseTree::Rename(name) => {
                self.take_in(name.rename.to_string(), with(&name.ident), is_passed_on);
            }
            syn::UseTree::Glob(_) => self.paths.push(before.to_vec()),
        }
    }

    fn take_in(&mut self, name: String, mut path: Vec<String>, is_passed_on: bool) {
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if is_passed_on {
            self.passed_on.push((name, path.clone()));
        }
        self.paths.push(path);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_of_tests(&item.attrs) {
            return;
        }
        match item.content {
            None => self.inside.push(item.ident.to_string()),
            Some(_) => syn::visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_of_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_of_tests(&item.attrs) {
            self.read_use(&item.tree, &[], !matches!(item.vis, syn::Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.paths.push(segments);
        }
        syn::visit::visit_path(self, path);
    }
}

/// Whether something stands under `#[cfg(test)]`.
pub(crate) fn is_of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}
