//! `flowlock demo`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flowlock_testkit::{PATIENCE, until};

use crate::cli_with_a_file as cli;

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
