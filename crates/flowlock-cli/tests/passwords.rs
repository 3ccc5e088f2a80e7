//! A server's passwords are used, and shown nowhere.

use flowlock_testkit::{Cli, Finished, RedisServer};

/// Nothing of what was said gives the password away.
#[track_caller]
fn keeps_the_secret(ended: &Finished) {
    let said = format!("{}{}", ended.out(), ended.err());
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn a_password_is_nowhere_to_be_read() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().password("s3cret").start());
    let child = cli.run(["run", "-vv", "-o", "a", "--", "sh", "-c", "echo store $FLOWLOCK_STORE; env"]);
    child.code(0);
    assert!(child.out().contains("store redis://:***@server/0"), "{child:?}");
    keeps_the_secret(&child);
    for line in [
        &["config", "show", "--origin"][..],
        &["config", "show", "--json"],
        &["status", "--json"],
        &["doctor"],
        &["run", "-vv", "-l", "x", "--json-result", "/dev/stdout", "--", "true"],
        &["run", "-i", "missing", "--wait", "0", "--", "true"],
        &["refresh", "build.1"],
    ] {
        keeps_the_secret(&cli.run(line));
    }
    let url = cli.server().url();
    let wrong = cli.clone().with("FLOWLOCK_STORE", url.replace("s3cret", "s3crets"));
    let refused = wrong.run(["run", "-vv", "-l", "x", "--", "true"]);
    refused.code(78).stderr_has("refuses the user or the password");
    keeps_the_secret(&refused);
    cli.server().kill();
    let down = cli.with("FLOWLOCK_STORE_TIMEOUT", "1s").run(["run", "-vv", "-l", "x", "--", "true"]);
    down.code(69);
    keeps_the_secret(&down);
}

#[test]
fn a_password_in_a_file_is_nowhere_to_be_read_and_serves_nested_runs() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().password("s3cret").start());
    let file = cli.home().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let url = format!("redis://127.0.0.1:{}/0?password_file={}", cli.server().port(), file.display());
    let cli = cli.with("FLOWLOCK_STORE", url + "&failover_pause=0s");
    let script = format!("{} run -l inner -- env", env!("CARGO_BIN_EXE_flowlock"));
    let nested = cli.run(["run", "-vv", "-l", "outer", "--", "sh", "-c", &script]);
    nested.code(0);
    assert!(nested.out().contains("FLOWLOCK_STORE=redis://server/0?password_file=~/password"), "{nested:?}");
    keeps_the_secret(&nested);
    keeps_the_secret(&cli.run(["config", "show"]));
}

#[test]
fn a_password_among_the_arguments_is_warned_of() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().password("s3cret").start());
    let url = cli.server().url();
    cli.run(["run", "-l", "x", "--", "true"]).code(0).stderr("");
    let warned = cli.run(["run", "--store", &url, "-l", "x", "--", "true"]);
    warned
        .code(0)
        .stderr_has("flowlock: the password in --store is visible to everybody who lists the processes");
    assert_eq!(warned.err().lines().count(), 1, "{warned:?}");
    keeps_the_secret(&warned);
    cli.run(["run", "--quiet", "--store", &url, "-l", "x", "--", "true"]).code(0).stderr("");
}

#[test]
fn a_nested_command_is_told_why_it_has_no_password() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().password("s3cret").start());
    let script = format!("{} verify", env!("CARGO_BIN_EXE_flowlock"));
    let nested = cli.run(["run", "-l", "x", "--", "sh", "-c", &script]);
    nested
        .code(78)
        .stderr_has("the store's URL has *** in place of its password")
        .stderr_has("password_file=PATH");
}

#[test]
fn doctor_finds_a_password_file_that_every_user_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().password("s3cret").start());
    let file = cli.home().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let url = format!("redis://127.0.0.1:{}/0?password_file={}", cli.server().port(), file.display());
    let cli = cli.with("FLOWLOCK_STORE", url + "&failover_pause=0s");
    let finding = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let report = cli.run(["doctor", "--json"]).json();
        let findings = report["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["what"] == "password_file").unwrap()
    };
    assert_eq!(finding(0o600)["ok"], true);
    // A group that is meant to use the server.
    assert_eq!(finding(0o640)["ok"], true);
    let open = finding(0o644);
    assert_eq!(open["ok"], false);
    assert!(open["found"].as_str().unwrap().contains("every user of this machine can read it"), "{open}");
}

