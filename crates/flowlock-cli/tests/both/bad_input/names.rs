//! Names, templates and ids.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{cli, was_asked};

const RULE: &str = "; use 1 to 512 bytes of UTF-8 without control or invisible characters; the only blank allowed is the space, and not as the first or last character\n";

#[test]
fn names_that_are_none_are_refused_with_the_character() {
    let cli = cli();
    let cases: [(&str, &str); 18] = [
        ("", "invalid name \"\": it is empty"),
        ("  ", "invalid name \"  \": it has only spaces"),
        ("sales ", "invalid name \"sales \": it ends with a space, so it would look like another name"),
        (" sales", "invalid name \" sales\": it begins with a space, so it would look like another name"),
        ("a\u{1b}[2J", r#"invalid name "a\x1b[2J": control character U+001B at byte 1"#),
        ("a\u{1b}]0;x\u{7}", r#"invalid name "a\x1b]0;x\x07": control character U+001B at byte 1"#),
        ("a\nb", r#"invalid name "a\nb": control character U+000A at byte 1"#),
        ("a\tb", r#"invalid name "a\tb": control character U+0009 at byte 1"#),
        ("a\rb", r#"invalid name "a\rb": control character U+000D at byte 1"#),
        ("a\u{7f}", r#"invalid name "a\x7f": control character U+007F at byte 1"#),
        ("\u{202e}gnp.exe", r#"invalid name "\u{202e}gnp.exe": invisible character U+202E at byte 0"#),
        ("a\u{200b}b", r#"invalid name "a\u{200b}b": invisible character U+200B at byte 1"#),
        ("\u{feff}a", r#"invalid name "\u{feff}a": invisible character U+FEFF at byte 0"#),
        ("a\u{3164}", r#"invalid name "a\u{3164}": invisible character U+3164 at byte 1"#),
        ("a\u{fe0f}", r#"invalid name "a\u{fe0f}": invisible character U+FE0F at byte 1"#),
        ("a\u{a0}b", r#"invalid name "a\u{a0}b": blank U+00A0 at byte 1"#),
        ("\u{3000}", r#"invalid name "\u{3000}": blank U+3000 at byte 0"#),
        (
            "e\u{301}",
            "invalid name \"e\u{301}\": it is not in Unicode normal form C, so it would look like another name",
        ),
    ];
    for (name, said) in cases {
        for flag in ["-i", "-o", "-l", "--lock-shared"] {
            cli.run(["run", flag, name, "--", "true"])
                .code(64)
                .stdout("")
                .stderr(&format!("flowlock: {said}{RULE}"));
        }
        cli.run(["outputs", "create", name]).code(64).stderr(&format!("flowlock: {said}{RULE}"));
    }
    let long = "x".repeat(513);
    let shown = format!("{}…", "x".repeat(80));
    cli.run(["run", "-l", &long, "--", "true"])
        .code(64)
        .stderr(&format!("flowlock: invalid name \"{shown}\": it has 513 bytes{RULE}"));
    assert!(!was_asked(&cli), "the store was asked");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let name = OsStr::from_bytes(b"a\xff\xfe");
    cli()
        .run([OsStr::new("run"), OsStr::new("-o"), name, OsStr::new("--"), OsStr::new("true")])
        .code(64)
        .stderr_has(r"not UTF-8: \xff at byte 1; names must be UTF-8");
}

#[test]
fn bytes_that_are_no_text_reach_the_command_untouched() {
    let name = OsStr::from_bytes(b"\xff");
    let line = ["run", "-l", "x", "--", "sh", "-c", "printf %s \"$1\" | od -An -tx1", "sh"].map(OsStr::new);
    cli().run(line.into_iter().chain([name])).code(0).stdout(" ff\n");
}

#[test]
fn ordinary_characters_alter_no_path_and_no_pattern() {
    let cli = cli();
    let names = [
        "../../etc/passwd",
        "/",
        ".",
        "//a//b",
        "a/",
        "*",
        "?",
        "[",
        ":",
        "a b",
        "'",
        "\"",
        "\\",
        "$HOME",
        "%",
        ";--",
        "é",
        "日本",
    ];
    for name in names {
        cli.run(["run", "-o", name, "--", "true"]).code(0).stderr("");
    }
    cli.run(["run", "--wait", "0", "--output=-rf", "-i=--", "-o=--", "--if-written", "fail", "--", "true"])
        .code(66)
        .stdout("")
        .stderr_has("input -- is missing");
    cli.run(["run", "-o", "}}{{", "--", "true"]).code(0);
    let listed = cli.run(["outputs", "--json"]).json()["records"].as_array().unwrap().len();
    assert_eq!(listed, names.len() + 1);
    // The store's directory, and what commands remember of it.
    assert_eq!(std::fs::read_dir(cli.home()).unwrap().count(), 2, "a name became a file");
}

#[test]
fn the_same_name_twice_is_one_claim() {
    let cli = cli();
    cli.run(["run", "-o", "a", "-o", "a", "-l", "a", "-l", "a", "--", "true"]).code(0);
    cli.run(["run", "-i", "a", "-o", "a", "--", "true"]).code(0);
    cli.run(["run", "--wait", "0", "-i", "b", "-o", "b", "--", "true"]).code(66);
    cli.run(["run", "-i", "a", "-o", "a", "--on-fail", "incomplete", "--", "true"])
        .code(64)
        .stderr_has("a is input and output; after a failure nothing could repair it");
}

#[test]
fn an_unknown_template_is_named() {
    cli().run(["run", "-o", "a.{user}", "--", "true"]).code(64).stderr(
        "flowlock: \"a.{user}\": unknown {user}; known are {date}, {hour} and {month}, as in {date-1d}, \
         {date-7d..date-1d} or {date:YYYYMMDD}; {{ is a brace\n",
    );
    cli().run(["run", "-o", "a", "--date", "tomorrow", "--", "true"]).code(64).stderr(
        "flowlock: \"tomorrow\" is not a date; give 2026-11-22, 2026-11-22T10:00, 2026-11-22T10:00+01:00 or Unix seconds\n",
    );
    cli()
        .run(["run", "-o", "a", "--tz", "Mars", "--", "true"])
        .code(64)
        .stderr("flowlock: unknown time zone \"Mars\"; give one like Europe/Berlin, UTC or local\n");
}

#[test]
fn a_parent_that_is_no_run_id_is_refused() {
    let cli = cli().with("FLOWLOCK_RUN_ID", "a\u{1b}");
    cli.run(["run", "-l", "x", "--", "true"])
        .code(64)
        .stderr("flowlock: FLOWLOCK_RUN_ID in the environment is not a run id; unset it\n");
}

#[test]
fn a_namespace_or_job_that_is_none_is_refused() {
    cli().run(["status", "--namespace", "a\u{1b}"]).code(64).stderr_has(r#"invalid namespace "a\x1b""#);
    cli()
        .run(["run", "--name", "", "-l", "x", "--", "true"])
        .code(64)
        .stderr_has(r#"invalid job "": it is empty"#);
    cli()
        .run(["start", "j", "--id", "a\tb", "--duration", "1m", "-l", "x"])
        .code(64)
        .stderr_has(r#"invalid run id "a\tb""#);
}
