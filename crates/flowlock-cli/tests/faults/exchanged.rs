//! Somebody puts something else in its place just when it is used: the owner of a directory a link, a member of a group
//! a store.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use flowlock_testkit::Cli;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::{cli, rounds, run};

/// Another user, who owns a directory that the store lies below.
const OTHER: u32 = 12_345;

/// Exchanges two names while `body` runs.
fn exchanging<T>(one: &Path, two: &Path, body: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let _stop = Stop(&stop);
        body()
    })
}

/// Every file below a directory, with what tells whether it is still the same.
fn inventory(directory: &Path) -> Vec<(PathBuf, u64, u32, u32)> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path(), entry.metadata().unwrap()))
        .map(|(path, meta)| (path, meta.ino(), meta.uid(), meta.mode()))
        .collect();
    found.sort();
    found
}

fn in_store(cli: &Cli, store: &Path) -> Cli {
    cli.clone().with("FLOWLOCK_STORE", format!("sqlite:{}", store.display()))
}

#[test]
fn whoever_exchanges_a_directory_decides_about_nobody_elses_files() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can play two users");
        return;
    }
    let cli = cli();
    let [theirs, mine] = ["theirs", "mine"].map(|name| cli.home().join(name));
    let [sub, link] = ["sub", "link"].map(|name| theirs.join(name));
    for directory in [&theirs, &mine, &sub] {
        fs::create_dir(directory).unwrap();
    }
    symlink(&mine, &link).unwrap();
    for theirs in [&theirs, &sub] {
        chown(theirs, Some(OTHER), Some(OTHER)).unwrap();
    }
    lchown(&link, Some(OTHER), Some(OTHER)).unwrap();

    let my_cli = in_store(&cli, &mine.join("s.db"));
    let holder = my_cli.start(run("-l held -o record", "echo in; exec sleep 1000"));
    holder.says("in\n");
    my_cli.run(run("-o kept", "true")).code(0);
    let before = inventory(&mine);

    let their_cli = in_store(&cli, &sub.join("s.db"));
    let their_directory = File::open(&sub).unwrap();
    let inside = PathBuf::from(format!("/proc/self/fd/{}/.", their_directory.as_raw_fd()));
    let codes: Vec<_> = exchanging(&sub, &link, || {
        let once = |_| {
            // Their store is gone before each run, so that the run makes it anew and clears away what is left of it.
            for (path, ..) in inventory(&inside).into_iter().filter(|(path, ..)| path.is_file()) {
                if path.file_name().unwrap() == "s.db" {
                    fs::remove_file(path).unwrap();
                }
            }
            their_cli.run(run("-l x --wait 0", "true")).status().code()
        };
        (0..rounds(60)).map(once).collect()
    });
    // A link of theirs was on the way (78), or the path led to another store by the time of a step (74).
    assert!(codes.iter().all(|code| [Some(0), Some(74), Some(78)].contains(code)), "{codes:?}");
    assert!(codes.iter().any(|code| *code != Some(78)), "none got as far as the store: {codes:?}");
    assert_eq!(inventory(&mine), before);
    my_cli.run(["check", "kept"]).code(0);
    holder.signal(nix::sys::signal::Signal::SIGTERM);
    holder.wait();
}

#[test]
fn no_member_is_faster_than_the_maker_of_a_shared_store() {
    let Some((group, name)) = a_group() else {
        eprintln!("skipped: only root can play two users");
        return;
    };
    for _ in 0..rounds(10) {
        let cli = cli();
        let root = cli.home().join("machine");
        let cli = cli.without("FLOWLOCK_STORE").with("FLOWLOCK_SYSTEM_ROOT", &root);
        let directory = root.join("var/lib/flowlock");
        fs::create_dir_all(&root).unwrap();
        let theirs = root.join("theirs.db");
        fs::write(&theirs, "a store of another").unwrap();
        chown(&theirs, Some(OTHER), Some(group)).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let is_open = || fs::metadata(&directory).is_ok_and(|meta| meta.mode() & 0o7777 == 0o3770);
                while !is_open() && !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                let _ = renameat2(
                    AT_FDCWD,
                    &theirs,
                    AT_FDCWD,
                    &directory.join("flowlock.db"),
                    RenameFlags::RENAME_NOREPLACE,
                );
            });
            let made = cli.run(["doctor", "--init-shared", "--group", &name]);
            is_over.store(true, Ordering::Relaxed);
            made.code(0);
        });
        let store = fs::metadata(directory.join("flowlock.db")).unwrap();
        assert_eq!((store.uid(), store.gid(), store.mode() & 0o777), (0, group, 0o660));
    }
}

