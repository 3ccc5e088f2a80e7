//! What is promised of the embedded store alone. Each test says why it is not in `both/`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use flowlock_testkit::{Call, Cli, Fault, Gate, PATIENCE, until};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::{Told as _, cli_with_a_file as cli, is_alive, number};

/// Alone: these are the findings about a file.
#[test]
fn doctor_looks_at_the_file_and_all_around_it() {
    let cli = cli();
    let told = cli.run(["doctor", "--json"]);
    let report = told.code(0).json();
    let found: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(
        found,
        [
            "flowlock",
            "store",
            "works",
            "directory",
            "file",
            "file system",
            "content",
            "rows",
            "journal",
            "locks",
            "liveness",
            "SQLite",
            "namespaces",
            "runs",
            "clock"
        ]
    );
}

/// Alone: on a server it is the server's clock that counts.
#[test]
fn doctor_finds_a_clock_that_was_set_back() {
    let cli = cli();
    let ahead = Fault::below(cli.home().join("store")).inject();
    ahead.shift_wall_clock(7_200_000);
    let start = ["start", "j", "--duration", "1d", "-o", "a"];
    cli.clone().with_faults(&ahead).run(start).code(0);
    let told = cli.run(["doctor"]);
    told.code(1).stdout_has("but the newest grant is 1h 59m ahead: the clock was set back");
}

/// Alone: a server has no directory of ours.
#[test]
fn doctor_finds_a_directory_that_everybody_may_write() {
    let cli = cli();
    cli.run(["doctor"]).code(0);
    fs::set_permissions(cli.home().join("store"), fs::Permissions::from_mode(0o777)).unwrap();
    cli.run(["doctor"]).code(1).stdout_has("everybody may write it; fix it with chmod o-w");
}

/// Alone: a server has no directory of ours.
#[test]
fn doctor_does_not_advise_to_close_a_directory_that_is_open_to_all_by_purpose() {
    let cli = cli();
    cli.run(["doctor"]).code(0);
    fs::set_permissions(cli.home().join("store"), fs::Permissions::from_mode(0o1777)).unwrap();
    let told = cli.run(["doctor"]);
    told.code(1).stdout_has("keep the store in a directory of its own");
    assert!(!told.out().contains("chmod"), "{told:?}");
}

/// Alone: a server has no owner.
#[test]
fn doctor_finds_a_store_that_belongs_to_another_user() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not root, so no file can be given to another user: skipped");
        return;
    }
    let cli = cli();
    cli.run(["doctor"]).code(0);
    std::os::unix::fs::chown(cli.home().join("store"), Some(12_345), None).unwrap();
    cli.run(["doctor"]).stdout_has("user 12345 may change, replace or remove the directory as they like");
}

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

