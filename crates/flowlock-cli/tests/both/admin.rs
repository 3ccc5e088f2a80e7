//! `unlock`, `doctor`, `config`.

use std::fs;

use super::{cli, cli_that_keeps, place};
use crate::Told as _;

#[test]
fn unlock_asks_only_on_a_terminal() {
    let cli = cli();
    let run = cli.run(["start", "build", "--duration", "1m", "-l", "x"]).out().trim_end().to_owned();
    cli.run(["unlock", "x"])
        .code(64)
        .stderr("flowlock: unlock asks before it acts, but standard input is not a terminal; add --yes\n");
    cli.run(["unlock", "x", "--yes", "--if-older", "1h"])
        .code(1)
        .stderr_has(&format!("flowlock: {run} has held its names for only "));
    cli.run(["unlock", &run, "--yes", "--now"]).code(0).stderr(&format!(
        "flowlock: the names of {run} are free; processes that were started for it may still run\n"
    ));
    cli.run(["unlock", "x", "--yes"]).code(1).stderr(&format!("flowlock: nobody holds x {}", place()));
    cli.run(["commit", &run]).code(79).stderr_has("lost its names (unlocked by hand)");
}

#[test]
fn the_loser_and_everybody_else_is_told_who_did_it() {
    let cli = cli();
    let started = |name: &str| {
        let line = ["start", "build", "--duration", "10m", "-o", name];
        cli.run(line).out().trim_end().to_owned()
    };
    let me = format!("{}@{} pid ", user(), host());
    let script = "echo $FLOWLOCK_RUN_ID; sleep 60";
    let lost = cli.start(["run", "--name", "loser", "--duration", "3s", "-o", "x", "--", "sh", "-c", script]);
    lost.says("\n");
    let loser = lost.stdout().trim().to_owned();
    cli.run(["unlock", &loser, "--yes"]).code(0);
    lost.wait()
        .code(79)
        .stderr_has("(unlocked by hand); its outputs are not recorded as written")
        .stderr_has(&format!("\n  unlocked by {me}"));
    cli.run(["why", &format!("run:{loser}")]).stdout_has(&format!("\n  unlocked by {me}"));

    let (committed, failed, revoked) = (started("a"), started("b"), started("c"));
    cli.run(["commit", &committed]).code(0);
    cli.run(["fail", &failed]).code(0);
    cli.run(["unlock", &revoked, "--yes"]).code(0);
    cli.run(["why", &format!("run:{committed}")]).stdout_has(&format!("\n  committed by {me}"));
    cli.run(["why", &format!("run:{failed}")]).stdout_has(&format!("\n  failed by {me}"));
    cli.run(["status"]).stdout_has(&format!("unlocked by {me}"));
    let running = cli.run(["status", "--json"]).json()["running"][0]["by_hand"].clone();
    assert_eq!(
        (running["user"].as_str(), running["host"].as_str()),
        (Some(user().as_str()), Some(host().as_str()))
    );
    cli.run(["commit", &revoked]).code(79).stderr_has(&format!("\n  unlocked by {me}"));
    // With that it is over.
    cli.run(["why", &format!("run:{revoked}")])
        .stdout_has(": lost(broken), since ")
        .stdout_has(&format!("\n  unlocked by {me}"));
    assert_eq!(
        cli.run(["why", &format!("run:{revoked}"), "--json"]).json()["runs"][0]["state"],
        "lost(broken)"
    );
    cli.run(["run", "--wait", "0", "-o", "c", "--", "true"]).code(0);

    cli.run(["outputs", "create", "made"]).code(0);
    let record = cli.run(["outputs", "made", "--json"]).json()["records"][0].clone();
    assert!(record["by_hand"]["pid"].is_number() && record["by_hand"]["at"].is_string(), "{record}");
    cli.run(["why", "name:made"]).stdout_has(&format!("\n  by hand of {me}"));
    cli.run(["outputs", "rm", "made"]).code(0);
    cli.run(["why", "name:made"]).stdout_has(&format!("its record was removed by {me}"));
    let run = ["run", "--wait", "0", "-i", "made", "--", "true"];
    cli.run(run).code(66).stderr_has(&format!("its record was removed by {me}"));
}

