//! Configuration files as a user meets them: a cloned repository, `flowlock trust`, what is refused.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use flowlock_testkit::Cli;

use crate::{Told as _, cli_with_a_file};

/// A home with a cloned repository in it, whose `flowlock.toml` says this; commands run in the clone.
fn clone_that_says(text: &str) -> Cli {
    let cli = cli_with_a_file().without("FLOWLOCK_STORE");
    let clone = cli.home().join("clone");
    fs::create_dir(&clone).unwrap();
    fs::write(clone.join("flowlock.toml"), text).unwrap();
    cli.in_directory(clone)
}

const JOB: [&str; 6] = ["run", "-l", "x", "--", "echo", "ran"];

#[test]
fn a_cloned_repository_sends_no_file_to_a_stranger() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let address = stranger.local_addr().unwrap();
    let cli = clone_that_says("# ours\n");
    fs::write(cli.home().join("key"), "PRIVATE").unwrap();
    let url = format!("redis://{address}/?password_file={}", cli.home().join("key").display());
    fs::write(cli.home().join("clone/flowlock.toml"), format!("# ours\nstore = '{url}'\n")).unwrap();
    for line in
        [&["status"][..], &JOB, &["run", "-q", "-l", "x", "--", "true"], &["doctor"], &["config", "show"]]
    {
        cli.run(line).code(78).stdout("").stderr(
            "flowlock: ~/clone/flowlock.toml:2: this store is not used, because the file is not trusted: an \
             untrusted project's file may only name a sqlite: file below its own directory, reached without \
             symbolic links; to trust it, read it and run: flowlock trust ~/clone/flowlock.toml\n",
        );
    }
    assert_eq!(stranger.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody called");
    // Nor was the job run in another store.
    assert!(!cli.home().join(".local").exists());
}

#[test]
fn a_cloned_repository_leads_to_no_file_of_its_own_choice() {
    let cli = clone_that_says("store = 'sqlite:.cache/jobs.db'\n");
    let victim = cli.home().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("thesis"), "years").unwrap();
    fs::create_dir(cli.home().join("clone/.cache")).unwrap();
    let wake = cli.home().join("clone/.cache/jobs.db-wake");
    symlink("../../victim", &wake).unwrap();
    cli.run(JOB).code(78).stdout("").stderr_has("reached without symbolic links");
    fs::remove_file(wake).unwrap();
    cli.run(JOB).code(0).stdout("ran\n").stderr("");
    assert!(cli.home().join("clone/.cache/jobs.db").is_file());
    assert_eq!(fs::read_to_string(victim.join("thesis")).unwrap(), "years");
}

/// The author of a trusted project puts a link in the place of a file that it names: no file of the user's is sent.
#[test]
fn a_later_link_in_a_trusted_project_sends_no_file_to_its_server() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let url = format!("redis://{}/?password_file=pw", stranger.local_addr().unwrap());
    let cli = clone_that_says(&format!("store = '{url}'\n"));
    let clone = cli.home().join("clone");
    fs::write(clone.join("pw"), "harmless").unwrap();
    fs::write(cli.home().join("key"), "PRIVATE").unwrap();
    cli.run(["trust"]).code(0).stderr_has(
        "; the content of these files is trusted with it, even when it changes: password_file ~/clone/pw",
    );
    fs::remove_file(clone.join("pw")).unwrap();
    symlink("../key", clone.join("pw")).unwrap();
    let said = "cannot read password_file ~/clone/pw: ~/clone/pw is a symbolic link to ../key, but";
    cli.run(["status"]).code(78).stdout("").stderr_has("~/clone/flowlock.toml:1: ").stderr_has(said);
    // A flowlock in the command of a run has the URL from its environment.
    let inherited = format!("redis://127.0.0.1:1/?password_file={}/./pw", clone.display());
    cli.clone().with("FLOWLOCK_STORE", inherited).run(JOB).code(78).stdout("").stderr_has(said);
    assert_eq!(stranger.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody called");
}

#[test]
fn a_relative_store_is_the_same_from_every_directory() {
    let cli = clone_that_says("store = 'sqlite:jobs.db'\n");
    fs::create_dir_all(cli.home().join("clone/a/b")).unwrap();
    let show = ["run", "-o", "x", "--", "sh", "-c", "echo $FLOWLOCK_STORE"];
    for directory in ["clone", "clone/a", "clone/a/b"] {
        let there = cli.clone().in_directory(cli.home().join(directory));
        there.run(show).code(0).stdout("sqlite:~/clone/./jobs.db\n").stderr("");
    }
    cli.run(["--store", "sqlite:jobs.db", "check", "x"]).code(0);
    let other = cli.clone().in_directory(cli.home().join("clone/a"));
    other.run(["--store", "sqlite:jobs.db", "check", "x"]).code(1);
    let variable = cli.with("FLOWLOCK_STORE", "sqlite:jobs.db");
    variable
        .run(JOB)
        .code(78)
        .stdout("")
        .stderr_has("$FLOWLOCK_STORE: a relative path would mean a different file");
}

