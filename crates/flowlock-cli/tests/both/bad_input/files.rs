//! Files that are named: too long, not regular, or with the wrong content.

use super::cli;

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
    let said =
        "flowlock: TZ=\"~/pipe\" cannot be used: not a regular file; unset TZ, or name a zone with --tz";
    there.run(["run", "-l", "x{date}", "--tz", "local", "--", "true"]).code(64).stdout("").stderr_has(said);
    there.run(["run", "-l", "x{date}", "--tz", "Europe/Berlin", "--", "true"]).code(0);
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
