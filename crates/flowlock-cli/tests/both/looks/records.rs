//! `outputs` and `check`.

use std::time::Duration;

use super::{cli, held, keys, place, place_in};
use crate::Told as _;

#[test]
fn what_a_rewrite_left_incomplete_is_marked_in_the_list() {
    let cli = cli();
    cli.run(["outputs", "create", "a", "b"]).code(0);
    cli.run(["run", "-o", "a", "--on-fail", "incomplete", "--", "false"]).code(1);
    let listed = cli.run(["outputs"]);
    let lines: Vec<&str> = listed.out().lines().collect();
    assert!(lines[1].starts_with("a (incomplete)  ") && lines[2].starts_with("b  "), "{listed:?}");
}

#[test]
fn outputs_as_json_have_their_documented_shape() {
    let cli = cli();
    cli.run([
        "run",
        "--name",
        "import",
        "-o",
        "sales",
        "--output-duration",
        "30d",
        "--note",
        "n",
        "--",
        "true",
    ])
    .code(0);
    let told = cli.run(["outputs", "--json"]).json();
    assert_eq!(keys(&told), ["records", "version"]);
    let record = &told["records"][0];
    assert_eq!(keys(record), ["expires_at", "job", "name", "note", "run", "version", "written_at"]);
    assert!(record["version"].is_string());
    let time = |key: &str| record[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("expires_at").as_second() - time("written_at").as_second(), 30 * 86_400);
}

#[test]
fn outputs_are_listed_by_pattern() {
    let cli = cli();
    cli.run(["outputs", "create", "sales.1", "sales.2", "stock.1", "[a]"]).code(0).stdout("").stderr("");
    let names = |pattern: &str| -> Vec<String> {
        let records = cli.run(["outputs", pattern, "--json"]).json()["records"].as_array().unwrap().clone();
        records.iter().map(|record| record["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("sales.*"), ["sales.1", "sales.2"]);
    assert_eq!(names("s*.1"), ["sales.1", "stock.1"]);
    assert_eq!(names("sales.?"), ["sales.1", "sales.2"]);
    assert_eq!(names("[a]"), ["[a]"]);
    cli.run(["outputs", "none*"])
        .code(0)
        .stdout("")
        .stderr(&format!("flowlock: no output matches none* {}", place()));
    assert_eq!(cli.run(["outputs", "list", "stock*"]).out().lines().count(), 2);
}

#[test]
fn records_are_created_and_removed_by_hand() {
    let cli = cli();
    cli.run(["outputs", "create", "s.{date}", "--date", "2026-11-22", "--note", "by hand"])
        .code(0)
        .stderr("");
    cli.run(["run", "--wait", "0", "-i", "s.2026-11-22", "--", "true"]).code(0);
    let _reader = held(&cli, &["--name", "reader", "-i", "s.2026-11-22"]);
    cli.run(["outputs", "rm", "s.2026-11-22"]).code(75).stderr_has("s.2026-11-22 is being read by reader");
    cli.run(["outputs", "rm", "s.2026-11-22", "--break"]).code(0).stderr("");
    cli.run(["check", "s.2026-11-22"])
        .code(1)
        .stdout_has("s.2026-11-22: not written: its record was removed by ")
        .stdout_has(", last written by outputs create.");
    cli.run(["outputs", "rm", "s.2026-11-22"])
        .code(0)
        .stderr(&format!("flowlock: there was no record to remove {}", place()));
}

#[test]
fn check_knows_three_answers() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    cli.run(["check", "a", "--max-age", "1h"]).code(0).stdout("").stderr("");
    cli.run(["check", "a", "b"]).code(1).stdout("b: not written: it was never written\n").stderr("");
    std::thread::sleep(Duration::from_millis(1_100));
    let old = cli.run(["check", "a", "--max-age", "1s"]);
    let age = old
        .code(1)
        .out()
        .strip_prefix("a: written ")
        .and_then(|out| out.strip_suffix("s ago, longer than 1s\n"));
    assert!(age.and_then(|age| age.parse().ok()).is_some_and(|age| (1..20).contains(&age)), "{old:?}");
    std::fs::write(cli.home().join("other"), "no store").unwrap();
    cli.run(["check", "a", "--store", "sqlite:other"])
        .code(69)
        .stdout("")
        .stderr_has("is not a flowlock store");
    let told = cli.run(["check", "a", "b", "--json"]);
    assert_eq!(told.code(1).json()["names"][1]["ok"], false);
}

#[test]
fn an_expired_record_does_not_count() {
    let cli = cli();
    cli.run(["outputs", "create", "a", "--output-duration", "1s"]).code(0);
    std::thread::sleep(Duration::from_millis(1_100));
    cli.run(["check", "a"]).code(1).stdout_has("a: not written: its record expired, last written");
    cli.run(["run", "--wait", "0", "-i", "a", "--", "true"])
        .code(66)
        .stderr_has("input a is missing: its record expired, last written by");
    cli.run(["check", "a"])
        .code(1)
        .stdout_has("a: not written: its record expired, last written by outputs create.");
}

#[test]
fn namespaces_do_not_touch() {
    let cli = cli();
    cli.run(["outputs", "create", "a", "--namespace", "prod"]).code(0);
    cli.run(["check", "a", "--namespace", "prod"]).code(0);
    cli.clone().with("FLOWLOCK_NAMESPACE", "prod").run(["check", "a"]).code(0);
    cli.run(["check", "a"]).code(1);
    cli.run(["--namespace", "prod", "run", "--wait", "0", "-i", "b", "--", "true"])
        .code(66)
        .stderr_has(&place_in("prod"));
}
