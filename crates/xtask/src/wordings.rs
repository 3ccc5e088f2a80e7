//! The two wordings of the engine stand side by side: each function of the one in Rust has its namesake in Lua, in the file
//! of the same name and in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use syn::visit::Visit;

use crate::repo;
use crate::steps::Failure;

const ENGINE: &str = "crates/flowlock/src/engine";
const RULE: &str = "crates/flowlock/src/rule.rs";
const LUA: &str = "crates/flowlock/src/store/redis/lua/engine";

/// Files of the engine that the scripts have no need of.
const FILES_ALONE: [(&str, &str); 3] = [
    ("mod", "what the other files share: there is no function in it"),
    (
        "tables",
        "what a store with transactions implements; the scripts read and write keys (tables.lua, run.lua, holders.lua)",
    ),
    ("tests", "tests"),
];

/// Functions without a namesake, and why: a short list, or the wordings drift apart.
const ALONE: [(&str, &[&str]); 12] = [
    ("the files in scripts/ read a step's arguments", &["step.step", "step.act"]),
    ("step.begin_step does it", &["boot.check_clock"]),
    (
        "the scripts look at what a claim's mode needs, and at no more: the rule and its view are one (queue_blocks, line_blocks, \
         units_held, units_ahead, has_written_output)",
        &[
            "rule.with",
            "rule.and",
            "rule.claim_is_blocked",
            "rules_view.obstacle",
            "rules_view.is_live",
            "rules_view.held",
            "rules_view.ahead",
            "explain.is_behind",
        ],
    ),
    ("deadlock.never_fits says it", &["rule.never_fits"]),
    (
        "what a script reads it keeps until the step ends, in RUNS, RECORDS and others",
        &["rows.look_ahead", "rows.put_record"],
    ),
    (
        "a script adds hints to the backlog itself and takes them out, one by one (add_hint, set_clean)",
        &[
            "backlog.stored",
            "backlog.add",
            "backlog.take_in",
            "backlog.first_hint",
            "backlog.set_dirty",
            "backlog.save_backlog",
        ],
    ),
    ("budget.left_of does it", &["budget.of", "budget.of_a_page", "budget.is_used_up", "budget.runs"]),
    (
        "acquire.arrive, acquire.decide and rows.must_find do it",
        &["rows.next_ticket", "grant.grant_directly", "rows.no_row"],
    ),
    (
        "explain.running, look_again, retry_after and come_back do it",
        &["explain.inputs", "explain.is_next", "explain.retry_at"],
    ),
    ("foresee.first_expiry does it", &["foresee.expires_ms"]),
    ("wakes.wake does it, with a run that it keeps anyway", &["rows.wake"]),
    ("records.state_of says it", &["records.record_now", "records.has_expired"]),
];

/// The functions of one wording by file, in their order.
type Wording = BTreeMap<String, Vec<String>>;

/// Fails with every function that stands in one wording alone and is not known to, and with every file in another order.
pub(crate) fn check() -> Result<(), Failure> {
    let (rust, lua) = (engine()?, scripts()?);
    let faults = compare(&rust, &lua, &ALONE, &FILES_ALONE);
    if !faults.is_empty() {
        return Err(Failure::new(faults));
    }
    for (file, functions) in
        rust.iter().filter(|(file, _)| !FILES_ALONE.iter().any(|(alone, _)| alone == file))
    {
        let named = |name: &&String| lua.get(file).is_some_and(|there| there.contains(name));
        let (both, alone): (Vec<_>, Vec<_>) = functions.iter().partition(named);
        let words =
            |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        println!("{file}: {}", words(both));
        if !alone.is_empty() {
            println!("    in Rust alone: {}", words(alone));
        }
    }
    Ok(())
}

