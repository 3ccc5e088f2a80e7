//! `cargo xtask torture --mutants`: changes one thing after the other in what decides (`.cargo/mutants.toml` says where),
//! and looks whether a test notices. Changes that change nothing anybody could notice stand, with the reason, in
//! `crates/xtask/equivalent-mutants.txt`; any other that survives ends the step. Results are kept below the target folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::repo;
use crate::steps::Failure;
use crate::tools;

/// Of what the tests are given a mutant for: enough for a history to meet it, few enough for hundreds of mutants.
const HISTORIES: &str = "40";
/// What cargo-mutants ends with if mutants survived, or were only ended by the time limit: both are judged here.
const SOME_SURVIVED: [i32; 2] = [2, 3];

/// Tries the mutants of one shard (`K/N`), or all of them.
pub(crate) fn run(shard: Option<&str>) -> Result<(), Failure> {
    let results = repo::target().join("mutants");
    let mut command = Command::new(tools::cargo_mutants()?);
    // What an earlier run noticed is not tried again: the whole list takes days, in as many runs as one likes.
    command
        .args(["mutants", "--iterate", "--colors", "never", "--output"])
        .arg(&results)
        .current_dir(repo::root());
    command.args(shard.map(|shard| ["--shard", shard]).into_iter().flatten());
    command
        .env("FLOWLOCK_HISTORIES", HISTORIES)
        .env("FLOWLOCK_SEED", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    let status = command.status()?;
    if !status.success() && !status.code().is_some_and(|code| SOME_SURVIVED.contains(&code)) {
        return Err(Failure::new(format!("cargo-mutants ended with {status}")));
    }
    let missed = fs::read_to_string(results.join("mutants.out/missed.txt"))?;
    let known = fs::read_to_string(repo::root().join("crates/xtask/equivalent-mutants.txt"))?;
    let survivors = unknown(&missed, &known);
    if survivors.is_empty() {
        return Ok(());
    }
    let list = survivors.into_iter().collect::<Vec<_>>().join("\n  ");
    Err(Failure::new(format!(
        "no test notices:\n  {list}\nwrite one, or say in equivalent-mutants.txt why none can"
    )))
}

/// The survivors that are not known to be equivalent.
fn unknown(missed: &str, known: &str) -> BTreeSet<String> {
    let known: BTreeSet<&str> = known
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" | "))
        .map(|(m, _)| m)
        .collect();
    missed.lines().map(without_position).filter(|mutant| !known.contains(mutant.as_str())).collect()
}

/// A mutant as cargo-mutants names it, without line and column: those move with every change of the file.
fn without_position(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(what)) => format!("{}:{what}", Path::new(file).display()),
        _ => mutant.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_survivors_without_a_reason_count() {
        let missed =
            "src/rule.rs:7:9: replace < with <= in fits\nsrc/rule.rs:9:1: replace + with - in fits\n";
        let known = "# why\nsrc/rule.rs: replace < with <= in fits | never equal\n";
        assert_eq!(
            unknown(missed, known),
            BTreeSet::from(["src/rule.rs: replace + with - in fits".to_owned()])
        );
    }

    /// A file that was renamed would be left out without a word.
    #[test]
    fn what_is_tried_and_what_is_excused_is_there() {
        let root = repo::root();
        let settings = fs::read_to_string(root.join(".cargo/mutants.toml")).unwrap();
        let quoted = || settings.split('"').skip(1).step_by(2);
        for path in quoted().filter(|text| text.starts_with("crates/")) {
            let fixed = path.split("/*").next().unwrap();
            assert!(root.join(fixed).exists(), "{path}");
        }
        let roots = ["src/lib.rs", "tests/main/main.rs"]
            .map(|file| fs::read_to_string(root.join("crates/flowlock").join(file)).unwrap())
            .concat();
        for module in quoted().filter_map(|text| text.strip_suffix("::")) {
            assert!(roots.contains(&format!("mod {module}")), "no test is in {module}");
        }
        let known = fs::read_to_string(root.join("crates/xtask/equivalent-mutants.txt")).unwrap();
        for line in known.lines().filter(|line| !line.starts_with('#')) {
            let (file, mutant) = line.split_once(": ").unwrap();
            let mutant = mutant.split(" | ").next().unwrap().split(" -> ").next().unwrap();
            let function = mutant.rsplit(" in ").next().unwrap().rsplit("::").next().unwrap();
            let function = format!("fn {function}(");
            assert!(fs::read_to_string(root.join(file)).unwrap().contains(&function), "{line}");
        }
    }
}
