//! `status`, and `doctor` on runs.

use std::time::Duration;

use flowlock_testkit::until;
use serde_json::Value;

use super::{PATIENCE, cli, held, keys, place};
use crate::Told as _;

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
