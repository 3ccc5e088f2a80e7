//! Assembles a script from the files in `lua/`.

use super::constants::{constants, put_constants};
use super::{Clock, STAGES};

const WORLD: &str = include_str!("../lua/world.lua");
const WORLD_OF_TESTS: &str = include_str!("../lua/world_of_tests.lua");
const STATE: &str = include_str!("../lua/state.lua");

macro_rules! files {
    ($folder:literal: $($stem:literal)*) => {
        [$(($stem, include_str!(concat!("../lua/", $folder, "/", $stem, ".lua")))),*]
    };
}

/// The fast paths, by the step that takes them.
const SHORT: [(&str, &str); 5] = files!("short": "acquire" "commit" "refresh" "accept" "heartbeat");

/// The engine, file by file.
pub(super) const ENGINE: [(&str, &str); 28] = files!("engine":
    "rule" "rules_view" "step" "rows" "tables" "run" "holders" "wakes" "budget" "acquire" "withdraw" "grant" "lapse" "line"
    "backlog" "leave" "bury" "records" "by_hand" "operate" "explain" "foresee" "deadlock" "sweep" "takeover" "boot" "namespace"
    "view");

/// What a script contains.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Its first line, for the server.
    pub(super) flags: &'a str,
    /// Its fast paths.
    pub(super) short: &'a [&'a str],
    /// The functions, each with its file, that are defined at each call; all others are defined when one
    /// of them is called.
    pub(super) at_once: &'a [&'a [&'a str]],
    /// The files that it contains nothing of.
    pub(super) without: &'a [&'a str],
    /// Its own code, after all that.
    pub(super) own: &'a str,
}

/// A function of the engine, as it is in its file.
#[derive(Debug)]
pub(super) struct Function<'a> {
    /// The file, a dot, the name.
    pub(super) path: String,
    pub(super) name: &'a str,
    /// From the bracket before its parameters to the last line before its `end`.
    body: &'a str,
}

impl Function<'_> {
    fn is_in(&self, list: &[&str]) -> bool {
        list.contains(&self.path.as_str())
    }

    fn file(&self) -> &str {
        self.path.split_once('.').map_or("", |(file, _)| file)
    }

    /// Returns the stage that defines it, if it is not defined from the start.
    pub(super) fn stage(&self) -> Option<usize> {
        let by_itself = STAGES.iter().position(|stage| self.is_in(stage));
        by_itself.or_else(|| STAGES.iter().position(|stage| stage.contains(&self.file())))
    }
}

/// Returns the functions of a file, which contains nothing else.
pub(super) fn functions<'a>(file: &str, text: &'a str) -> Vec<Function<'a>> {
    let found = text.split("\nfunction F.").skip(1).filter_map(|function| {
        let (name, rest) = function.split_at(function.find('(')?);
        let (body, _) = rest.split_once("\nend\n")?;
        Some(Function { path: format!("{file}.{name}"), name, body })
    });
    found.collect()
}

/// Returns the functions of a script.
fn functions_of(plan: &Plan<'_>, clock: Clock) -> Vec<Function<'static>> {
    let files = ENGINE
        .iter()
        .filter(|(file, _)| !plan.without.contains(file) && (clock == Clock::Argument || *file != "boot"));
    files.flat_map(|(file, text)| functions(file, text)).collect()
}

/// Assembles a script: the world, the fast paths for ordinary steps, the tables, the functions, and its
/// own code.
pub(super) fn assembled(plan: &Plan<'_>, clock: Clock) -> String {
    let functions = functions_of(plan, clock);
    let (at_once, later): (Vec<_>, Vec<_>) =
        functions.iter().partition(|function| plan.at_once.iter().any(|list| function.is_in(list)));
    let mut parts = vec![plan.flags.to_owned()];
    parts.push(if clock == Clock::Server { WORLD } else { WORLD_OF_TESTS }.to_owned());
    parts
        .extend(SHORT.iter().filter(|(step, _)| plan.short.contains(step)).map(|(_, way)| (*way).to_owned()));
    parts.push(STATE.to_owned());
    parts.push("local stage = 0\nlocal function add(stage)".to_owned());
    for stage in 0..STAGES.len() {
        let word = if stage == 0 { "if" } else { "elseif" };
        parts.push(format!("{word} stage == {} then", stage + 1));
        let of_stage = later.iter().filter(|function| function.stage() == Some(stage));
        parts.extend(of_stage.map(|Function { name, body, .. }| format!("F.{name} = function{body}\nend")));
    }
    parts.push(format!(
        "end\nend\nlocal function find(_, name)\nwhile stage < {} do\nstage = stage + 1\nadd(stage)\n\
         local found = rawget(F, name)\nif found then return found end\nend\nend",
        STAGES.len()
    ));
    parts.push("F = setmetatable({".to_owned());
    parts.extend(at_once.iter().map(|Function { name, body, .. }| format!("{name} = function{body}\nend,")));
    parts.push("}, { __index = find })".to_owned());
    parts.push(plan.own.to_owned());
    without_comments(&parts, clock)
}

/// Removes comment lines, because the server keeps the text in memory, and replaces constants by their
/// values.
fn without_comments(parts: &[String], clock: Clock) -> String {
    let constants = constants(clock);
    let lines = parts.iter().flat_map(|part| part.lines()).map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    code.fold(String::new(), |text, line| put_constants(text, line, &constants) + "\n")
}