/// Alone: a server has no file that could be something else.
#[test]
fn doctor_says_why_a_store_cannot_be_used() {
    let cli = cli();
    fs::write(cli.store(), "no store").unwrap();
    cli.run(["doctor"]).code(78).stdout_has("is not a flowlock store");
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

/// Alone: `--init-shared` makes a directory; who may use a server is said there.
#[test]
fn a_shared_store_is_prepared_for_a_group_and_then_used() {
    let cli = cli();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
    let gid = nix::unistd::getgid();
    let group = nix::unistd::Group::from_gid(gid).unwrap().unwrap().name;
    cli.run(["doctor", "--init-shared"]).code(64).stderr_has("--group <G>");
    cli.run(["doctor", "--init-shared", "--group", "no-such-group"])
        .code(64)
        .stderr_has("there is no group no-such-group");
    cli.run(["doctor", "--init-shared", "--group", &group])
        .code(0)
        .stdout_has("sqlite:~/var/lib/flowlock/flowlock.db");
    let mode = |path: &str| fs::metadata(cli.home().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("var/lib/flowlock"), 0o3770);
    let files = ["", "-live", "-lock", "-wal", "-shm"];
    assert_eq!(files.map(|suffix| mode(&format!("var/lib/flowlock/flowlock.db{suffix}"))), [0o660; 5]);
    assert_eq!(mode("var/lib/flowlock/flowlock.db-wake"), 0o3770);
    assert_eq!(mode("var/lib/flowlock/flowlock.db-journal"), 0o640);
    let again = ["doctor", "--init-shared", "--group", &group];
    cli.run(again).code(0).stdout_has("sqlite:~/var/lib/flowlock/flowlock.db");
    cli.run(["run", "-o", "a", "--", "sh", "-c", "echo $FLOWLOCK_STORE"])
        .code(0)
        .stdout("sqlite:~/var/lib/flowlock/flowlock.db\n");
}

/// Alone: the same.
#[test]
fn only_the_shared_store_is_prepared_and_it_is_what_is_examined() {
    let cli = cli();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
    let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
    let prepare = ["doctor", "--init-shared", "--group", &group];
    let other = ["--store", "sqlite:other.db"];
    cli.run(prepare.iter().chain(&other))
        .code(64)
        .stdout("")
        .stderr_has("in /var/lib/flowlock; leave out --store");
    assert!(!cli.home().join("var").exists() && !cli.home().join("other.db").exists());
    let elsewhere = cli.home().join("elsewhere.db");
    let set = cli.with("FLOWLOCK_STORE", format!("sqlite:{}", elsewhere.display()));
    set.run(prepare).code(0).stdout_has("sqlite:~/var/lib/flowlock/flowlock.db").stderr_has(
        "$FLOWLOCK_STORE sets another store, sqlite:~/elsewhere.db, which your commands go on using",
    );
    assert!(!elsewhere.exists());
}

/// Alone: the same.
#[test]
fn what_another_user_made_is_not_taken_into_a_shared_store() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not root, so no file can be given to another user: skipped");
        return;
    }
    for suffix in ["", "-live", "-lock", "-wal", "-shm", "-journal"] {
        let cli = cli();
        let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
        let directory = cli.home().join("var/lib/flowlock");
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("flowlock.db{suffix}"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
        let said = format!("~/var/lib/flowlock/flowlock.db{suffix} belongs to user 12345");
        cli.run(["doctor", "--init-shared", "--group", &group]).code(78).stderr_has(&said);
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((meta.uid(), meta.permissions().mode() & 0o020), (12_345, 0), "{suffix}");
    }
}

/// Alone: the same. Whoever may write the directory moves a file of root's into it, out of one of their own.
#[test]
fn a_private_file_in_the_place_of_one_of_a_shared_store_is_not_given_to_the_group() {
    let secret = "a secret of the administrator's";
    for suffix in ["", "-live", "-lock", "-wal", "-shm", "-journal", "-wake"] {
        let cli = cli();
        let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
        let directory = cli.home().join("var/lib/flowlock");
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
        let planted = directory.join(format!("flowlock.db{suffix}"));
        let secrets = if suffix == "-wake" {
            fs::create_dir(&planted).unwrap();
            planted.join("file")
        } else {
            planted.clone()
        };
        fs::write(&secrets, secret).unwrap();
        fs::set_permissions(
            &planted,
            fs::Permissions::from_mode(if suffix == "-wake" { 0o700 } else { 0o600 }),
        )
        .unwrap();
        let before = fs::metadata(&planted).unwrap();
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
        let prepare = ["doctor", "--init-shared", "--group", &group];
        let said = format!("~/var/lib/flowlock/flowlock.db{suffix} ");
        cli.run(prepare).code(78).stderr_has(&said);
        let after = fs::metadata(&planted).unwrap();
        assert_eq!((after.gid(), after.mode()), (before.gid(), before.mode()), "{suffix}");
        assert_eq!(fs::read_to_string(&secrets).unwrap(), secret);
        // The directory is as it was, and the next try succeeds.
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o2770, "{suffix}");
        fs::rename(&planted, cli.home().join("moved")).unwrap();
        cli.run(prepare).code(0);
    }
}

