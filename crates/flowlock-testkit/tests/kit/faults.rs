//! Every injection changes what a real process does; the same process without the library is the control.

use flowlock_testkit::{Call, Cli, Fault, FileSystem, Finished};
use nix::errno::Errno;
use nix::sys::signal::Signal;

fn probe() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_probe"))
}

/// Creates a file, writes to it, syncs, renames, removes it and sends a message: one call of each kind and more.
const ALL: [&str; 19] = [
    "create", "a", "write", "a", "text", "sync", "a", "truncate", "a", "2", "link", "a", "c", "rename", "a",
    "b", "unlink", "b", "send",
];

fn said(finished: &Finished) -> Vec<&str> {
    finished.out().lines().collect()
}

#[test]
fn without_faults_every_operation_works() {
    let done = probe().run(ALL);
    done.code(0)
        .stdout("create ok\nwrite ok\nsync ok\ntruncate ok\nlink ok\nrename ok\nunlink ok\nsend ok\n");
}

#[test]
fn every_kind_of_call_is_counted_once() {
    let counts = [
        (Call::Open, 3), // create, and the opens before write and truncate
        (Call::Write, 1),
        (Call::Sync, 1),
        (Call::Truncate, 1),
        (Call::Link, 1),
        (Call::Rename, 1),
        (Call::Unlink, 1),
        (Call::Send, 1),
    ];
    for (call, count) in counts {
        let cli = probe();
        let faults = Fault::below(cli.home()).calls(&[call]).inject();
        cli.with_faults(&faults).run(ALL).code(0);
        assert_eq!(faults.seen(), count, "{call:?}");
    }
}

#[test]
fn only_calls_below_the_directory_count() {
    let cli = probe();
    let elsewhere = cli.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let faults =
        Fault::below(&elsewhere).calls(&[Call::Write, Call::Open]).refuse_from(1, Errno::EIO).inject();
    let cli = cli.with_faults(&faults);
    cli.run(["create", "a", "write", "a", "x"]).stdout("create ok\nwrite ok\n");
    cli.run(["create", "elsewhere/a"]).stdout("create 5\n");
    assert_eq!(faults.seen(), 1);
}

#[test]
fn a_process_dies_before_or_after_the_chosen_call() {
    for (after, left) in [(false, "first"), (true, "second")] {
        let cli = probe();
        let plan = Fault::below(cli.home()).calls(&[Call::Write]);
        let faults = if after { plan.kill_after(2) } else { plan.kill_before(2) }.inject();
        let done = cli
            .clone()
            .with_faults(&faults)
            .run(["create", "a", "write", "a", "first", "write", "a", "second"]);
        done.killed_by(Signal::SIGKILL).stdout("create ok\nwrite ok\n");
        assert_eq!(std::fs::read_to_string(cli.home().join("a")).unwrap(), left);
        assert_eq!(faults.fired(), 1);
    }
}

#[test]
fn a_call_is_refused_once_or_for_ever() {
    let writes = ["create", "a", "write", "a", "x", "write", "a", "y", "write", "a", "z"];
    for (errno, number) in [(Errno::ENOSPC, 28), (Errno::EIO, 5), (Errno::EROFS, 30), (Errno::EACCES, 13)] {
        let cli = probe();
        let faults = Fault::below(cli.home()).calls(&[Call::Write]).refuse_once(2, errno).inject();
        let done = cli.with_faults(&faults).run(writes);
        assert_eq!(said(&done), ["create ok", "write ok", &format!("write {number}"), "write ok"]);

        let cli = probe();
        let faults = Fault::below(cli.home()).calls(&[Call::Write]).refuse_from(2, errno).inject();
        let done = cli.with_faults(&faults).run(writes);
        assert_eq!(
            said(&done),
            ["create ok", "write ok", &format!("write {number}"), &format!("write {number}")]
        );
        assert_eq!(faults.fired(), 2);
    }
}

#[test]
fn each_kind_of_call_can_be_refused() {
    for (call, word) in [
        (Call::Write, "write"),
        (Call::Sync, "sync"),
        (Call::Truncate, "truncate"),
        (Call::Link, "link"),
        (Call::Rename, "rename"),
        (Call::Send, "send"),
    ] {
        let cli = probe();
        let faults = Fault::below(cli.home()).calls(&[call]).refuse_from(1, Errno::EIO).inject();
        let done = cli.with_faults(&faults).run(ALL);
        assert!(said(&done).contains(&format!("{word} 5").as_str()), "{call:?}: {done:?}");
        assert_eq!(faults.fired(), 1, "{call:?}");
    }
}

#[test]
fn sqlite_writes_and_syncs_through_the_library() {
    let cli = probe();
    let faults = Fault::below(cli.home()).calls(&[Call::Sync]).inject();
    cli.clone()
        .with_faults(&faults)
        .run(["rows", "db", "3"])
        .code(0)
        .stdout("row 1\nrow 2\nrow 3\nrows ok\n");
    assert!(faults.seen() > 3, "a durable row is a sync: {}", faults.seen());

    let full = Fault::below(cli.home()).calls(&[Call::Write]).refuse_from(1, Errno::ENOSPC).inject();
    cli.with_faults(&full).run(["rows", "db", "1"]).stdout("rows disk I/O error\n"); // the first thing to grow is the shared index
}

#[test]
fn a_disarmed_plan_waits_for_its_word() {
    let cli = probe().with_stdin("\n");
    let faults =
        Fault::below(cli.home()).calls(&[Call::Write]).refuse_from(1, Errno::EIO).disarmed().inject();
    let cli = cli.with_faults(&faults);
    cli.run(["create", "a", "write", "a", "x"]).stdout("create ok\nwrite ok\n");
    assert_eq!(faults.seen(), 0);
    faults.arm();
    cli.run(["write", "a", "x"]).stdout("write 5\n");
}

#[test]
fn a_directory_can_claim_to_be_on_a_network() {
    for (kind, number) in
        [(FileSystem::Nfs, "6969"), (FileSystem::Cifs, "ff534d42"), (FileSystem::Smb2, "fe534d42")]
    {
        let cli = probe();
        let home = cli.home();
        let home = home.to_str().unwrap();
        assert!(!cli.run(["statfs", home]).out().starts_with(number));
        let faults = Fault::below(home).file_system(home, kind).inject();
        cli.with_faults(&faults).run(["statfs", home]).stdout(&format!("{number}\nstatfs ok\n"));
    }
}

#[test]
fn a_process_can_be_told_of_another_boot() {
    let cli = probe();
    let id = "00000000-1111-2222-3333-444444444444";
    assert!(!cli.run(["boot"]).out().starts_with(id));
    let faults = Fault::below(cli.home()).boot(id).inject();
    cli.with_faults(&faults).run(["boot"]).stdout(&format!("{id}\nboot ok\n"));
}

#[test]
fn clocks_move_while_a_process_runs() {
    let cli = probe();
    let faults = Fault::below(cli.home()).inject();
    let cli = cli.with_faults(&faults);
    let read = || {
        let done = cli.run(["clock"]);
        let line = said(&done)[0].to_owned();
        let (wall, boot) = line.split_once(' ').unwrap();
        (wall.parse::<i64>().unwrap(), boot.parse::<i64>().unwrap())
    };
    let (wall, boot) = read();
    faults.shift_wall_clock(-3_600_000);
    faults.shift_boot_clock(600_000);
    let (shifted_wall, shifted_boot) = read();
    assert!((-3600..-3540).contains(&(shifted_wall - wall)), "{wall} {shifted_wall}");
    assert!((600..660).contains(&(shifted_boot - boot)), "{boot} {shifted_boot}");
}
