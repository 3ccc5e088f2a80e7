//! Lists longer than a page of the store: 1,000 records, 250 runs, 250 names.

use std::sync::Arc;

use flowlock::Flowlock;
use flowlock_testkit::Cli;
use serde_json::Value;

use super::{cli, place};
use crate::Told as _;

/// The store itself, for what would take hundreds of processes.
fn flowlock(cli: &Cli) -> Flowlock {
    match super::BACKING {
        crate::Backing::Embedded => {
            let patience = std::time::Duration::from_secs(30);
            let store = flowlock::store::sqlite::SqliteStore::open(&cli.store(), patience).unwrap();
            Flowlock::with_store(Arc::new(store))
        }
        crate::Backing::Redis => Flowlock::open(&cli.server().url()).unwrap(),
    }
}

/// `a0000` to `a0999`, and `z` behind them: one more than a page.
fn written(cli: &Cli) -> Vec<String> {
    let all: Vec<String> = (0..1_000).map(|n| format!("a{n:04}")).chain(["z".to_owned()]).collect();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    for some in names.chunks(1_000) {
        flowlock(cli).create(some, flowlock::Creation::default()).unwrap();
    }
    all
}

fn names(told: &Value, list: &str, key: &str) -> Vec<String> {
    let list = told[list].as_array().unwrap();
    list.iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
}

#[test]
fn outputs_are_listed_to_the_end_whichever_page_has_a_match() {
    let cli = cli();
    let all = written(&cli);
    let listed =
        |pattern: &str| names(&cli.run(["outputs", pattern, "--json"]).code(0).json(), "records", "name");
    assert_eq!(listed("*"), all);
    assert_eq!(listed("a*"), all[..1_000]);
    // The first page has no match, one that begins it, one that ends it, and both pages have one.
    assert_eq!(listed("*z"), ["z"]);
    assert_eq!(listed("?0000"), ["a0000"]);
    assert_eq!(listed("?0999"), ["a0999"]);
    assert_eq!(listed("*[!]*"), Vec::<String>::new());
    assert_eq!(listed("?"), ["z"]);
    cli.run(["outputs", "*y"])
        .code(0)
        .stdout("")
        .stderr(&format!("flowlock: no output matches *y {}", place()));
    assert_eq!(cli.run(["outputs"]).code(0).out().lines().count(), 1 + all.len());
}

#[test]
fn a_page_that_is_just_full_is_the_last_one() {
    let cli = cli();
    written(&cli);
    cli.run(["outputs", "rm", "z"]).code(0);
    let listed = names(&cli.run(["outputs", "*9", "--json"]).json(), "records", "name");
    assert_eq!((listed.len(), listed.last().unwrap().as_str()), (100, "a0999"));
}

#[test]
fn names_are_checked_to_the_end() {
    let cli = cli();
    let all = written(&cli);
    let line =
        |names: &[String]| cli.run(["check", "--json"].into_iter().chain(names.iter().map(String::as_str)));
    for (many, behind) in [(249, "z"), (250, "z"), (251, "z"), (501, "z"), (250, "none"), (501, "none")] {
        let asked: Vec<String> = all[..many].iter().cloned().chain([behind.to_owned()]).collect();
        let told = line(&asked).json();
        assert_eq!(names(&told, "names", "name"), asked, "{many}");
        assert_eq!(told["ok"], behind == "z", "{many}");
        assert_eq!(told["names"][many]["ok"], behind == "z", "{many}");
    }
}

#[test]
fn runs_are_listed_to_the_end() {
    let cli = cli();
    let flowlock = flowlock(&cli);
    let first = flowlock.job("first").lock("gate").acquire().unwrap().detach().unwrap();
    let others = (0..250).map(|n| {
        let job = flowlock.job(format!("job{n:03}")).lock(format!("lock{n:03}"));
        job.acquire().unwrap().detach().unwrap().as_str().to_owned()
    });
    let running: Vec<String> = [first.as_str().to_owned()].into_iter().chain(others).collect();
    let waiting = cli.start(["run", "--name", "last", "-l", "gate", "--", "true"]);
    let told = flowlock_testkit::until("a waiting run", flowlock_testkit::PATIENCE, || {
        let told = cli.run(["status", "--json"]).code(0).json();
        (!told["waiting"].as_array().unwrap().is_empty()).then_some(told)
    });
    assert_eq!(names(&told, "running", "run"), running);
    assert_eq!(names(&told, "waiting", "job"), ["last"]);
    let status = cli.run(["status", "--all"]);
    assert!(running.iter().all(|run| status.out().contains(&format!("\n{run} "))), "{status:?}");
    // Whoever is in its way stands on the first page, and it itself on the second.
    cli.run(["why", "job:last"]).code(0).stdout_has("lock gate is held by first (run ");
    cli.run(["why", "job:job249"]).code(0).stdout_has("(-l lock249): running, since ");
    cli.run(["doctor"]).stdout_has("252 alive in namespace default");
    cli.run(["fail", first.as_str()]).code(0);
    waiting.wait().code(0);
}
