//! Runs that are refused or skipped.

use super::{cli, place};

#[test]
fn an_input_that_was_never_written_is_missing() {
    let cli = cli();
    let said = "true was not started: input sales is missing: it was never written";
    cli.run(["run", "--wait", "0", "-i", "sales", "--", "true"])
        .code(66)
        .stderr(&format!("flowlock: {said} {}", place()));
    let said = "true did not start within ";
    cli.run(["run", "--wait", "300ms", "-i", "sales", "--", "true"]).code(66).stderr_has(said);
}

#[test]
fn a_misspelt_input_gets_a_hint() {
    let cli = cli();
    cli.run(["outputs", "create", "upstream_revenue"]).code(0);
    cli.run(["run", "--wait", "0", "-i", "upsteam_revenue", "-i", "other", "--", "true"]).code(66).stderr(
        &format!(
            "flowlock: true was not started: input other is missing: it was never written (and 1 more) {}  \
         input upsteam_revenue is missing: it was never written\n  did you mean upstream_revenue?\n",
            place()
        ),
    );
}

#[test]
fn what_is_written_is_overwritten_refused_or_skipped_as_wanted() {
    let cli = cli();
    let run = |choice: &str| {
        cli.run(["run", "--if-written", choice, "-o", "a", "--name", "j", "--", "echo", "ran"])
    };
    run("fail").code(0).stdout("ran\n");
    run("overwrite").code(0).stdout("ran\n");
    run("skip").code(0).stdout("").stderr("");
    let refused = run("fail");
    refused.code(73).stdout("").stderr_has("flowlock: j was not started: output a is already written");
    refused.stderr_has(place().as_str());
}

#[test]
fn taken_names_are_refused_or_skipped_as_wanted() {
    let cli = cli();
    let holder = cli.start(["run", "--name", "holder", "-l", "x", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let run = |choice: &str| {
        cli.run(["run", "--wait", "0", "--if-locked", choice, "--name", "j", "-l", "x", "--", "echo", "ran"])
    };
    run("fail")
        .code(75)
        .stdout("")
        .stderr_has("flowlock: j was not started: lock x is held by holder (run holder.");
    let skipped = run("skip");
    skipped.code(0).stdout("").stderr_has("flowlock: skipped: j was not started: lock x is held by holder");
    assert_eq!(skipped.err().lines().count(), 1);
    cli.run(["run", "--wait", "0", "--if-locked", "skip", "-q", "--name", "j", "-l", "x", "--", "true"])
        .code(0)
        .stderr("");
    // A missing input is not what skipping is for.
    cli.run(["run", "--wait", "0", "--if-locked", "skip", "-i", "none", "--", "true"]).code(66);
}

#[test]
fn single_lets_one_run_of_a_job_in() {
    let cli = cli();
    let holder = cli.start(["run", "--single", "--name", "nightly", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let again = ["run", "--single", "--name", "nightly", "--wait", "0", "--", "true"];
    cli.run(again).code(75).stderr_has("lock nightly is held by nightly (run nightly.");
    cli.run(["run", "--single", "--wait", "0", "--", "true"]).code(0);
}
