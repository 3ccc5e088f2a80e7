//! Files that a command is told to write or to read, where other users would choose which.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use crate::users::Person;

const ALICE: u32 = 12_345;
const EVE: u32 = 23_456;

fn set(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), Some(owner)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn inputs_from(file: &Path) -> Vec<String> {
    crate::run(&format!("--wait 0 --inputs-from {}", file.display()), "echo ran")
}

fn result_in(file: &Path) -> Vec<String> {
    let claims = format!("-l x --json-result {}", file.display());
    crate::run(&claims, "echo ran")
}

#[test]
fn no_file_that_somebody_else_chose_is_written_or_read() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can play several users");
        return;
    }
    let alice = Person::new(ALICE);
    let root = tempfile::tempdir().unwrap();
    set(root.path(), 0, 0o755);
    let [everybodys, eves, hers] = ["everybodys", "eves", "hers"].map(|name| root.path().join(name));
    for (directory, owner, mode) in [(&everybodys, 0, 0o1777), (&eves, EVE, 0o755), (&hers, ALICE, 0o700)] {
        fs::create_dir(directory).unwrap();
        set(directory, owner, mode);
    }
    let precious = hers.join("precious");
    fs::write(&precious, "mine").unwrap();
    set(&precious, ALICE, 0o600);
    let pages = [&everybodys, &eves].map(|place| place.join("pages"));
    for place in [&everybodys, &eves] {
        for (name, owner) in [("link", EVE), ("moved", ALICE)] {
            symlink(&precious, place.join(name)).unwrap();
            lchown(place.join(name), Some(owner), Some(owner)).unwrap();
        }
        fs::hard_link(&precious, place.join("second")).unwrap();
        symlink(&hers, place.join("pages")).unwrap();
        lchown(place.join("pages"), Some(ALICE), Some(ALICE)).unwrap();
    }
    let planted = everybodys.join("planted");
    fs::write(&planted, "").unwrap();
    set(&planted, EVE, 0o666);
    let said = [
        ("link", "is a symbolic link made by user 23456"),
        ("moved", "is a symbolic link that somebody other than you and root may have moved there"),
        ("second", "has 3 hard links, and anybody may have made one of them"),
        ("planted", "belongs to user 23456, and anybody may have put it there"),
    ];
    for place in [&everybodys, &eves] {
        for (name, said) in said.iter().filter(|(name, _)| place.join(name).symlink_metadata().is_ok()) {
            let ended = alice.run(&alice.cli, &result_in(&place.join(name)));
            ended.code(64).stdout("").stderr_has(said);
            let refused =
                crate::run(&format!("--slot x:0 --json-result {}", place.join(name).display()), "true");
            alice.run(&alice.cli, &refused).code(64).stderr_has("slot").stderr_has(said);
        }
        // What is in a list all see who share the store.
        for (name, said) in &said[..2] {
            let ended = alice.run(&alice.cli, &inputs_from(&place.join(name)));
            ended.code(64).stdout("").stderr_has(said).stderr_has("flowlock: --inputs-from ");
        }
    }
    for pages in pages.iter().flat_map(|pages| [pages.clone(), pages.join("deep")]) {
        let pages = pages.display().to_string();
        let ended = alice.run(&alice.cli, &["man".to_owned(), "--dir".to_owned(), pages]);
        ended.code(64).stderr_has("may have moved there");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    assert_eq!(fs::read_dir(&hers).unwrap().count(), 1, "no page was written, and no directory made");
    assert_eq!(fs::read(&planted).unwrap(), b"");

    // A list itself is what she named, whoever wrote it.
    fs::write(&planted, "theirs\n").unwrap();
    alice.run(&alice.cli, &inputs_from(&planted)).code(66).stderr_has("input theirs is missing");

    // Her own is written in a directory of everybody's, and written over when it is hers.
    let own = everybodys.join("own");
    for _ in 0..2 {
        alice.run(&alice.cli, &result_in(&own)).code(0).stdout("ran\n");
        let result: serde_json::Value = serde_json::from_slice(&fs::read(&own).unwrap()).unwrap();
        assert_eq!(result["outcome"], "committed");
    }
}

#[test]
fn a_result_that_goes_to_a_log_leaves_what_is_in_it() {
    let cli = crate::cli();
    let log = cli.home().join("log");
    for place in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        fs::write(&log, "before\n").unwrap();
        let flowlock = env!("CARGO_BIN_EXE_flowlock");
        let script =
            format!("{flowlock} run -l x --json-result {place} -- echo ran >> log; echo after >> log");
        cli.clone().with_program("/bin/sh").in_directory(cli.home()).run(["-c", &script]).code(0).stderr("");
        let log = fs::read_to_string(&log).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!((lines.len(), &lines[..2], lines[3]), (4, &["before", "ran"][..], "after"), "{log}");
        assert!(lines[2].starts_with('{') && lines[2].ends_with('}'), "{log}");
    }
}
