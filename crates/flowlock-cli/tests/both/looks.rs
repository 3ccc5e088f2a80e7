//! `status`, `why`, `outputs` and `check`.

use std::time::Duration;

use flowlock_testkit::{Job, until};
use serde_json::Value;

use super::{cli, place, place_in};
use crate::Told as _;

const PATIENCE: Duration = Duration::from_secs(20);

fn held(cli: &flowlock_testkit::Cli, line: &[&str]) -> Job {
    let job = cli.start(["run"].iter().chain(line).chain(&["--", "sh", "-c", "echo held; sleep 60"]));
    job.says("held");
    job
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_empty_store_shows_how_to_begin() {
    let said = format!(
        "{}\nnothing runs and nothing waits; begin with: flowlock run -o NAME -- COMMAND\n",
        place().trim_matches(['(', ')', '\n']).to_owned() + "\n"
    );
    cli().run(["status"]).code(0).stdout(&said).stderr("");
}

#[test]
fn long_lists_are_cut_and_say_how_many_more_there_are() {
    let cli = cli();
    for n in 0..53 {
        cli.run([
            "start",
            "sales",
            "--id",
            &format!("sales.{n}"),
            "--duration",
            "1s",
            "-o",
            &format!("sales.{n}"),
        ])
        .code(0);
    }
    until("late runs", PATIENCE, || {
        let status = cli.run(["status", "--json"]).json();
        let running = status["running"].as_array().unwrap();
        running.iter().all(|run| run["state"] == "late").then(|| assert_eq!(running.len(), 53))
    });
    let status = cli.run(["status"]);
    status.code(0).stdout_has("\nand 3 more; all of them: flowlock status --all\n");
    assert!(status.out().contains("sales.49 ") && !status.out().contains("sales.50 "));
    let all = cli.run(["status", "--all"]);
    assert!(all.out().contains("sales.52 ") && !all.out().contains("more; all of them"), "{}", all.out());
    let doctor = cli.run(["doctor"]);
    doctor.stdout_has("53 late or revoked; each ends when another run needs its names, or by itself");
    doctor.stdout_has("sales.9 and 43 more\n");
}

#[test]
fn doctor_names_runs_that_were_unlocked_and_have_not_ended() {
    let cli = cli();
    for run in ["kept.1", "unlocked.1"] {
        cli.run(["start", "j", "--id", run, "--duration", "1h", "-o", run]).code(0);
    }
    cli.run(["unlock", "unlocked.1", "--yes"]).code(0);
    let doctor = cli.run(["doctor"]);
    doctor.stdout_has("1 late or revoked; ").stdout_has(" after its lease: unlocked.1\n");
}

#[test]
fn a_killed_run_that_nobody_needs_ends_at_its_deadline_on_one_host() {
    let cli = cli();
    let job = cli.start([
        "run",
        "--name",
        "gone",
        "--duration",
        "1s",
        "-o",
        "x",
        "--",
        "sh",
        "-c",
        "echo $FLOWLOCK_RUN_ID; exec sleep 60",
    ]);
    job.says("\n");
    let run = job.stdout().trim().to_owned();
    job.signal(nix::sys::signal::Signal::SIGKILL);
    job.wait();
    until("the end of its lease, and a step of somebody else", PATIENCE, || {
        cli.run(["run", "-l", "elsewhere", "--", "true"]).code(0);
        let state = cli.run(["status", "--json"]).json()["running"][0]["state"].clone();
        let over = if place().contains("sqlite:") { Value::Null } else { "late".into() };
        (state == over).then_some(())
    });
    if place().contains("sqlite:") {
        cli.run(["why", &format!("run:{run}")]).stdout_has("lost(died)");
    }
}

#[test]
fn status_as_json_has_its_documented_shape() {
    let cli = cli();
    cli.run(["outputs", "create", "raw"]).code(0);
    let _writer = held(
        &cli,
        &[
            "--name",
            "clean",
            "-i",
            "raw",
            "-o",
            "sales",
            "-l",
            "disk",
            "--lock-shared",
            "map",
            "--slot",
            "gpu:2/4",
        ],
    );
    let _waiter = cli.start(["run", "--name", "report", "-i", "sales", "-o", "report", "--", "true"]);
    let status = until("a waiting run", PATIENCE, || {
        let status = cli.run(["status", "--json"]).code(0).json();
        status["waiting"].get(0).is_some().then_some(status)
    });
    assert_eq!(keys(&status), ["namespace", "running", "store", "version", "waiting"]);
    let running = &status["running"][0];
    let shape = [
        "deadline",
        "host",
        "inputs",
        "job",
        "keep_lapsed_ms",
        "locks",
        "locks_shared",
        "outputs",
        "pid",
        "run",
        "since",
        "slots",
        "state",
        "token",
        "user",
    ];
    assert_eq!(keys(running), shape);
    assert_eq!(running["inputs"], serde_json::json!(["raw"]));
    assert_eq!(running["outputs"], serde_json::json!(["sales"]));
    assert_eq!(
        (&running["locks"], &running["slots"]),
        (&serde_json::json!(["disk"]), &serde_json::json!(["gpu:2/4"]))
    );
    assert_eq!(running["locks_shared"], serde_json::json!(["map"]));
    cli.run(["status"]).stdout_has(" -l disk --lock-shared map ");
    assert!(running["token"].is_string() && running["pid"].is_number());
    let waiting = &status["waiting"][0];
    assert_eq!(
        (&waiting["state"], &waiting["token"], &waiting["deadline"]),
        (&"awaiting_input".into(), &Value::Null, &Value::Null)
    );
    let blocker = &waiting["blockers"][0];
    assert_eq!(keys(blocker), ["host", "job", "kind", "lease_left_ms", "name", "pid", "run", "since"]);
    assert_eq!(
        (&blocker["kind"], &blocker["name"], &blocker["job"]),
        (&"input_being_written".into(), &"sales".into(), &"clean".into())
    );
}

/// It is told as a moment, which stays where it is while the lease runs.
#[test]
fn a_deadline_is_the_end_of_the_lease() {
    let cli = cli();
    let begun = jiff::Timestamp::now();
    cli.run(["start", "j", "--duration", "1h", "-o", "a"]).code(0);
    let deadline = || {
        let status = cli.run(["status", "--json"]).json();
        let told: jiff::Timestamp = status["running"][0]["deadline"].as_str().unwrap().parse().unwrap();
        told.duration_since(begun).as_millis()
    };
    let first = deadline();
    assert!((3_600_000..3_660_000).contains(&first), "{first}");
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(deadline().abs_diff(first) < 1_000, "{} and {first}", deadline());
}

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
fn why_follows_the_chain_to_its_root() {
    let cli = cli();
    cli.run(["outputs", "create", "b"]).code(0);
    let _root = held(&cli, &["--name", "root", "-o", "a"]);
    let queued = |name: &str| {
        until("a queued run", PATIENCE, || {
            cli.run(["status"]).out().contains(&format!("{name}.")).then_some(())
        });
    };
    let _middle = cli.start(["run", "--name", "middle", "-o", "a", "-o", "b", "--", "true"]);
    queued("middle");
    let _last = cli.start(["run", "--name", "last", "-i", "b", "--", "true"]);
    queued("last");
    let told = cli.run(["why", "job:last"]);
    let lines: Vec<&str> = told.code(0).out().lines().collect();
    assert!(lines[0].starts_with("last.") && lines[0].contains("(-i b): queued, since "), "{told:?}");
    assert!(lines[1].starts_with("  queued for b behind middle (run middle."), "{told:?}");
    assert!(lines[2].starts_with("    middle.") && lines[2].contains("queued"), "{told:?}");
    assert!(lines[3].starts_with("      output a is being written by root (run root."), "{told:?}");
    assert_eq!(cli.run(["why", "--json"]).json()["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn why_tells_what_is_known_of_a_name() {
    let cli = cli();
    cli.run(["run", "--name", "import", "-o", "sales", "--note", "/data/s", "--", "true"]).code(0);
    cli.run(["run", "--name", "import", "-o", "sales", "--", "false"]).code(1);
    let told = cli.run(["why", "sales"]);
    told.code(0).stderr("");
    for part in [
        "sales: written at ",
        " by import.",
        "note: /data/s",
        "the last attempt to write it, import.",
        "ended failed at",
        "nobody holds it",
    ] {
        assert!(told.out().contains(part), "no {part:?} in {told:?}");
    }
    cli.run(["why", "name:salse"])
        .code(1)
        .stdout_has("salse: not written: it was never written; did you mean sales?");
    let _writer = held(&cli, &["--name", "import", "-o", "sales"]);
    cli.run(["why", "name:sales"]).stdout_has("  held by import (run import.");
    cli.run(["why", "job:none"]).code(1).stdout(&format!("no such run or job is known {}", place()));
    cli.run(["why", "--json", "run:none"]).code(1);
    cli.run(["why", "--json", "name:none"]).code(1);
    cli.run(["why", "nothing.known"]).code(1).stdout_has("nothing.known: not written");
    let waiting = cli.start(["run", "-i", "awaited", "--", "true"]);
    waiting.warns("input awaited was never written");
    let told = cli.run(["why", "name:awaited"]);
    told.code(0).stdout_has("as data, waited for by true (run true.");
    told.stdout_has("; it is in no queue: flowlock why run:true.");
    let seen = cli.run(["why", "--json", "name:awaited"]).json()["name"].clone();
    assert_eq!(seen["in_no_line"].as_array().expect("a list").len(), 1, "{seen}");
    assert_eq!((&seen["waited_for_by"], &seen["more_in_no_line"]), (&seen["in_no_line"], &false.into()));
    waiting.signal(nix::sys::signal::Signal::SIGTERM);
    waiting.wait().code(143);
    cli.run(["why"]).code(0).stdout(&format!("nothing waits {}", place()));
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