/// Alone: the same.
#[test]
fn a_shared_store_that_was_half_made_is_made_by_the_next_try() {
    let cli = cli();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
    let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
    let prepare = ["doctor", "--init-shared", "--group", &group];
    let directory = cli.home().join("var/lib/flowlock");
    // Where it was not there before, nothing is left that would be everybody's default store.
    let full = Fault::below(cli.home()).calls(&[Call::Write]).refuse_from(1, Errno::ENOSPC).inject();
    cli.clone().with_faults(&full).run(prepare).code(78).stderr_has("no space left");
    assert!(!directory.exists());
    // What an earlier try left, given to the group already.
    fs::create_dir_all(&directory).unwrap();
    for suffix in ["-lock", "-live", "-wal", "-shm"] {
        let file = directory.join(format!("flowlock.db{suffix}"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
    }
    cli.run(prepare).code(0);
    cli.run(["run", "-o", "a", "--", "true"]).code(0);
}

/// Alone: the demo brings a store of its own, a file in a temporary directory.
#[test]
fn the_demo_plays_to_its_end() {
    let cli = cli().without("FLOWLOCK_STORE");
    let played = cli.run(["demo"]);
    played.code(0);
    for part in [
        "input sales is missing",
        "(exit code 75)",
        "the report is being made",
        "the second try succeeds",
        "That was all.",
    ] {
        assert!(played.out().contains(part), "no {part:?} in {played:?}");
    }
    assert!(!cli.home().join(".local").exists(), "the demo touched the user's own store");
}

/// Where others may rename, another directory of the user's would be cleared away in place of the demo's.
#[test]
fn the_demo_leaves_nothing_and_clears_away_nothing_but_its_own() {
    let cli = cli().without("FLOWLOCK_STORE");
    let [scratch, everybodys] = ["scratch", "everybodys"].map(|name| cli.home().join(name));
    for (directory, mode) in [(&scratch, 0o700), (&everybodys, 0o777)] {
        fs::create_dir(directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    let precious = everybodys.join("precious");
    fs::create_dir_all(precious.join("deep")).unwrap();
    let cli = cli.clone().with("XDG_RUNTIME_DIR", &scratch);
    let demo = cli.clone().with("TMPDIR", &everybodys).start(["demo"]);
    // As soon as there is a directory of the demo's, the other one takes its place.
    let names = |directory: &Path| -> Vec<_> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let made = until("the demo's directory", PATIENCE, || {
        let theirs = names(&everybodys).into_iter().find(|name| name != "precious");
        theirs.or_else(|| (!names(&scratch).is_empty()).then(Default::default))
    });
    if !made.is_empty() {
        fs::rename(everybodys.join(&made), everybodys.join("gone")).unwrap();
        fs::rename(&precious, everybodys.join(&made)).unwrap();
    }
    demo.wait();
    assert_eq!(names(&everybodys), ["precious"], "the demo was where others may rename");
    assert!(precious.join("deep").exists());
    // But for the note of the run that was killed.
    let left = names(&scratch);
    assert!(left.iter().all(|left| names(&scratch.join(left)) == ["note"]), "{left:?}");
}

/// Alone: the kernel tells of a death on the same host only; elsewhere a dead holder delays others by its lease.
#[test]
fn a_command_dies_with_its_wrapper_and_its_names_are_free() {
    let cli = cli();
    let job =
        cli.start(["run", "--name", "doomed", "-o", "a", "--", "sh", "-c", "echo pid $$; exec sleep 60"]);
    let pid = number(&job, "pid ");
    job.signal(Signal::SIGKILL);
    until("the command's death", PATIENCE, || (!is_alive(pid)).then_some(()));
    cli.run(["run", "--wait", "5s", "-o", "a", "--", "true"]).code(0).stderr("");
    assert!(
        cli.run(["outputs", "--json"]).json()["records"][0]["run"].as_str().unwrap().starts_with("true.")
    );
}

/// Alone: a grandchild keeps the names by the file lock that it inherited; on a server there is the lease.
#[test]
fn a_surviving_grandchild_keeps_the_names() {
    let cli = cli();
    let script = "sh -c 'echo pid $$; exec sleep 60' & wait";
    let job = cli.start(["run", "--name", "doomed", "-l", "x", "--", "sh", "-c", script]);
    let pid = number(&job, "pid ");
    job.signal(Signal::SIGKILL);
    let (_, leftover) = job.wait_leaving_others(PATIENCE);
    cli.run(["run", "--wait", "2s", "-l", "x", "--", "true"]).code(75).stderr_has("lock x is held by doomed");
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    cli.run(["run", "--wait", "5s", "-l", "x", "--", "true"]).code(0);
    drop(leftover);
}

/// Alone: the same file lock, not inherited.
#[test]
fn with_close_a_surviving_grandchild_keeps_nothing() {
    let cli = cli();
    let script = "sh -c 'echo pid $$; exec sleep 60' & wait";
    let job = cli.start(["run", "--close", "-l", "x", "--", "sh", "-c", script]);
    let pid = number(&job, "pid ");
    job.signal(Signal::SIGKILL);
    let (_, leftover) = job.wait_leaving_others(PATIENCE);
    cli.run(["run", "--wait", "5s", "-l", "x", "--", "true"]).code(0);
    assert!(is_alive(pid));
    drop(leftover);
}

/// This command line in a time namespace whose clocks are shifted so; none where this machine does not allow it.
fn shifted(cli: &Cli, shift: &[&'static str]) -> Option<(Cli, Vec<&'static str>)> {
    let line = [shift, &["--fork"]].concat();
    let is_allowed = std::process::Command::new("unshare").args(&line).arg("true").output();
    if !is_allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make a time namespace");
        return None;
    }
    Some((cli.clone().with_program("unshare"), [&line[..], &[env!("CARGO_BIN_EXE_flowlock")]].concat()))
}

/// Alone: a server has a clock of its own.
#[test]
fn deadlines_are_kept_where_the_time_since_boot_is_not_the_time_without_sleep() {
    // As after a day of being suspended.
    let elsewhen = ["--time", "--boottime", "100000", "--monotonic", "5000"];
    let Some((cli, flowlock)) = shifted(&cli(), &elsewhen) else { return };
    let run = |flags: &[&str]| {
        let line = [&flowlock[..], &["run", "-o", "a"], flags].concat();
        let begun = std::time::Instant::now();
        (cli.run(line), begun.elapsed())
    };
    let (hung, took) = run(&["--duration", "1s", "--max-runtime", "2s", "--", "sleep", "60"]);
    hung.code(79).stderr_has("reached its --max-runtime; ending the command");
    assert!(took < std::time::Duration::from_secs(6), "{took:?}");
    // Its lease of 1 s is renewed all the time.
    run(&["--duration", "1s", "--", "sleep", "2.5"]).0.code(0).stderr("");
}

/// Alone: a server has a clock of its own.
#[test]
fn a_command_under_a_clock_that_cannot_be_right_changes_nothing() {
    let cli = cli();
    let run = ["run", "-o", "a", "--", "echo", "ran"];
    cli.run(run).code(0);
    let faults = Fault::below(cli.home()).inject();
    faults.shift_wall_clock(230 * 365 * 86_400_000);
    let wrong = cli.clone().with_faults(&faults);
    wrong.run(run).code(78).stdout("").stderr_has("this machine's clock says 22").stderr_has("set it");
    cli.run(run).code(0).stdout("ran\n").stderr("");
}

/// Alone: a server has a clock of its own.
#[test]
fn a_lease_is_as_long_in_every_time_namespace() {
    let plain = cli();
    let shift = ["--time", "--boottime", "86400"];
    let Some((elsewhen, flowlock)) = shifted(&plain, &shift) else { return };
    let here: (&Cli, &[&str]) = (&plain, &[]);
    let there: (&Cli, &[&str]) = (&elsewhen, &flowlock);
    for ((holders, holding), (others, trying)) in [(here, there), (there, here)] {
        // Who lives keeps its names.
        let gate = Gate::new(plain.home().join("gate"));
        let script = format!("echo in; {}", gate.wait());
        let hold = ["run", "--name", "holder", "-l", "x", "--", "sh", "-c", &script];
        let holder = holders.start([holding, &hold].concat());
        holder.says("in\n");
        let said = others.run([trying, &["run", "-l", "x", "--wait", "0", "--", "true"]].concat());
        said.code(75).stderr_has("lock x is held by holder");
        // So does who waits keep its place.
        let wait = ["run", "--name", "second", "-l", "x", "--wait", "60s", "--", "true"];
        let second = holders.start([holding, &wait].concat());
        until("a waiter", PATIENCE, || plain.run(["status"]).out().contains("queued").then_some(()));
        others.run([trying, &["run", "-l", "y", "--", "true"]].concat()).code(0);
        assert!(plain.run(["status"]).out().contains("queued"), "it was taken for one whose wait is over");
        gate.open();
        fs::remove_file(plain.home().join("gate")).unwrap();
        holder.wait().code(0).stderr("");
        second.wait().code(0).stderr("");
        // A lease that nobody renews ends, and no later than it should.
        let start = ["start", "build", "-l", "x", "--duration", "2s"];
        holders.run([holding, &start].concat()).code(0);
        let lapsed = ["run", "-l", "x", "--wait", "20s", "--", "true"];
        others.run([trying, &lapsed].concat()).code(0);
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