#[test]
fn no_note_is_read_through_what_has_the_name_of_its_file_by_now() {
    let cli = cli();
    let scratch = cli.home().join("scratch");
    fs::create_dir(&scratch).unwrap();
    fs::write(cli.home().join("secret"), "a private file").unwrap();
    let cli = cli.clone().with("TMPDIR", &scratch);
    let noted = |script: &str| {
        let ended = cli.run(run("-o noted", script));
        let listed = cli.run(["outputs", "--json"]);
        (ended.status().code(), listed.json()["records"][0]["note"].clone())
    };
    assert_eq!(noted("echo mine > $FLOWLOCK_NOTE_FILE"), (Some(0), "mine".into()));
    // A command may replace the file, as long as it is one.
    assert_eq!(noted("echo new > n; mv n $FLOWLOCK_NOTE_FILE"), (Some(0), "new".into()));
    let exchanged = "d=$(dirname $FLOWLOCK_NOTE_FILE); mv $d $d.away; mkdir $d; ln -s ~/secret $d/note";
    assert_eq!(noted(exchanged), (Some(0), serde_json::Value::Null));
    assert_eq!(noted("ln -sf ~/secret $FLOWLOCK_NOTE_FILE"), (Some(64), serde_json::Value::Null));
    // Only what was moved away or put there is left.
    let left: Vec<_> = inventory(&scratch).into_iter().map(|(path, ..)| path).collect();
    let (away, theirs): (Vec<_>, Vec<_>) = left.iter().partition(|path| path.extension().is_some());
    assert_eq!((away.len(), theirs.len()), (1, 1), "{left:?}");
    assert!(inventory(away[0]).is_empty() && theirs[0].join("note").is_symlink(), "{left:?}");
    assert_eq!(fs::read_to_string(cli.home().join("secret")).unwrap(), "a private file");
}

/// Whoever may rename in a directory puts other lists before a command whose files are there.
#[test]
fn a_commands_files_are_where_nobody_else_can_exchange_their_directory() {
    let cli = cli();
    let [scratch, own] = ["scratch", "own"].map(|name| cli.home().join(name));
    let mode = |directory: &Path, mode| {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (directory, bits) in [(&scratch, 0o700), (&own, 0o700)] {
        fs::create_dir(directory).unwrap();
        mode(directory, bits);
    }
    let cli = cli.clone().with("TMPDIR", &scratch);
    let place = |cli: &Cli| {
        let ended = cli
            .run(run("-o noted", "echo noted > $FLOWLOCK_NOTE_FILE; dirname $(dirname $FLOWLOCK_NOTE_FILE)"));
        assert_eq!(cli.run(["outputs", "--json"]).json()["records"][0]["note"], "noted");
        ended.code(0).out().trim_end().to_owned()
    };
    let with_own = cli.clone().with("XDG_RUNTIME_DIR", &own);
    for (bits, is_exchangeable) in [(0o700, false), (0o1777, false), (0o777, true)] {
        mode(&scratch, bits);
        let expected = if is_exchangeable { ["/tmp", "~/own"] } else { ["~/scratch"; 2] };
        assert_eq!([place(&cli), place(&with_own)], expected, "{bits:o}");
    }
    // A directory that can be exchanged itself is not used either.
    mode(&own, 0o777);
    assert_eq!(place(&with_own), "/tmp");
    assert_eq!(inventory(&scratch).len() + inventory(&own).len(), 0);
}

/// A group that every system has, if this process can give files to others.
fn a_group() -> Option<(u32, String)> {
    let group = nix::unistd::Group::from_name("users").unwrap().expect("the group of users");
    nix::unistd::getuid().is_root().then(|| (group.gid.as_raw(), group.name))
}
