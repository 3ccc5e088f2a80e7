//! What a file's content may show.

use crate::{Told as _, cli_with_a_file as cli};

/// Alone: JSON comes from one place whatever the store.
#[test]
fn json_on_a_terminal_hides_nothing_and_in_a_file_is_as_it_was() {
    let cli = cli();
    let note = "\u{1b}]0;x\u{7} \u{7f}\u{9b}2J \u{202e}\u{2066}\u{200b}end";
    cli.run(["run", "-o", "a", "--note", note, "--", "true"]).code(0);
    assert_eq!(cli.run(["outputs", "--json"]).json()["records"][0]["note"], note);
    let terminal = cli.terminal(["outputs", "--json"]);
    terminal.shows("end");
    let raw = String::from_utf8(terminal.raw()).unwrap();
    for hidden in ['\u{1b}', '\u{7}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}'] {
        assert!(!raw.contains(hidden), "{hidden:?} in {raw:?}");
    }
    terminal.wait().code(0).stdout_has(r"\u202e");
}

/// Alone: SQLite repeats names of its schema.
#[test]
fn what_stands_in_the_files_schema_floods_no_message() {
    let cli = cli();
    cli.run(["run", "-l", "x", "--", "true"]).code(0);
    let long = "x".repeat(1_000_000);
    let put = format!(
        "pragma writable_schema = on; insert into sqlite_schema values ('table', '{long}', 't', 99, 'create nonsense')"
    );
    flowlock_testkit::sql(cli.store(), &put);
    for line in [&["run", "-l", "x", "--", "true"][..], &["status"], &["doctor"]] {
        let ended = cli.run(line);
        assert!(!ended.status().success());
        let said = ended.err().len() + ended.out().len();
        assert!((50..5_000).contains(&said), "{line:?}: {said} bytes");
    }
}

/// Alone: a row is altered in the file.
#[test]
fn an_end_at_the_end_of_all_time_is_shown_in_json() {
    let cli = cli();
    cli.run(["start", "build", "--duration", "1m", "-l", "x"]).code(0);
    flowlock_testkit::sql(cli.store(), "update run set deadline_ms = 9223372036854775807");
    let status = cli.run(["status", "--json"]);
    assert!(status.code(0).json()["running"][0]["deadline"].is_string(), "{status:?}");
}
