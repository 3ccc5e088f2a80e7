//! Stores that cannot be used: each with its own message, and never another store in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use flowlock_testkit::{Call, Cli, Fault, FileSystem};
use nix::errno::Errno;

use crate::{cli_with_a_file as cli, place_of};

/// What `run` with this store answers; nothing may have been run.
fn refused(cli: &Cli, store: &str) -> (i32, String) {
    let ended = cli.run(["run", "--store", store, "-l", "x", "--", "echo", "ran"]);
    ended.stdout("");
    (ended.status().code().unwrap(), ended.err().to_owned())
}

fn place(store: &str) -> String {
    format!(" {}", place_of(store, "default"))
}

#[test]
fn urls_that_are_none_say_what_to_use() {
    let cli = cli();
    // A text that is not a URL is not repeated: it may be a password.
    for (url, shown) in [
        ("flow.db", "…"),
        ("postgres://h/db", "postgres:…"),
        ("memory:x", "memory:…"),
        ("http://localhost/", "http:…"),
    ] {
        let said = format!(
            "flowlock: store URL \"{shown}\": use sqlite:PATH, redis://HOST:PORT/DB or memory:{}",
            place(shown)
        );
        assert_eq!(refused(&cli, url), (78, said));
    }
    for url in ["sqlite:", "sqlite://"] {
        let (code, said) = refused(&cli, url);
        assert_eq!(code, 78);
        assert!(said.contains("it names no file; use sqlite:PATH"), "{said}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let (code, said) = refused(&cli(), "mysql://me:secret@host/db");
    assert_eq!(code, 78);
    assert!(!said.contains("secret") && said.contains("mysql://***@host"), "{said}");
}

#[test]
fn a_file_that_is_no_store_is_refused_by_what_it_is() {
    let cli = cli();
    let home = cli.home();
    fs::write(home.join("text"), "hello\n".repeat(100)).unwrap();
    fs::write(home.join("empty"), "").unwrap();
    fs::create_dir(home.join("dir")).unwrap();
    let ends = |store: &str, said: &str| {
        let (code, told) = refused(&cli, store);
        assert_eq!(code, 78, "{told}");
        assert!(told.contains(said), "no {said:?} in {told}");
    };
    ends("sqlite:text", "text is not a flowlock store: it is not an SQLite file");
    ends(
        "sqlite:empty",
        "empty is empty, so it is not a flowlock store; remove it if a new store is wanted there",
    );
    ends("sqlite:dir", "dir is a directory; name a file in it, e.g. ~/dir/flowlock.db");
    ends("sqlite:none/flow.db", "cannot use the directory of the store ~/none: No such file or directory");
    ends("sqlite:/dev/null", "/dev/null is not a regular file");
    assert_eq!(fs::read_to_string(home.join("text")).unwrap(), "hello\n".repeat(100));
}

/// Each step would fail with an error about the owner and mode of the file.
#[test]
fn a_store_whose_journal_another_program_took_away_is_refused_by_what_it_lacks() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let store = cli.home().join("store/flowlock.db");
    flowlock_testkit::sql(&store, "pragma journal_mode = delete");
    cli.run(["outputs"])
        .code(78)
        .stderr_has("has no write-ahead journal, because another program turned it off");
    flowlock_testkit::sql(&store, "pragma journal_mode = wal");
    assert!(cli.run(["outputs"]).code(0).out().contains("\na "));
}

/// A project may name any file below itself as its store.
#[test]
fn beside_a_file_of_another_program_nothing_is_made() {
    let cli = cli();
    let home = cli.home();
    fs::write(home.join("config"), "[core]\n".repeat(100)).unwrap();
    flowlock_testkit::sql(home.join("app.db"), "create table theirs (a)");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name: &std::ffi::OsString| !name.as_encoded_bytes().starts_with(b"."));
        names.sort();
        names
    };
    let before = names();
    for (store, said) in [
        ("sqlite:app.db", "app.db belongs to another program (application id 0x0)"),
        ("sqlite:config", "config is not a flowlock store: it is not an SQLite file"),
    ] {
        let (code, told) = refused(&cli, store);
        assert!(code == 78 && told.contains(said), "{code} {told}");
        assert_eq!(names(), before);
    }
}

