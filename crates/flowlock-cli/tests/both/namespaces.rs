//! `namespaces`: listed, and removed once they are empty.

use super::{cli, place_in, shown};
use crate::Told as _;

/// Whoever may use the store may have made one with such a name.
#[test]
fn what_is_pasted_from_a_message_is_one_argument_whatever_the_name() {
    let cli = cli();
    for (name, pasted) in [("$(id) it's `x`", r"'$(id) it'\''s `x`'"), ("-rf", "-- -rf")] {
        let namespace = format!("--namespace={name}");
        cli.run(["outputs", "create", "a", &namespace]).code(0);
        cli.run(["outputs", "rm", "a", &namespace]).code(0);
        cli.run(["doctor"]).stdout_has(&format!(" empty, for `flowlock namespaces rm`: {pasted}"));
        cli.run(["namespaces", "rm", "--yes", "--", name]).code(0);

        let held = format!("--lock={name}");
        let id = format!("--id={name}");
        cli.run(["start", "build", "--duration", "1m", &held]).code(0);
        cli.run(["start", "build", "--duration", "1m", &id, "-l", "other"]).code(0);
        let run = pasted.trim_start_matches("-- ").trim_start_matches('\'');
        let quote = if pasted.ends_with('\'') { "'" } else { "" };
        let either = format!("say which: {quote}run:{run} or {quote}name:{run}");
        cli.run(["unlock", "--yes", "--", name]).code(64).stderr_has(&either);
        cli.run(["fail", "--", name]).code(0);
        cli.run(["unlock", "--yes", "--now", &format!("name:{name}")]).code(0);
    }
}

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn namespaces_are_listed_with_what_is_in_them() {
    let cli = cli();
    cli.run(["namespaces"]).code(0).stdout("").stderr(&format!("flowlock: store {} is empty\n", shown()));
    cli.run(["outputs", "create", "a", "b", "--namespace", "team a/prod"]).code(0);
    cli.run(["run", "--namespace", "ci", "-l", "x", "--", "true"]).code(0);
    cli.run(["start", "build", "--duration", "1m", "-l", "x", "--namespace", "ci"]).code(0);
    let text = cli.run(["namespaces"]);
    text.code(0).stderr("").stdout_has("NAMESPACE    RUNNING  WAITING  RECORDS  OUTCOMES  LAST USED\n");
    text.stdout_has("\nci           1        0        0        1         2")
        .stdout_has("\nteam a/prod  0        0        2        0         2");
    let json = cli.run(["namespaces", "list", "--json"]).code(0).json();
    assert_eq!(keys(&json), ["namespaces", "store", "version"]);
    let shape = ["last_used", "namespace", "outcomes", "records", "running", "waiting"];
    assert_eq!(keys(&json["namespaces"][0]), shape);
    assert_eq!(
        (&json["namespaces"][0]["namespace"], &json["namespaces"][1]["records"]),
        (&"ci".into(), &2.into())
    );
    cli.run(["doctor"]).stdout_has("namespaces").stdout_has("ci, default, team a/prod");
}

#[test]
fn an_empty_namespace_is_removed_and_may_be_used_again() {
    let cli = cli();
    let in_ci = |line: &[&str]| cli.run(line.iter().chain(&["--namespace", "ci"]));
    in_ci(&["outputs", "create", "a"]).code(0);
    cli.run(["namespaces", "rm", "ci", "--yes"]).code(75).stderr(&format!(
        "flowlock: namespace ci is not empty: it has 0 running, 0 waiting, 1 record, 0 remembered outcomes {}",
        place_in("ci")
    ));
    in_ci(&["outputs", "rm", "a"]).code(0);
    cli.run(["namespaces", "rm", "ci"]).code(64).stderr(
        "flowlock: namespaces rm asks before it acts, but standard input is not a terminal; add --yes\n",
    );
    cli.run(["run", "--namespace", "ci", "-l", "x", "--", "true"]).code(0);
    cli.run(["namespaces", "rm", "ci", "--yes"]).code(75).stderr_has(
        "flowlock: namespace ci is not empty: the outcomes of its last runs are kept for 9 min 5",
    );
    cli.run(["outputs", "create", "a", "--namespace", "other"]).code(0);
    cli.run(["outputs", "rm", "a", "--namespace", "other"]).code(0);
    cli.run(["namespaces", "rm", "other", "--yes"]).code(0).stdout("").stderr("");
    assert_eq!(cli.run(["namespaces", "--json"]).json()["namespaces"].as_array().unwrap().len(), 1);
    // Repeated, it is no failure; and nobody takes what comes next for a store that went back.
    cli.run(["namespaces", "rm", "other", "never", "-y"])
        .code(0)
        .stderr_has("there is no namespace other: it was removed by ")
        .stderr_has(&format!("flowlock: there is no namespace never {}", place_in("never")));
    cli.run(["namespaces", "rm", "other", "--yes", "-q"]).code(0).stderr("");
    cli.run(["status", "--namespace", "other"]).code(0);
    cli.run(["run", "--namespace", "other", "-o", "a", "--", "true"]).code(0).stderr("");
    cli.run(["outputs", "--namespace", "other"]).code(0).stdout_has("\na ");
    cli.run(["namespaces", "rm", "a\u{1b}b", "--yes"]).code(64).stderr_has("invalid namespace");
}