fn user() -> String {
    flowlock::Origin::of_this_process().user
}

fn host() -> String {
    flowlock::Origin::of_this_process().host
}

#[test]
fn unlock_wants_the_run_if_several_hold_a_name() {
    let cli = cli();
    let line = ["start", "build", "--duration", "1m", "--lock-shared", "x"];
    let first = cli.run(line).out().trim_end().to_owned();
    let second = cli.run(line).out().trim_end().to_owned();
    let said = cli.run(["unlock", "x", "--yes"]);
    said.code(64).stderr_has("x is held by several runs; unlock them by their ids: build.");
    cli.run(["unlock", &format!("run:{first}"), "--yes", "--now"]).code(0);
    cli.run(["verify", &first]).code(79);
    cli.run(["verify", &second]).code(0);
}

#[test]
fn unlock_takes_no_run_for_a_name_that_another_holds() {
    let cli = cli();
    let held = cli.run(["start", "build", "--duration", "1m", "-l", "backup"]).out().trim_end().to_owned();
    cli.run(["start", "evil", "--id", "backup", "--duration", "1m", "-l", "other"]).code(0);
    cli.run(["unlock", "backup", "--yes", "--now"]).code(64).stderr_has(&format!(
        "backup is a run, and a name held by {held}; say which: run:backup or name:backup"
    ));
    cli.run(["verify", &held]).code(0);
    cli.run(["verify", "backup"]).code(0);
    cli.run(["unlock", "name:backup", "--yes", "--now"]).code(0);
    cli.run(["verify", &held]).code(79);
    // Nobody holds the name now, so only the run can be meant; and a run may hold its own name.
    cli.run(["unlock", "backup", "--yes", "--now"]).code(0);
    cli.run(["verify", "backup"]).code(79);
    cli.run(["start", "build", "--id", "both", "--duration", "1m", "-l", "both"]).code(0);
    cli.run(["unlock", "both", "--yes", "--now"]).code(0);
}

#[test]
fn doctor_finds_a_healthy_store_healthy() {
    let cli = cli_that_keeps();
    let told = cli.run(["doctor", "--json"]);
    let report = told.code(0).json();
    assert_eq!(report["ok"], true);
    // What comes after depends on the kind of store.
    let found: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(found[..3], ["flowlock", "store", "works"]);
    assert!(cli.run(["doctor"]).code(0).out().contains("ok  works"));
}

#[test]
fn settings_show_where_they_come_from() {
    let cli = cli();
    fs::write(cli.home().join("flowlock.toml"), "namespace = 'prod'\nduration = '5m'\n").unwrap();
    cli.run(["trust"]).code(0);
    let shown = cli.run(["config", "show", "--origin", "--store", "memory:"]);
    shown.code(0).stderr("").stdout(
        "SETTING        VALUE    ORIGIN\n\
         store          memory:  --store\n\
         namespace      prod     ~/flowlock.toml:1\n\
         duration       5m       ~/flowlock.toml:2\n\
         keep_lapsed    1d       default\n\
         tz             UTC      default\n\
         store_timeout  30s      default\n\
         commit_wait    30s      default\n",
    );
    assert_eq!(cli.run(["config", "show", "--json"]).json()["settings"][0]["origin"], "$FLOWLOCK_STORE");
    cli.run(["run", "-l", "x", "--", "sh", "-c", "echo $FLOWLOCK_NAMESPACE"]).stdout("prod\n");
}

#[test]
fn a_setting_out_of_its_limits_names_its_file() {
    let cli = cli();
    fs::write(cli.home().join("flowlock.toml"), "duration = '8d'\n").unwrap();
    cli.run(["trust", "-q"]).code(0).stderr("");
    cli.run(["run", "-l", "x", "--", "true"])
        .code(78)
        .stderr("flowlock: duration \"8d\" from ~/flowlock.toml:1: out of range; give 1s to 7d\n");
}
