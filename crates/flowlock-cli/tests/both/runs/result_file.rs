//! The file of `--json-result`.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;

use super::{cli, unusable};

#[test]
fn the_result_file_says_what_happened() {
    let cli = cli();
    let result = |args: &[&str]| -> (i32, serde_json::Value) {
        let line = ["run", "--name", "j", "--json-result", "result.json"];
        let ended = cli.run(line.iter().chain(args));
        let text = fs::read_to_string(cli.home().join("result.json")).unwrap();
        (ended.status().code().unwrap(), serde_json::from_str(&text).unwrap())
    };
    let (code, told) = result(&["-o", "a", "--", "true"]);
    assert_eq!(
        (code, &told["outcome"], &told["exit_code"], &told["command_exit_code"]),
        (0, &"committed".into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&told["version"], &told["job"], &told["namespace"]),
        (&1.into(), &"j".into(), &"default".into())
    );
    assert!(told["token"].is_string() && told["run"].as_str().unwrap().starts_with("j."));
    let outcome = |args: &[&str]| {
        let (code, told) = result(args);
        assert_eq!(told["exit_code"], code);
        told["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome(&["-o", "a", "--", "false"]), "failed");
    assert_eq!(outcome(&["-o", "a", "--if-written", "skip", "--", "true"]), "skipped");
    assert_eq!(outcome(&["-o", "a", "--if-written", "fail", "--", "true"]), "output_exists");
    assert_eq!(outcome(&["-i", "none", "--wait", "0", "--", "true"]), "input_missing");
    assert_eq!(outcome(&["--", "true"]), "usage");
    assert_eq!(outcome(&["-l", "x", "--", "no-such-command"]), "not_found");
    let (_, told) = result(&["-i", "none", "--wait", "0", "--", "true"]);
    assert_eq!(told["blockers"][0]["kind"], "input_missing");
    assert_eq!(told["blockers"][0]["name"], "none");
}

/// What is there says that all went well, of another run.
#[test]
fn a_run_that_cannot_begin_replaces_the_result_of_the_last_run() {
    let cli = cli();
    let path = cli.home().join("result");
    let begins = |line: &[&str]| {
        fs::write(&path, r#"{"outcome":"committed","exit_code":0}"#).unwrap();
        let code = cli.run(line.iter().chain(&["--", "true"])).status().code().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((&told["version"], &told["exit_code"]), (&1.into(), &code.into()), "{line:?}: {told}");
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        (code, text("outcome"), text("message"))
    };
    for (line, code, outcome, said) in [
        (
            &["run", "--max-runtime", "300ms", "--json-result", "result", "-l", "x"][..],
            64,
            "usage",
            "'300ms'",
        ),
        (&["run", "--json-result=result", "--slot", "x:0", "-l", "x"], 64, "usage", "'x:0'"),
        (&["-q", "run", "-l", "x", "--bogus", "--json-result", "result"], 64, "usage", "'--bogus'"),
        (&["-qv", "run", "-l", "x", "--json-result", "result"], 64, "usage", "'--quiet'"),
        (&["run", "--json-result", "result", "-o", "{nope}"], 64, "usage", "{nope}"),
        (&["run", "--json-result", "result"], 64, "usage", "nothing is claimed"),
        (&["run", "--json-result", "result", "-l", "x", "--tz", "Mars"], 64, "usage", "Mars"),
        (&["--store", "redis:", "run", "--json-result", "result", "-l", "x"], 78, "configuration", "redis:"),
        (&["--namespace", " a", "run", "--json-result", "result", "-l", "x"], 64, "usage", "\" a\""),
    ] {
        let (found, word, message) = begins(line);
        assert_eq!((found, word.as_str()), (code, outcome), "{line:?}: {message}");
        assert!(message.contains(said), "{line:?}: {message}");
    }
    let other = unusable(&cli);
    let (code, outcome, message) = begins(&["--store", &other, "run", "--json-result", "result", "-l", "x"]);
    assert!([(74, "store_failed"), (78, "configuration")].contains(&(code, outcome.as_str())), "{message}");
    let config = cli.home().join(".config/flowlock");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "namespace = 'a").unwrap();
    let (code, outcome, message) = begins(&["run", "--json-result", "result", "-l", "x"]);
    assert_eq!((code, outcome.as_str()), (78, "configuration"), "{message}");
}

#[test]
fn a_refused_command_line_writes_no_other_file() {
    let cli = cli();
    let path = cli.home().join("kept");
    fs::write(&path, "mine").unwrap();
    cli.run(["run", "--json-result", "kept", "--help"]).code(0);
    for line in [
        &["run", "--slot", "x:0", "--", "./job", "--json-result", "kept"][..],
        &["run", "--slot", "x:0", "./job", "--json-result", "kept"],
        &["run", "--bogus", "./job", "--json-result", "kept"],
        &["start", "j", "--json-result", "kept"],
        &["run", "--slot", "x:0", "--json-result", "kept", "--json-result=", "--", "true"],
    ] {
        cli.run(line).code(64);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine", "{line:?}");
    }
    let refused = |file: &str| cli.run(["run", "--slot", "x:0", "--json-result", file, "--", "true"]);
    refused("/dev/full").code(64).stderr_has("\nflowlock: the run ended with 64 all the same; --json-result");
    refused("none/x").code(64).stderr_has("\nflowlock: --json-result none/x: No such file or directory");
}

/// The work is done by then, and scripts decide by the code.
#[test]
fn a_result_that_cannot_be_written_changes_no_exit_code() {
    let cli = cli();
    let told = |line: &[&str]| cli.run(["run", "--json-result", "/dev/full"].iter().chain(line));
    let said = |code: i32| {
        format!(
            "the run ended with {code} all the same; --json-result /dev/full could not be written: No space left on device"
        )
    };
    told(&["-o", "a", "--", "true"]).code(0).stderr_has(&said(0));
    cli.run(["check", "a"]).code(0);
    told(&["-o", "b", "--", "sh", "-c", "exit 9"]).code(9).stderr_has(&said(9));
    told(&["-i", "none", "--wait", "0", "--", "true"]).code(66).stderr_has(&said(66));
    // Whoever reads a pipe leaves before the end.
    nix::unistd::mkfifo(&cli.home().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut reader = fs::File::options();
    let reader = reader.read(true).custom_flags(nix::libc::O_NONBLOCK).open(cli.home().join("pipe")).unwrap();
    let script = "echo in; while [ ! -e left ]; do sleep 0.02; done; exit 7";
    let job = cli.start(["run", "--json-result", "pipe", "-l", "x", "--", "sh", "-c", script]);
    job.says("in");
    drop(reader);
    fs::write(cli.home().join("left"), "").unwrap();
    job.wait().code(7).stderr_has("--json-result pipe could not be written: Broken pipe");
}