/// Passwords that make a URL another one than was meant, and passwords in the wrong place.
#[test]
fn a_password_in_a_broken_url_is_nowhere_to_be_read() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock"));
    for url in [
        "redis://user:12/s3cret@h",
        "redis:/user:s3cret@h",
        "redis://s3cret@h",
        "redis://h/0?password=s3cret",
        "redis://h/s3cret",
        "redis+sentinel://user:12/s3cret@h/master",
        "user:s3cret@h",
        "sqlite:redis://:s3cret@h",
    ] {
        let variable = cli.clone().with("FLOWLOCK_STORE", url);
        let flag = cli.clone().without("FLOWLOCK_STORE");
        let file = cli.home().join("flowlock.toml");
        for line in [
            &["config", "show", "--json"][..],
            &["config", "show", "--origin"],
            &["status", "--json"],
            &["doctor", "--json"],
            &["run", "-vv", "-l", "x", "--json-result", "/dev/stdout", "--", "env"],
        ] {
            let ended = variable.run(line);
            assert!(line[0] == "config" || ended.status().code() == Some(78), "{url} {ended:?}");
            keeps_the_secret(&ended);
            let ended = flag.run(line.iter().take(1).chain(&["--store", url]).chain(&line[1..]));
            keeps_the_secret(&ended);
            std::fs::write(&file, format!("store = '{url}'\n")).unwrap();
            keeps_the_secret(&flag.run(line));
            keeps_the_secret(&flag.run(["trust"]));
            keeps_the_secret(&flag.run(line));
            std::fs::remove_file(&file).unwrap();
        }
        // What was typed where nothing belongs is repeated without it.
        for line in [&["status", url][..], &["--stor", url, "status"], &[url]] {
            let ended = cli.run(line);
            ended.code(64);
            if url.contains("://") && url != "redis://h/s3cret" {
                keeps_the_secret(&ended);
            }
        }
    }
}

/// A store's URL where a name, a setting, a zone, a flag or the command belongs.
#[test]
fn a_password_in_a_url_that_was_given_as_something_else_is_nowhere_to_be_read() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock"));
    let url = "redis://u:s3cret@h";
    let says = |cli: &Cli, line: &[&str], code: i32| {
        let ended = cli.run(line);
        ended.code(code);
        keeps_the_secret(&ended);
        ended
    };
    says(&cli, &["run", url, "-l", "x", "--", "true"], 127)
        .stderr_has("; a store's URL is given with --store");
    says(&cli, &["--help=redis://u:s3cret@h"], 64);
    says(&cli, &["status", "--namespace", url], 78).stderr_has("that belongs into store");
    let hasty = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    keeps_the_secret(&hasty.run(["status", "--store", "redis://u:s3cret@h ost"]));
    says(&cli, &["run", "-l", &url.repeat(60), "--", "true"], 64);
    for variable in ["FLOWLOCK_NAMESPACE", "FLOWLOCK_STORE_TIMEOUT", "FLOWLOCK_TZ", "FLOWLOCK_DURATION"] {
        says(&cli.clone().with(variable, url), &["run", "-l", "x{date}", "--", "true"], 78);
    }
    for line in [format!("\"{url}\" = 3"), format!("tz = '{url}'"), format!("namespace = '{url}'")] {
        std::fs::write(cli.home().join("flowlock.toml"), line).unwrap();
        says(&cli, &["run", "-l", "x{date}", "--", "true"], 78);
    }
    std::fs::remove_file(cli.home().join("flowlock.toml")).unwrap();
    let bytes = OsString::from_vec(b"redis://u:\xffs3cret@h".to_vec());
    let ended = cli.run(["status".into(), "--store".into(), bytes]);
    ended.code(64).stderr_has(r"not UTF-8: \xff at byte 10;");
    keeps_the_secret(&ended);
    assert!(!ended.err().contains("73"), "a byte of the password in hexadecimal: {ended:?}");
}
