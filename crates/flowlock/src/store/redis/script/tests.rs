use std::collections::BTreeSet;

use super::assembly::{ENGINE, functions};
use super::constants::constants;
use super::*;

/// Returns the words of a text that can be names.
fn arguments(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

fn texts(clock: Clock) -> Vec<String> {
    let Scripts { acquire, create, step, view, .. } = Scripts::new(clock);
    [acquire, create, step, view].map(|script| script.source).into()
}

#[test]
fn every_constant_is_used_and_no_name_of_one_is_left() {
    let (server, tests) = (texts(Clock::Server).concat(), texts(Clock::Argument).concat());
    for (name, value) in constants(Clock::Argument) {
        assert!(tests.contains(&value), "{name} is used nowhere");
        assert!(!arguments(&server).any(|word| word == name), "{name} is left in a script");
    }
    assert!(!server.contains("world.bounds"), "a number of the tests is left in a script of the server");
}

/// Otherwise the linter would not report a constant that is neither defined by a file nor replaced.
#[test]
fn the_linter_takes_only_constants_for_constants() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.luacheckrc");
    let settings = std::fs::read_to_string(file).expect("the linter's settings are there");
    let (_, rest) = settings.split_once("-- Constants").expect("a list of constants");
    let (list, _) = rest.split_once("\n}").expect("the end of the list");
    let constants: BTreeSet<_> = constants(Clock::Server).into_iter().map(|(name, _)| name).collect();
    assert_eq!(list.split('"').skip(1).step_by(2).collect::<BTreeSet<_>>(), constants);
}

#[test]
fn every_function_is_defined_once_and_everything_in_the_lists_is_there() {
    let all: Vec<_> = ENGINE.iter().flat_map(|(file, text)| functions(file, text)).collect();
    let names: BTreeSet<_> = all.iter().map(|function| function.name).collect();
    assert_eq!(names.len(), all.len(), "two functions have one name");
    for function in &all {
        assert!(function.stage().is_some(), "{} is in no stage", function.path);
    }
    let (all_lists, files) = ([&ALWAYS[..], &TO_BE_GRANTED, &TO_GO_ON_OR_LEAVE].concat(), STAGES.concat());
    for listed in all_lists.iter().chain(files.iter().filter(|listed| listed.contains('.'))) {
        assert!(all.iter().any(|function| function.path == *listed), "there is no {listed}");
    }
    for (file, text) in ENGINE {
        let is_known = |line: &str| line.is_empty() || line == "end" || line.starts_with([' ', '-']);
        let mut others = text.lines().filter(|line| !is_known(line) && !line.starts_with("function F."));
        assert_eq!(others.next(), None, "{file}.lua has more than functions in it");
    }
}

#[test]
fn whatever_a_script_calls_is_in_it() {
    for clock in [Clock::Server, Clock::Argument] {
        for text in texts(clock) {
            for called in text.split("F.").skip(1).filter_map(|rest| arguments(rest).next()) {
                let defined = [format!("F.{called} = function("), format!("\n{called} = function(")];
                let is_of_tests = ["check_boot", "raise_ceiling"].contains(&called) && clock == Clock::Server;
                assert!(
                    is_of_tests || defined.iter().any(|it| text.contains(it)),
                    "{called} is called and not there"
                );
            }
        }
    }
}
