//! The file of `--json-result`.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;

use super::cli;

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
