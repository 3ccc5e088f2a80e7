//! Everything that can be typed wrong, with the exact answer.

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
fn a_pipe_that_nobody_reads_or_writes_is_waited_for_by_nobody() {
    let cli = cli();
    let pipe = cli.home().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = pipe.to_str().unwrap();
    cli.run(["run", "-l", "x", "--json-result", pipe, "--", "true"])
        .code(64)
        .stderr_has("--json-result ~/pipe: No such device or address (os error 6); no process reads it");
    let there = cli.clone().with("TZ", pipe);
    there.run(["outputs", "create", "a"]).code(0);
    there.run(["outputs"]).code(0);
    let said = "flowlock: TZ names ~/pipe, which is not a file of a time zone (a regular file of at most 1 MiB); unset it";
    there.run(["run", "-l", "x{date}", "--tz", "local", "--", "true"]).code(64).stdout("").stderr_has(said);
    there.run(["run", "-l", "x{date}", "--tz", "Europe/Berlin", "--", "true"]).code(0);
}

#[test]
fn a_time_zone_is_read_from_a_regular_file_of_at_most_1_mib() {
    let cli = cli().without("TZ");
    let home = cli.home();
    let long = std::fs::File::create(home.join("long")).unwrap();
    // It takes no place on the disk, and would take that of all memory.
    long.set_len(1 << 40).unwrap();
    nix::unistd::mkfifo(&home.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let day = |cli: &flowlock_testkit::Cli, zone: &str| {
        let dated = ["run", "-l", "x", "--tz", zone, "--", "sh", "-c", "echo $FLOWLOCK_DATE"];
        cli.run(dated)
    };
    for path in ["long", "pipe"].map(|name| home.join(name)) {
        let path = path.to_str().unwrap();
        for set in [path, &format!(":{path}")] {
            let there = cli.clone().with("TZ", set);
            day(&there, "local").code(64).stdout("").stderr_has("which is not a file of a time zone");
            there.run(["outputs", "create", "a"]).code(0);
            there.run(["outputs"]).code(0);
        }
    }
    // By a path from here, and as a name in a list of zones.
    let here = cli.clone().in_directory(&home).with("TZ", "long");
    day(&here, "local").code(64).stdout("").stderr_has("which is not a file of a time zone");
    std::fs::remove_file(home.join("pipe")).unwrap();
    let list = cli.clone().with("TZDIR", &home);
    day(&list.clone().with("TZ", "long"), "local").code(64).stdout("");
    day(&list, "long").code(64).stdout("").stderr_has("unknown time zone \"long\"");
    // What is no longer than that is read, and a zone's name is one whatever lies here.
    std::fs::write(home.join("short"), "no zone").unwrap();
    day(&cli.clone().with("TZ", home.join("short")), "local").code(0);
    std::fs::create_dir_all(home.join("Europe/Berlin")).unwrap();
    let there = cli.in_directory(&home);
    day(&there.with("TZ", "Europe/Berlin"), "local").code(0);
}

#[test]
fn a_note_that_is_too_long_fails_the_run_in_one_line() {
    let cli = cli();
    let script = "head -c 5000 /dev/zero | tr '\\0' x > $FLOWLOCK_NOTE_FILE";
    let ended = cli.run(["run", "-o", "z", "--", "sh", "-c", script]);
    ended.code(64).stderr_has("at most 4096 are kept; outputs are not recorded as written");
    assert_eq!(ended.err().lines().count(), 1, "{ended:?}");
    cli.run(["run", "-o", "z", "--wait", "0", "--", "true"]).code(0);
}

#[test]
fn manual_pages_are_written_through_no_link_and_wait_for_no_reader() {
    let cli = cli();
    let (pages, precious) = (cli.home().join("pages"), cli.home().join("precious"));
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(&precious, "mine").unwrap();
    std::os::unix::fs::symlink(&precious, pages.join("flowlock.1")).unwrap();
    cli.run(["man", "--dir", "pages"]).code(64).stderr_has("cannot write pages to pages: ");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
    std::fs::remove_file(pages.join("flowlock.1")).unwrap();
    nix::unistd::mkfifo(&pages.join("flowlock.1"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    cli.run(["man", "--dir", "pages"]).code(64).stderr_has("cannot write pages to pages: ");
    std::fs::remove_file(pages.join("flowlock.1")).unwrap();
    cli.run(["man", "--dir", "pages"]).code(0);
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
fn too_much_is_refused_before_the_store_is_asked() {
    let cli = cli();
    let many: Vec<String> = (0..1_001).map(|n| format!("n{n}")).collect();
    std::fs::write(cli.home().join("many"), many.join("\n")).unwrap();
    cli.run(["run", "--inputs-from", "many", "--", "true"])
        .code(64)
        .stderr("flowlock: --inputs-from many: it has 1001 names; a request has at most 1000\n");
    std::fs::write(cli.home().join("full"), many[..1_000].join("\n")).unwrap();
    cli.run(["run", "--inputs-from", "full", "-l", "x", "--", "true"])
        .code(64)
        .stderr_has("flowlock: the request has 1001 claims; at most 1000 fit into one");
    let large: Vec<String> = (0..600).map(|n| format!("{}{n}", "x".repeat(500))).collect();
    std::fs::write(cli.home().join("large"), large.join("\n")).unwrap();
    cli.run(["run", "--inputs-from", "large", "--", "true"])
        .code(64)
        .stderr(
            "flowlock: --inputs-from large: its names have 301690 bytes together; those of a request have at most 262144\n",
        );
    std::fs::write(cli.home().join("huge"), "x".repeat(1 << 20)).unwrap();
    cli.run(["run", "--inputs-from", "huge", "--", "true"])
        .code(64)
        .stderr("flowlock: --inputs-from huge: it has more than 524288 bytes; the names of a request have at most 262144\n");
    cli.run(["run", "--inputs-from", "none", "--", "true"])
        .code(64)
        .stderr("flowlock: --inputs-from none: No such file or directory (os error 2)\n");
}

#[test]
fn what_has_no_end_is_not_read() {
    let cli = cli();
    nix::unistd::mkfifo(&cli.home().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::File::create(cli.home().join("vast")).unwrap().set_len(1 << 40).unwrap();
    for names in ["fifo", "/dev/zero"] {
        cli.run(["run", "--inputs-from", names, "--", "true"])
            .code(64)
            .stderr(&format!("flowlock: --inputs-from {names}: not a regular file\n"));
    }
    cli.run(["run", "--inputs-from", "vast", "--", "true"])
        .code(64)
        .stderr_has("it has more than 524288 bytes");
    let bash = cli.clone().with_program("bash");
    let piped = format!("{} run --inputs-from <(echo a) --wait 0 -- true", env!("CARGO_BIN_EXE_flowlock"));
    bash.run(["-c", &piped]).code(66).stderr_has("input a is missing");
    for (note, problem) in [
        ("rm $FLOWLOCK_NOTE_FILE; mkfifo $FLOWLOCK_NOTE_FILE", "not a regular file"),
        ("ln -sf /dev/zero $FLOWLOCK_NOTE_FILE", "not a regular file"),
        ("truncate -s 1T $FLOWLOCK_NOTE_FILE", "longer than 8192 bytes"),
    ] {
        cli.run(["run", "-o", "a", "--", "sh", "-c", note]).code(64).stderr_has(&format!(
            "cannot read the note in $FLOWLOCK_NOTE_FILE: {problem}; outputs are not recorded as written"
        ));
        cli.run(["check", "a"]).code(1);
    }
    for (secret, problem) in
        [("fifo", "not a regular file"), ("/dev/zero", "not a regular file"), ("vast", "longer than")]
    {
        let path = cli.home().join(secret);
        let url = format!("redis://localhost/?password_file={}", path.display());
        cli.run(["--store", &url, "status"]).code(78).stderr_has(problem);
    }
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

#[test]
fn a_list_of_inputs_may_have_blank_lines_comments_and_blanks_around_names() {
    let cli = cli();
    let list = |text: &str| std::fs::write(cli.home().join("list"), text).unwrap();
    let run =
        || cli.run(["run", "--inputs-from", "list", "--wait", "0", "--", "printenv", "FLOWLOCK_INPUTS"]);
    cli.run(["outputs", "create", "sales", "my data", "with #"]).code(0);
    list("\u{feff}# what it reads\r\n\n  sales \t\r\n \t\n\u{a0}my data\u{3000}\n  # more\nsales\nwith #\n");
    let ended = run();
    let read: serde_json::Value = serde_json::from_str(ended.code(0).stderr("").out()).unwrap();
    let names: Vec<_> =
        read.as_array().unwrap().iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["my data", "sales", "with #"]);
    for empty in ["", "\n\n", "# nothing\n   \n"] {
        list(empty);
        run().code(64).stderr("flowlock: --inputs-from list: it names nothing\n");
    }
    list("sales\n\n\u{202e}x\n");
    run().code(64).stderr_has(r#"flowlock: --inputs-from list: line 3: invalid name "\u{202e}x": invisible"#);
    list("a\n{user}\n");
    run().code(64).stderr_has(r#"flowlock: --inputs-from list: line 2: "{user}": unknown {user}"#);
}
