//! The file in which a user's commands remember a store.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use flowlock_testkit::{Call, Fault};
use nix::errno::Errno;

use super::{grow_old, is_said, memories, memory, remove, write};
use crate::cli_with_a_file as cli;

#[test]
fn a_damaged_memory_is_ignored_and_made_anew() {
    let cli = cli();
    write(&cli, &["a"]);
    let sound = memory(&cli);
    let [path] = &memories(&cli)[..] else { panic!() };
    for damage in ["", "{", "null", "\0\0\0", &sound.replace("\"version\":1", "\"version\":2"), &sound[..90]]
    {
        fs::write(path, damage).unwrap();
        write(&cli, &["b"]);
        assert!(memory(&cli).len() >= sound.len(), "{}", memory(&cli));
    }
    remove(&cli);
    is_said(&cli);
}

#[test]
fn a_home_that_cannot_be_written_or_read_stops_no_job() {
    let cli = cli();
    fs::write(cli.home().join(".local"), "in the way").unwrap();
    write(&cli, &["a"]);
    fs::remove_file(cli.home().join(".local")).unwrap();
    let state = cli.home().join(".local/state/flowlock");
    fs::create_dir_all(state.join("seen")).unwrap();
    for (call, errno) in
        [(Call::Write, Errno::ENOSPC), (Call::Open, Errno::EROFS), (Call::Rename, Errno::EACCES)]
    {
        let refused = Fault::below(&state).calls(&[call]).refuse_from(1, errno).inject();
        write(&cli.clone().with_faults(&refused), &["b"]);
        assert!(refused.fired() > 0, "{call:?}");
        assert_eq!(memories(&cli), Vec::<PathBuf>::new(), "{call:?}");
    }
    write(&cli.clone().with("HOME", "/dev/null"), &["c"]);
}

#[test]
fn a_command_that_only_locks_seldom_writes_what_it_saw() {
    let cli = cli();
    let lock = || cli.run(["run", "-l", "x", "--", "true"]).code(0).stderr("").to_owned();
    lock();
    let first = memory(&cli);
    lock();
    cli.run(["status"]).code(0);
    assert_eq!(memory(&cli), first);
    write(&cli, &["a"]);
    let written = memory(&cli);
    assert_ne!(written, first);
    lock();
    assert_eq!(memory(&cli), written);
    grow_old(&memories(&cli)[0]);
    lock();
    assert_ne!(memory(&cli), written);
}

#[test]
fn what_is_remembered_is_the_users_own() {
    let cli = cli();
    write(&cli, &["a"]);
    let [path] = &memories(&cli)[..] else { panic!() };
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    let told: serde_json::Value = serde_json::from_str(&memory(&cli)).unwrap();
    assert_eq!(told["store"], format!("sqlite:{}", cli.store().display()));
    assert_eq!(told["namespace"], "default");
    assert_eq!(told["newest"], told["durable"]);
}

#[test]
fn a_store_in_memory_is_not_remembered() {
    let cli = cli().with("FLOWLOCK_STORE", "memory:");
    for _ in 0..2 {
        write(&cli, &["a"]);
    }
    assert_eq!(memories(&cli), Vec::<PathBuf>::new());
}

#[test]
fn what_somebody_put_in_the_place_of_a_memory_is_neither_read_nor_followed() {
    let cli = cli();
    write(&cli, &["a"]);
    let [path] = &memories(&cli)[..] else { panic!() };
    let (victim, directory) = (cli.home().join("victim"), path.parent().unwrap());
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "content").unwrap();
    for kind in ["link", "FIFO", "directory"] {
        let _ = fs::remove_file(path);
        match kind {
            "link" => symlink(victim.join("file"), path).unwrap(),
            "FIFO" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(path).unwrap(),
        }
        write(&cli, &["b"]);
    }
    // A draft whose name follows from the process's number could be waited for.
    let next = std::process::id();
    fs::remove_dir(path).unwrap();
    for pid in next..next + 3_000 {
        symlink(victim.join("file"), path.with_extension(pid.to_string())).unwrap();
    }
    write(&cli, &["c"]);
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "content");
    for everybodys in [false, true] {
        fs::remove_dir_all(directory).unwrap();
        if everybodys {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        } else {
            symlink(&victim, directory).unwrap();
        }
        write(&cli, &["d"]);
        assert_eq!(fs::read_dir(directory).unwrap().count(), usize::from(!everybodys));
        let _ = fs::remove_file(directory).map(|()| fs::create_dir(directory).unwrap());
    }
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "content");
}

#[test]
fn a_memory_is_kept_by_way_of_nobody_elses_link_or_directory() {
    let own = cli();
    fs::create_dir_all(own.home().join("elsewhere")).unwrap();
    fs::create_dir(own.home().join(".local")).unwrap();
    symlink("../elsewhere", own.home().join(".local/state")).unwrap();
    write(&own, &["a"]);
    assert_eq!(memories(&own).len(), 1, "one's own link above is followed");
    if !nix::unistd::getuid().is_root() {
        eprintln!("not root, so nothing can be given to another user: this part is skipped");
        return;
    }
    for (link, way) in [("..", ".local/state"), ("../..", ".local/state/flowlock"), ("", ".local/state")] {
        let cli = cli();
        let (victim, way) = (cli.home().join("victim"), cli.home().join(way));
        fs::create_dir(&victim).unwrap();
        fs::create_dir_all(way.parent().unwrap()).unwrap();
        if link.is_empty() {
            fs::create_dir(&way).unwrap();
        } else {
            symlink(Path::new(link).join("victim"), &way).unwrap();
        }
        std::os::unix::fs::lchown(&way, Some(12_345), None).unwrap();
        write(&cli, &["a"]);
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{}", way.display());
        assert_eq!(memories(&cli), Vec::<PathBuf>::new(), "{}", way.display());
    }
}