/// What is wrong, in lines; nothing if all is well.
fn compare(rust: &Wording, lua: &Wording, alone: &[(&str, &[&str])], files_alone: &[(&str, &str)]) -> String {
    let mut faults = String::new();
    let excused: BTreeSet<&str> = alone.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut needless = excused.clone();
    for (file, functions) in
        rust.iter().filter(|(file, _)| !files_alone.iter().any(|(alone, _)| alone == file))
    {
        let there = lua.get(file).map(Vec::as_slice).unwrap_or_default();
        for name in functions.iter().filter(|name| !there.contains(name)) {
            let path = format!("{file}.{name}");
            needless.remove(path.as_str());
            if !excused.contains(path.as_str()) {
                let _ = writeln!(faults, "{file}.rs has {name}, which {file}.lua has not");
            }
        }
        let ours: Vec<_> = functions.iter().filter(|name| there.contains(name)).collect();
        let theirs: Vec<_> = there.iter().filter(|name| functions.contains(name)).collect();
        if ours != theirs {
            let _ =
                writeln!(faults, "{file}.rs has {ours:?}\n{file}.lua has {theirs:?}, which is another order");
        }
    }
    for path in needless {
        let _ = writeln!(faults, "{path} has a namesake, or is no more: it needs no reason in wordings.rs");
    }
    faults
}

/// The functions of the engine and of the rule.
fn engine() -> Result<Wording, Failure> {
    let mut wording = read(&repo::root().join(ENGINE), "rs", functions_of_rust)?;
    wording.insert("rule".to_owned(), functions_of_rust(&text_of(&repo::root().join(RULE))?)?);
    Ok(wording)
}

fn scripts() -> Result<Wording, Failure> {
    read(&repo::root().join(LUA), "lua", |text| Ok(functions_of_lua(text)))
}

fn read(
    folder: &Path,
    ending: &str,
    functions: impl Fn(&str) -> Result<Vec<String>, Failure>,
) -> Result<Wording, Failure> {
    let mut wording = Wording::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
            && path.extension().is_some_and(|extension| extension == ending)
        {
            wording.insert(stem.to_owned(), functions(&text_of(&path)?)?);
        }
    }
    Ok(wording)
}

fn text_of(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn functions_of_rust(text: &str) -> Result<Vec<String>, Failure> {
    let file = syn::parse_file(text).map_err(|error| Failure::new(error.to_string()))?;
    let mut functions = Functions::default();
    functions.visit_file(&file);
    Ok(functions.names)
}

/// The functions and methods of a file that have a body, tests left out.
#[derive(Default)]
struct Functions {
    names: Vec<String>,
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.names.push(function.sig.ident.to_string());
    }

    fn visit_impl_item_fn(&mut self, method: &'ast syn::ImplItemFn) {
        self.names.push(method.sig.ident.to_string());
    }
}

fn functions_of_lua(text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("function F.")?.split_once('(')?.0.to_owned());
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wording(functions: &[&str]) -> Wording {
        let names = functions.iter().map(|name| (*name).to_owned()).collect();
        [("line".to_owned(), names)].into()
    }

    #[test]
    fn functions_are_found_in_their_order_and_tests_are_left_out() {
        let rust =
            "fn a() {} impl X { fn b() { fn inner() {} } } trait T { fn t(); } mod tests { fn c() {} }";
        assert_eq!(functions_of_rust(rust).unwrap(), ["a", "b"]);
        assert_eq!(
            functions_of_lua("-- function F.no()\nfunction F.a()\nend\nfunction F.b(x)\nend"),
            ["a", "b"]
        );
    }

    #[test]
    fn a_function_without_a_namesake_needs_a_reason_and_a_reason_needs_such_a_function() {
        let (both, one) = (wording(&["enter", "leave"]), wording(&["enter"]));
        assert_eq!(compare(&both, &one, &[], &[]), "line.rs has leave, which line.lua has not\n");
        assert_eq!(compare(&both, &one, &[("why", &["line.leave"])], &[]), "");
        assert!(compare(&both, &both, &[("why", &["line.leave"])], &[]).contains("needs no reason"));
        assert_eq!(compare(&both, &Wording::new(), &[], &[("line", "why")]), "");
    }

    #[test]
    fn the_order_is_the_same() {
        let (there, back) = (wording(&["enter", "leave"]), wording(&["leave", "enter"]));
        assert!(compare(&there, &back, &[], &[]).contains("another order"));
        assert_eq!(compare(&there, &wording(&["enter", "own", "leave"]), &[], &[]), "");
    }
}
