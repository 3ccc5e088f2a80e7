//! Commands, flags and their values.

use super::cli;

#[test]
fn a_run_that_claims_nothing_is_a_mistake() {
    cli().run(["run", "--", "true"]).code(64).stderr(
        "flowlock: nothing is claimed, so this would only run the command; give -i, -o, -l, --lock-shared, --slot or --single\n",
    );
    cli()
        .run(["start", "j", "--duration", "1m"])
        .code(64)
        .stderr("flowlock: nothing is claimed; give -i, -o, -l, --lock-shared, --slot or --single\n");
}

#[test]
fn a_missing_command_is_a_mistake() {
    for line in [&["run", "-l", "x"][..], &["run", "-l", "x", "--"]] {
        cli()
            .run(line)
            .code(64)
            .stderr_has("the following required arguments were not provided:\n  <COMMAND>...");
    }
}

#[test]
fn durations_name_their_limits() {
    for (flag, value, said) in [
        ("--duration", "0", "out of range; give 1s to 7d"),
        ("--duration", "8d", "out of range; give 1s to 7d"),
        ("--duration", "87600h", "out of range; give 1s to 7d"),
        ("--duration", "nan", "not a duration; give 1s to 7d, as in 90, 90s, 15m, 1h30m or 7d"),
        ("--duration", "1e308", "not a duration; give 1s to 7d, as in 90, 90s, 15m, 1h30m or 7d"),
        (
            "--duration=-1",
            "",
            "a duration cannot have a sign; give 1s to 7d, as in 90, 90s, 15m, 1h30m or 7d",
        ),
        (
            "--wait=-1",
            "",
            "a duration cannot have a sign; give 0s to 366d, or forever, as in 90, 90s, 15m, 1h30m or 7d",
        ),
        ("--wait", "soon", "not a duration; give 0s to 366d, or forever, as in 90, 90s, 15m, 1h30m or 7d"),
        (
            "--output-duration",
            "1y",
            "months and years vary in length; give 1s to 36500d, as in 90, 90s, 15m, 1h30m or 7d",
        ),
        ("--max-runtime", "0.5", "not a duration; give 1s to 366d, as in 90, 90s, 15m, 1h30m or 7d"),
    ] {
        let value = Some(value).filter(|value| !value.is_empty());
        let line = ["run", "-l", "x", flag].into_iter().chain(value).chain(["--", "true"]);
        cli().run(line).code(64).stderr_has(said);
    }
    for good in ["5", "5m", "5 minutes"] {
        cli().run(["run", "-l", "x", "--duration", good, "--", "true"]).code(0).stderr("");
    }
}

#[test]
fn kill_after_leaves_time_for_renewing() {
    cli().run(["run", "-l", "x", "--duration", "9s", "--kill-after", "4s", "--", "true"]).code(64).stderr(
        "flowlock: --kill-after 4s is more than a third of the lease; with --duration 9s give at most 3s\n",
    );
    cli().run(["run", "-l", "x", "--duration", "9s", "--kill-after", "3s", "--", "true"]).code(0);
}

#[test]
fn kill_after_leaves_time_for_the_command() {
    // The default is a third of what the run may take.
    let short = ["run", "-l", "x", "--max-runtime", "3s", "--", "sh", "-c", "sleep 1; echo done"];
    cli().run(short).code(0).stdout("done\n").stderr("");
    cli().run(["run", "-l", "x", "--max-runtime", "3s", "--kill-after", "4s", "--", "true"]).code(64).stderr(
        "flowlock: --kill-after 4s is not shorter than --max-runtime 3s: the command would be ended as soon as it begins\n",
    );
}

#[test]
fn slots_show_how_they_are_written() {
    for bad in ["gpu", "gpu:0", "gpu:5/4", "gpu:-1", ":4", "gpu:10001"] {
        cli()
            .run(["run", "--slot", bad, "--", "true"])
            .code(64)
            .stderr_has("write NAME:CAP or NAME:N/CAP, as in gpu:4 or gpu:2/4, with 1 <= N <= CAP <= 10000");
    }
    cli().run(["run", "--slot", "a:2", "--slot", "a:2", "--", "true"]).code(64).stderr_has("slot");
}

#[test]
fn no_escape_of_a_mistyped_value_reaches_the_terminal() {
    for line in [
        ["run", "--duration", "\u{1b}]0;owned\u{7}", "x"],
        ["\u{1b}[2J", "x", "x", "x"],
        ["run", "--\u{1b}[2J", "x", "x"],
        ["refresh", "a\u{1b}[2J\u{202e}", "--json", "--quiet"],
    ] {
        let refused = cli().run(line);
        refused.code(64);
        let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!refused.err().contains(hidden), "{refused:?}");
    }
}

#[test]
fn a_misspelt_command_or_flag_says_what_was_meant() {
    cli().run(["statsu"]).code(64).stderr_has("some similar subcommands exist: 'start', 'status'");
    cli()
        .run(["run", "--ouput", "a", "--", "true"])
        .code(64)
        .stderr_has("a similar argument exists: '--output'");
}
