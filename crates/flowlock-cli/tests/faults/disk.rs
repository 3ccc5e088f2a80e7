//! Disks that refuse: full, broken, read-only. An error, never a lost record, never half a commit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowlock_testkit::{Call, Cli, Fault, Finished, Gate, Job, PATIENCE, until};
use nix::errno::Errno;

use crate::{cli, records, run};

/// What every refusal ends with.
fn place() -> String {
    format!("(store sqlite:~/store/flowlock.db, namespace default, user id {})", nix::unistd::getuid())
}

/// A store with two names of one run, and somebody who has it open.
fn written_before() -> Cli {
    let cli = cli();
    cli.run(run("-o a -o b --name before", "true")).code(0);
    cli
}

/// Waits for the end of a run. One that does not know its outcome goes on asking: for that there is room again.
fn ends_or_outlasts(mut victim: Job, make_room: impl Fn()) -> Finished {
    let begun = Instant::now();
    until("an end, or a commit that is asked for again and again", PATIENCE, || {
        (!victim.is_running() || begun.elapsed() > Duration::from_secs(3)).then_some(())
    });
    if victim.is_running() {
        assert_eq!(victim.stdout(), "in\n", "it has not even started");
        make_room();
        let ended = victim.wait();
        ended.code(0);
        return ended;
    }
    victim.wait()
}