#[test]
fn a_damaged_store_is_reported_and_left_alone() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    // The header stays, everything behind it is noise.
    let mut bytes = fs::read(cli.store()).unwrap();
    bytes.iter_mut().skip(100).for_each(|byte| *byte = 0x5a);
    fs::write(cli.store(), &bytes).unwrap();
    for side in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{side}", cli.store().display()));
    }
    let ended = cli.run(["run", "-l", "x", "--", "echo", "ran"]);
    ended.code(74).stdout("").stderr_has("the store is damaged");
    assert_eq!(fs::read(cli.store()).unwrap(), bytes);
}

#[test]
fn a_full_disk_starts_no_job() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let full =
        Fault::below(cli.home().join("store")).calls(&[Call::Write]).refuse_from(1, Errno::ENOSPC).inject();
    let ended = cli
        .clone()
        .with("FLOWLOCK_STORE_TIMEOUT", "1s")
        .with_faults(&full)
        .run(["run", "-l", "x", "--", "echo", "ran"]);
    ended.code(74).stdout("").stderr_has("; nothing was changed; ");
    cli.run(["check", "a"]).code(0);
}

#[test]
fn a_store_that_does_not_answer_starts_no_job() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let queue = format!("{}-lock", cli.store().display());
    let hog = Cli::new("/usr/bin/flock");
    let hog = hog.start([queue.as_str(), "sh", "-c", "echo held; sleep 60"]);
    hog.says("held");
    let hurried = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let ended = hurried.run(["run", "--json-result", "result", "-l", "x", "--", "echo", "ran"]);
    ended.code(69).stdout("").stderr_has("(store sqlite:~/store/flowlock.db, namespace default, user id ");
    let result = fs::read_to_string(cli.home().join("result")).unwrap();
    assert!(result.contains(r#""outcome":"store_unreachable","exit_code":69"#), "{result}");
}

#[test]
fn a_network_file_system_is_refused() {
    let cli = cli();
    let network = Fault::below(cli.home()).file_system(cli.home().join("store"), FileSystem::Nfs).inject();
    let ended = cli.clone().with_faults(&network).run(["run", "-l", "x", "--", "echo", "ran"]);
    ended
        .code(78)
        .stdout("")
        .stderr_has("lies on a network file system (NFS), where locks do not reach other hosts");
    assert!(!cli.store().exists());
}

#[test]
fn a_store_that_another_host_writes_is_refused() {
    let cli = cli();
    let other = Fault::below(cli.home()).boot("11111111-2222-3333-4444-555555555555").inject();
    cli.run(["outputs", "create", "a"]).code(0);
    let ended = cli.clone().with_faults(&other).run(["run", "-l", "x", "--", "echo", "ran"]);
    ended.code(78).stdout("").stderr_has("two hosts share the file");
    cli.run(["check", "a"]).code(0);
}

#[test]
fn without_a_home_there_is_no_store() {
    let cli = cli().without("FLOWLOCK_STORE").with("HOME", "/dev/null");
    let ended = cli.run(["run", "-l", "x", "--", "echo", "ran"]);
    ended.code(78).stdout("").stderr_has("name a store with --store");
}

#[test]
fn an_empty_home_gets_a_private_store() {
    let cli = cli().without("FLOWLOCK_STORE");
    cli.run(["run", "-o", "a", "--", "true"]).code(0).stderr("");
    let directory = cli.home().join(".local/state/flowlock");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_configuration_file_that_is_broken_is_named() {
    let cli = cli();
    fs::write(cli.home().join("flowlock.toml"), "store = [").unwrap();
    cli.run(["status"]).code(78).stdout("").stderr_has("~/flowlock.toml:1: not valid TOML");
    fs::write(cli.home().join("flowlock.toml"), "stor = 'x'").unwrap();
    let said = "flowlock: ~/flowlock.toml:1: there is no setting \"stor\"; did you mean store?\n";
    cli.run(["run", "-q", "-l", "x", "--", "echo", "ran"]).code(78).stdout("").stderr(said);
}
