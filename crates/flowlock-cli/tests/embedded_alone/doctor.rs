//! What `doctor` finds in a file and around it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use flowlock_testkit::Fault;

use crate::{Told as _, cli_with_a_file as cli};

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

/// Alone: a server has no files. Whoever may write the directory can make any number of them.
#[test]
fn doctor_names_the_first_ten_leftover_files() {
    let cli = cli();
    cli.run(["status"]).code(0);
    cli.run(["run", "-l", "x", "--", "true"]).code(0);
    for number in 0..12 {
        let path = cli.store().with_file_name(format!("flowlock.db.new-{number:016x}"));
        fs::File::create(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let told = cli.run(["doctor"]);
    told.code(0).stdout_has(", and 2 more\n");
    assert_eq!(told.out().matches(".new-").count(), 10);
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

/// Alone: a server has no file that could be something else.
#[test]
fn doctor_says_why_a_store_cannot_be_used() {
    let cli = cli();
    fs::write(cli.store(), "no store").unwrap();
    cli.run(["doctor"]).code(78).stdout_has("is not a flowlock store");
}