/// A flowlock in the command of a run has the store from its environment: it is as strict with it.
#[test]
fn a_flowlock_inside_a_run_is_led_nowhere_else_by_a_link_in_a_project_that_nobody_trusts() {
    let flowlock = env!("CARGO_BIN_EXE_flowlock");
    let inner = format!("mv cache away; ln -s ../victim cache; {flowlock} run -l y -- echo ran");
    for whole in [false, true] {
        let cli = clone_that_says("");
        let clone = cli.home().join("clone");
        let below =
            if whole { format!("{}/cache/jobs.db", clone.display()) } else { "cache/jobs.db".to_owned() };
        fs::write(clone.join("flowlock.toml"), format!("store = 'sqlite:{below}'\n")).unwrap();
        fs::create_dir(clone.join("cache")).unwrap();
        fs::create_dir(cli.home().join("victim")).unwrap();
        let ended = cli.run(["run", "--on-lost", "warn", "-l", "x", "--", "sh", "-c", &inner]);
        ended
            .stdout("")
            .stderr_has("~/clone/cache is a symbolic link to ../victim, but a store that a project names");
        assert_eq!(fs::read_dir(cli.home().join("victim")).unwrap().count(), 0);
    }
}

#[test]
fn trust_is_said_listed_lost_with_a_change_and_taken_back() {
    let cli = clone_that_says("duration = '5m'\nstore = 'memory:'\n");
    cli.run(["trust"]).code(0).stdout("").stderr(
        "flowlock: ~/clone/flowlock.toml is trusted until it changes; it sets duration 5m, store memory:\n",
    );
    cli.run(["config", "show"]).code(0).stderr("").stdout_has("store          memory:");
    cli.run(["trust", "--list"]).code(0).stdout("STATE    FILE\ntrusted  ~/clone/flowlock.toml\n");
    fs::write(cli.home().join("clone/flowlock.toml"), "duration = '6m'\n").unwrap();
    let listed = cli.run(["trust", "--list", "--json"]);
    assert_eq!(listed.code(0).json()["trusted"][0]["state"], "changed");
    let untrusted = "flowlock: ~/clone/flowlock.toml: duration is not used, because the file is not trusted; to \
                     trust it, read it and run: flowlock trust ~/clone/flowlock.toml\n";
    // The quiet hear it too, and once.
    cli.run(["run", "-q", "-l", "x", "--", "echo", "ran"]).code(0).stdout("ran\n").stderr(untrusted);
    cli.run(["trust", "flowlock.toml"]).code(0);
    cli.run(JOB).code(0).stderr("");
    cli.run(["trust", "--remove", "../flowlock.toml"])
        .code(0)
        .stderr("flowlock: ~/flowlock.toml was not trusted\n");
    cli.run(["trust", "--remove"])
        .code(0)
        .stderr("flowlock: ~/clone/flowlock.toml is not trusted any more\n");
    cli.run(JOB).code(0).stderr(untrusted);
    fs::remove_file(cli.home().join("clone/flowlock.toml")).unwrap();
    cli.run(["trust"])
        .code(64)
        .stderr("flowlock: there is no flowlock.toml in this directory or above it; name one\n");
    let homeless = cli.with("HOME", "here");
    homeless.run(["trust"]).code(78).stderr_has("HOME is \"here\", a relative path");
}

#[test]
fn a_misspelt_variable_is_no_reason_to_run_in_another_store() {
    let cli = cli_with_a_file().with("FLOWLOCK_STOR", "sqlite:/elsewhere");
    cli.run(JOB).code(78).stdout("").stderr_has("did you mean FLOWLOCK_STORE?");
    cli.without("FLOWLOCK_STOR").run(JOB).code(0);
}

#[test]
fn every_variable_that_a_run_gives_its_command_is_known_to_a_flowlock_inside_it() {
    let cli = cli_with_a_file();
    cli.run(["outputs", "create", "a"]).code(0);
    let inside = format!("{} config show", env!("CARGO_BIN_EXE_flowlock"));
    cli.run(["run", "-i", "a", "-o", "b", "--", "sh", "-c", &inside]).code(0).stderr("");
    let many = (0..1000).map(|n| format!("{n:0>200}\n")).collect::<Vec<_>>().concat();
    fs::write(cli.home().join("many"), &many).unwrap();
    for name in many.lines().collect::<Vec<_>>().chunks(200) {
        cli.run(["outputs", "create"].iter().chain(name)).code(0);
    }
    cli.run(["run", "--inputs-from", "many", "--", "sh", "-c", &inside]).code(0).stderr("");
}

