//! Somebody has a lease of the kernel on a file of the store.

use std::fs;
use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Fault, Job, PATIENCE, until};
use nix::sys::signal::Signal;

use super::{beside, has, used};
use crate::run;

/// A process that has a lease on a file of the store.
fn lessee(cli: &Cli, suffix: &str) -> Job {
    let script = "import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_RDLCK)
print('in', flush=True)
signal.pause()";
    let file = beside(cli, suffix);
    let lessee = cli.clone().with_program("python3").start(["-c", script, file.to_str().unwrap()]);
    lessee.says("in\n");
    lessee
}

#[test]
fn a_lease_on_a_file_of_the_store_holds_nobody_up_beyond_their_time_and_is_named() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    for suffix in ["", "-wal", "-shm", "-live", "-lock"] {
        let lessee = lessee(&cli, suffix);
        let begun = Instant::now();
        let ended = cli.run(run("-l x --wait 0", "echo ran"));
        ended.code(69).stdout("").stderr_has(&format!(
            "the store is busy: process {} has a lease on ~/store/flowlock.db{suffix}",
            lessee.pid()
        ));
        assert!(begun.elapsed() < Duration::from_secs(5), "{suffix}: {:?}", begun.elapsed());
        lessee.signal(Signal::SIGKILL);
        lessee.wait();
        cli.run(run("-l x --wait 0", "true")).code(0);
    }
}

/// The opening is broken off first, and the signal that did it is seen after that.
#[test]
fn a_signal_is_the_reason_also_if_the_store_is_the_first_to_say_so() {
    let cli = used();
    let _lessee = lessee(&cli, "");
    let late = Fault::below(cli.home()).calls(&[]).late(Duration::from_secs(2)).inject();
    let opening = cli.clone().with_faults(&late).start(run("-l x --json-result result", "echo ran"));
    until("a process that opens the store", PATIENCE, || has(opening.pid(), "flowlock-opens").then_some(()));
    opening.signal(Signal::SIGHUP);
    opening.wait().code(129).stdout("").stderr_has("flowlock: not started after SIGHUP: ");
    let result = fs::read_to_string(cli.home().join("result")).unwrap();
    assert!(result.contains(r#""outcome":"cancelled""#), "{result}");
}
