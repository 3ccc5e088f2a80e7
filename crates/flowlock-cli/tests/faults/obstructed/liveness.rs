//! Somebody locks the liveness file.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use super::{beside, lock_bytes, used};
use crate::{run, starts_at_once, until_it_is};

#[test]
fn a_liveness_file_that_somebody_locked_stops_nobody_and_is_named() {
    let cli = used();
    let named = format!("process {} keeps ~/store/flowlock.db-live locked", std::process::id());
    for kind in [libc::F_WRLCK, libc::F_RDLCK] {
        let _locked = lock_bytes(beside(&cli, "-live"), kind, 0, 0);
        let begun = Instant::now();
        let ended = cli.run(run("-l free --wait 0", "echo ran"));
        ended.code(0).stdout("ran\n").stderr_has(&named);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let doctor = cli.run(["doctor"]);
        doctor.code(1);
        assert!(doctor.out().contains(&named), "{doctor:#?}");
    }
    cli.run(["doctor"]).code(0);
    cli.run(run("-l free --wait 0", "true")).code(0).stderr("");
}

#[test]
fn whoever_cannot_be_told_to_be_dead_is_so_at_the_end_of_its_lease() {
    let cli = used();
    let before = cli.start(run("-l kept --duration 2s", "echo in; exec sleep 1000"));
    before.says("in\n");
    let _locked = lock_bytes(beside(&cli, "-live"), libc::F_RDLCK, 0, 0);
    let next = cli.start(run("-l kept --name next", "echo in"));
    until_it_is(&cli, "next", "queued");
    before.signal(Signal::SIGKILL);
    let killed = Instant::now();
    next.says("in\n");
    assert!(killed.elapsed() < Duration::from_secs(4), "the lease was over long ago: {:?}", killed.elapsed());
    next.wait().code(0);
}

#[test]
fn a_new_liveness_file_that_somebody_locked_is_an_error_in_time_that_names_them() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    File::create(beside(&cli, "-live")).unwrap();
    let _far_out = lock_bytes(beside(&cli, "-live"), libc::F_WRLCK, 1 << 62, 1);
    let begun = Instant::now();
    let ended = cli.run(run("-l x --wait 0", "echo ran"));
    ended.code(69).stdout("").stderr_has(&format!("process {} keeps ", std::process::id()));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn what_a_command_inherits_locks_nobody_out() {
    let cli = used();
    // It tries everything that its descriptor allows, then lives on beyond its wrapper.
    let script = "import fcntl, os, struct, sys
for fd in range(3, 64):
    try:
        path = os.readlink(f'/proc/self/fd/{fd}')
    except OSError:
        continue
    if not path.endswith('-live'):
        continue
    for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK):
        try:
            fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', kind, 0, 0, 0, 0))
            print('locked', 'exclusive' if kind == fcntl.F_WRLCK else 'shared')
        except OSError as error:
            print('refused', error.errno)
print('in', flush=True)
sys.stdin.read()
os.execlp('sleep', 'sleep', '1000')";
    let holder = cli.start(["run", "-l", "mine", "--name", "holder", "--", "python3", "-c", script]);
    holder.says("in\n");
    assert_eq!(holder.stdout(), "refused 9\nlocked shared\nin\n");
    let begun = Instant::now();
    cli.run(run("-l free --wait 0", "echo ran")).code(0).stdout("ran\n");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    cli.run(run("-l mine --wait 0", "echo ran")).code(75);
    holder.signal(Signal::SIGKILL);
    let next = cli.start(run("-l mine --name next", "echo in"));
    starts_at_once(&cli, &next, Instant::now());
    next.wait().code(0);
}