/// The zone that names are dated in: of a flag, a variable, a project's, the user's and the machine's file the nearest.
#[test]
fn the_nearest_time_zone_dates_the_names() {
    let cli = clone_that_says("tz = 'Etc/GMT+3'\n").with("FLOWLOCK_TZ", "Etc/GMT+4");
    let config = cli.home().join(".config/flowlock");
    let system = cli.home().join("root/etc/flowlock");
    for directory in [&config, &system] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(config.join("config.toml"), "tz = 'Etc/GMT+2'\n").unwrap();
    fs::write(system.join("config.toml"), "tz = 'Etc/GMT+1'\n").unwrap();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home().join("root"));
    let hour = |cli: &Cli, flags: &[&str]| {
        let line = ["run", "-l", "x", "--date", "2026-11-24T12:00Z", "--expand"];
        let ended = cli.run(line.iter().chain(flags).chain(&["--", "echo", "{hour}"]));
        ended.code(0).stderr("").out().trim_end().to_owned()
    };
    assert_eq!(hour(&cli, &["--tz", "Etc/GMT+5"]), "2026-11-24T07");
    assert_eq!(hour(&cli, &[]), "2026-11-24T08");
    let cli = cli.without("FLOWLOCK_TZ");
    assert_eq!(hour(&cli, &["--tz", "Etc/GMT+5"]), "2026-11-24T07");
    assert_eq!(hour(&cli, &[]), "2026-11-24T09");
    fs::remove_file(cli.home().join("clone/flowlock.toml")).unwrap();
    assert_eq!(hour(&cli, &["--tz", "Etc/GMT+5"]), "2026-11-24T07");
    assert_eq!(hour(&cli, &[]), "2026-11-24T10");
    fs::remove_file(config.join("config.toml")).unwrap();
    assert_eq!(hour(&cli, &["--tz", "Etc/GMT+5"]), "2026-11-24T07");
    assert_eq!(hour(&cli, &[]), "2026-11-24T11");
    fs::write(config.join("config.toml"), "\ntz = 'Nowhere'\n").unwrap();
    cli.run(JOB)
        .code(78)
        .stdout("")
        .stderr_has("tz from ~/.config/flowlock/config.toml:2: unknown time zone");
    cli.run(["run", "--tz", "Nowhere", "-l", "x", "--", "true"]).code(64);
}

#[test]
fn a_lease_that_is_typed_is_nearer_than_one_that_is_set() {
    let cli = cli_with_a_file().with("FLOWLOCK_DURATION", "1h");
    let left = |flags: &[&str]| {
        let inside = format!("{} status --json", env!("CARGO_BIN_EXE_flowlock"));
        let ended = cli.run(["run", "-l", "x"].iter().chain(flags).chain(&["--", "sh", "-c", &inside]));
        let run = ended.code(0).json()["running"][0].clone();
        (run["since"].to_string(), run["deadline"].to_string())
    };
    let minutes = |(since, deadline): (String, String)| {
        let minute = |text: &str| -> i32 {
            let (hour, minute) = (&text[12..14], &text[15..17]);
            hour.parse::<i32>().unwrap() * 60 + minute.parse::<i32>().unwrap()
        };
        (minute(&deadline) - minute(&since)).rem_euclid(1440)
    };
    assert!((59..=61).contains(&minutes(left(&[]))));
    assert!((119..=121).contains(&minutes(left(&["--duration", "2h"]))));
}

/// The clone's author may have made directories so deep, and a job may remove the directory it is in.
#[test]
fn where_the_working_directory_cannot_be_told_no_job_runs_beside_the_projects_others() {
    const DEEP: &str =
        "d=$(printf %0200d 0); i=0; while [ $i -lt 21 ]; do mkdir $d && cd -P $d || exit 9; i=$((i+1)); done";
    const GONE: &str = "mkdir gone && cd gone && rmdir ../gone";
    let cli = clone_that_says("namespace = 'ours'\n");
    let flowlock = env!("CARGO_BIN_EXE_flowlock");
    for (change, why) in [(DEEP, "File name too long"), (GONE, "No such file or directory")] {
        let said = |line: &str| {
            fs::remove_dir_all(cli.home().join("clone")).unwrap();
            fs::create_dir(cli.home().join("clone")).unwrap();
            fs::write(cli.home().join("clone/flowlock.toml"), "namespace = 'ours'\n").unwrap();
            let script = format!("{change}; exec {flowlock} {line}");
            cli.clone().with_program("/bin/sh").run(["-c", &script])
        };
        for line in ["run -l x -- echo ran", "status", "doctor", "config show", "trust"] {
            let told = said(line);
            told.code(78).stdout("").stderr_has("the working directory cannot be told (");
            told.stderr_has(why).stderr_has("cd to another directory");
        }
        // Where the lock is was set.
        said("run -l x --store memory: --namespace n -- echo ran").code(0).stdout("ran\n");
        if change == GONE {
            let relative = "status --store sqlite:s.db --namespace n";
            said(relative)
                .code(78)
                .stderr_has("the working directory cannot be told; write the absolute path");
        }
    }
}