/// Plays a run for each N at which the disk begins to refuse; answers what exit codes there were.
fn sweep(refuse: impl Fn(Fault, u64) -> Fault + Sync) -> Vec<i32> {
    let next = AtomicU64::new(1);
    let play = || {
        let mut codes = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            let cli = written_before();
            let faults = refuse(Fault::below(cli.home().join("store")), n).inject();
            let hurried = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
            let victim = hurried.with_faults(&faults).start(run("-i a -o a -o b --name victim", "echo in"));
            let ended = ends_or_outlasts(victim, || faults.disarm());
            let code = ended.status().code().unwrap_or_else(|| panic!("killed: {ended:?}"));
            let after = records(&cli);
            assert_eq!(after["a"], after["b"], "a commit in two halves, refused at {n}");
            match code {
                0 => assert_eq!(after["a"].job, "victim", "an acknowledged commit is gone, refused at {n}"),
                74 | 76 => drop(ended.stderr_has("flowlock: ").stderr_has(&place()).clone()),
                _ => panic!("refused at {n}: {ended:?}"),
            }
            cli.run(run("-i a -o a -o b --wait 5s --name next", "true")).code(0).stderr("");
            cli.run(["doctor"]).code(0);
            codes.push(code);
            if faults.fired() == 0 {
                return codes;
            }
        }
    };
    std::thread::scope(|threads| {
        let both = [threads.spawn(play), threads.spawn(play)];
        both.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_disk_that_is_full_from_some_write_on_loses_no_record() {
    let codes = sweep(|fault, n| fault.calls(&[Call::Write, Call::Truncate]).refuse_from(n, Errno::ENOSPC));
    assert!(codes.iter().filter(|code| **code == 74).count() > 3, "{codes:?}");
}

#[test]
fn a_disk_that_fails_once_loses_no_record() {
    let calls = [Call::Write, Call::Sync, Call::Truncate];
    let codes = sweep(|fault, n| fault.calls(&calls).refuse_once(n, Errno::EIO));
    assert!(codes.iter().any(|code| *code != 0), "{codes:?}");
}

/// `SQLite` takes it for damage, and whoever believes that gives up a finished job, or moves away a store that is whole.
#[test]
fn a_read_that_fails_once_is_tried_again_and_is_no_damage() {
    let cli = written_before();
    let failing = |n| Fault::below(cli.home().join("store")).calls(&[Call::Read]).refuse_once(n, Errno::EIO);
    let mut failed = [0, 0];
    // While the store is opened nothing has begun, and the user is told of the disk.
    for n in 1.. {
        let faults = failing(n).inject();
        let ended = cli.clone().with_faults(&faults).run(run("-o a -o b --name victim", "true"));
        let (code, said) = (ended.status().code(), ended.err());
        let is_told =
            said.contains("reading or writing the store failed") || said.contains("Input/output error");
        assert!(
            code == Some(0) || code == Some(74) && is_told && !said.contains("damaged"),
            "at {n}: {ended:?}"
        );
        if faults.fired() == 0 {
            break;
        }
        failed[0] = n;
    }
    // While it reads what another has written since.
    for n in 1.. {
        let faults = failing(n).disarmed().inject();
        let gate = Gate::new(cli.home().join(format!("gate{n}")));
        let holder = cli.clone().with_faults(&faults);
        let holder = holder.start(run("-o a -o b --name holder", &format!("echo in; {}", gate.wait())));
        holder.says("in\n");
        cli.run(run("-o c -o d -o e", "true")).code(0);
        faults.arm();
        gate.open();
        holder.wait().code(0);
        assert_eq!(records(&cli)["a"].job, "holder");
        if faults.fired() == 0 {
            break;
        }
        failed[1] = n;
    }
    assert!(failed.iter().all(|reads| *reads > 2), "{failed:?} reads failed");
    cli.run(["doctor"]).code(0);
}

#[test]
fn an_index_that_cannot_grow_is_a_full_disk_only_if_the_system_says_so() {
    let said = |errno| {
        let cli = cli();
        std::fs::create_dir_all(cli.home().join("store")).unwrap();
        // The journal's index is made anew by the first that opens the store.
        cli.run(run("-o a", "true")).code(0);
        let index = cli.home().join("store/flowlock.db-shm");
        std::fs::File::options().write(true).open(index).unwrap().set_len(0).unwrap();
        let faults =
            Fault::below(cli.home().join("store")).calls(&[Call::Write]).refuse_from(1, errno).inject();
        let asks = cli.clone().with_faults(&faults).with("FLOWLOCK_STORE_TIMEOUT", "1s");
        let ended = asks.run(["status"]);
        assert!(faults.fired() > 0);
        ended.code(74);
        ended.err().to_owned()
    };
    let full = said(Errno::ENOSPC);
    assert!(full.contains("no space left for the store"), "{full}");
    let broken = said(Errno::EIO);
    assert!(broken.contains("reading or writing the store failed"), "{broken}");
}

/// However few files a process may open, it is told which of its limits it met, and not to look at the file's mode.
#[test]
fn too_many_open_files_are_called_that() {
    let cli = written_before();
    let asked = |most: u32| {
        let script = format!("ulimit -n {most}; exec {} status", env!("CARGO_BIN_EXE_flowlock"));
        cli.clone().with_program("/bin/sh").run(["-c", &script])
    };
    let refused = (4..40).map(asked).take_while(|ended| !ended.status().success());
    let said: Vec<_> = refused.map(|ended| ended.err().to_owned()).collect();
    assert!(said.len() > 3 && said.len() < 36, "{said:#?}");
    for said in &said {
        assert!(!said.contains("check the owner and mode"), "{said}");
    }
}

/// A small file system of its own, unmounted at the end. Only root can have one.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).expect("room for a mount point");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&path).output();
        mounted.ok().filter(|mount| mount.status.success()).map(|_| SmallDisk { path })
    }

    /// Leaves so many bytes.
    fn fill(&self, leaving: u64) {
        let free = || {
            let found = nix::sys::statvfs::statvfs(&self.path).expect("the disk is there");
            found.blocks_available() * found.fragment_size()
        };
        let ballast = vec![0; free().saturating_sub(leaving) as usize];
        std::fs::write(self.path.join("ballast"), ballast).expect("room for so much");
    }

    fn clear(&self) {
        let _ = std::fs::remove_file(self.path.join("ballast"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

#[test]
fn a_real_disk_that_is_full_starts_no_job_and_works_again_when_there_is_room() {
    let cli = cli();
    let Some(disk) = SmallDisk::mount(cli.home().join("small")) else {
        // Without root there is no disk to fill: the refusing library above tells the same story.
        assert!(!nix::unistd::getuid().is_root() || Path::new("/.dockerenv").exists(), "root cannot mount");
        return;
    };
    let mut full = 0;
    for leaving in (0..24).step_by(2) {
        let directory = disk.path.join(format!("with{leaving}"));
        std::fs::create_dir(&directory).unwrap();
        let store = format!("sqlite:{}", directory.join("flowlock.db").display());
        let cli = cli.clone().with("FLOWLOCK_STORE", store).with("FLOWLOCK_STORE_TIMEOUT", "1s");
        cli.run(run("-o a -o b --name before", "true")).code(0);
        disk.fill(leaving * 4096);
        let ended = ends_or_outlasts(cli.start(run("-o a -o b --name full", "echo in")), || disk.clear());
        disk.clear();
        let after = records(&cli);
        assert_eq!(after["a"], after["b"]);
        if ended.status().success() {
            assert_eq!(after["a"].job, "full");
        } else {
            let said = "no space left for the store; nothing was changed; make room and run again";
            ended.code(74).stderr_has(said);
            assert_eq!(after["a"].job, "before");
            full += 1;
        }
        cli.run(run("-o a -o b --wait 5s", "true")).code(0);
    }
    assert!(full > 1, "the disk was never full");
}

#[test]
fn a_disk_that_becomes_read_only_under_a_running_command_records_nothing() {
    let cli = written_before();
    let faults = Fault::below(cli.home().join("store"))
        .calls(&[Call::Write, Call::Truncate, Call::Open])
        .refuse_from(1, Errno::EROFS)
        .disarmed()
        .inject();
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.clone().with_faults(&faults).with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let holder = holder.start(run("-o a -o b --name holder", &format!("echo in; {}", gate.wait())));
    holder.says("in\n");
    faults.arm();
    gate.open();
    let ended = holder.wait();
    // The write that failed may have been the one that counted, as far as the process can tell.
    ended.code(76).stderr_has("the outcome of holder.").stderr_has(
        "cause: the store cannot be written: check the owner and mode of the file and its directory, and whether the \
         file system is mounted read-only",
    );
    assert_eq!(records(&cli)["a"].job, "before");
    cli.run(run("-o a -o b --wait 5s --name next", "true")).code(0);
}
