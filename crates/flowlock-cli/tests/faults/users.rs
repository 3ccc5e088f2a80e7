//! Several users: who they are in these tests, and what they share.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use flowlock_testkit::{Cli, Finished, Gate, Job};
use nix::sys::signal::Signal;

use crate::{cli, run, starts_at_once};

/// Somebody without special rights, at home in a test's directory. Only root can become somebody else: others play
/// themselves.
pub(crate) struct Person {
    pub(crate) cli: Cli,
    pub(crate) uid: u32,
    gid: u32,
    binary: PathBuf,
}

impl Person {
    /// A person whose home is a fresh directory.
    pub(crate) fn new(uid: u32) -> Self {
        let cli = cli();
        let binary = within_reach(&cli);
        Person::at_home(cli, binary, uid, uid)
    }

    fn at_home(cli: Cli, binary: PathBuf, uid: u32, gid: u32) -> Self {
        let me = nix::unistd::getuid();
        if !me.is_root() {
            let gid = nix::unistd::getgid().as_raw();
            return Person { cli, uid: me.as_raw(), gid, binary };
        }
        for directory in [cli.home(), cli.home().join("store")] {
            chown(directory, Some(uid), Some(gid)).unwrap();
        }
        Person { cli, uid, gid, binary }
    }

    fn line(&self, words: &[String]) -> Vec<String> {
        let mut line: Vec<String> =
            ["--reuid", &self.uid.to_string(), "--regid", &self.gid.to_string(), "--clear-groups", "--"]
                .map(str::to_owned)
                .to_vec();
        line.push(self.binary.display().to_string());
        line.extend_from_slice(words);
        line
    }

    /// Starts the program as this person.
    #[track_caller]
    pub(crate) fn start(&self, cli: &Cli, words: &[String]) -> Job {
        if nix::unistd::getuid().is_root() {
            return cli.clone().with_program("setpriv").start(self.line(words));
        }
        cli.start(words)
    }

    /// Runs the program as this person.
    #[track_caller]
    pub(crate) fn run(&self, cli: &Cli, words: &[String]) -> Finished {
        self.start(cli, words).wait()
    }
}

/// A copy of the program where everybody can execute it.
fn within_reach(cli: &Cli) -> PathBuf {
    fs::set_permissions(cli.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = cli.home().join("flowlock");
    // By another process: a descriptor open for writing, inherited by some child, would make the copy "busy".
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_flowlock")).arg(&binary).status();
    assert!(copied.unwrap().success());
    binary
}

/// Two members of a group whose shared store root has prepared, and the place they work in.
fn two_members() -> Option<(Cli, Person, Person)> {
    if !nix::unistd::getuid().is_root() {
        return None;
    }
    let cli = cli();
    let binary = within_reach(&cli);
    let cli = cli.clone().without("FLOWLOCK_STORE").with("FLOWLOCK_SYSTEM_ROOT", cli.home().join("root"));
    // A group that every system has and whose number tells nobody apart.
    let group = nix::unistd::Group::from_name("users").unwrap().expect("the group of users");
    fs::create_dir(cli.home().join("root")).unwrap();
    cli.run(["doctor", "--init-shared", "--group", "users"]).code(0);
    let member = |uid| Person { cli: cli.clone(), uid, gid: group.gid.as_raw(), binary: binary.clone() };
    let (one, two) = (member(12_345), member(23_456));
    Some((cli, one, two))
}

#[test]
fn two_users_of_a_shared_store_see_each_other_and_wait_for_each_other() {
    let Some((cli, one, two)) = two_members() else { return };
    let gate = Gate::new(cli.home().join("gate"));
    fs::set_permissions(cli.home().join("gate"), fs::Permissions::from_mode(0o666)).unwrap();
    for (first, second) in [(&one, &two), (&two, &one)] {
        let holder = first.start(&cli, &run("-o data --name holder", &format!("echo in; {}", gate.wait())));
        holder.says("in\n");
        let waiter = second.start(&cli, &run("-i data -o data --name waiter", "echo in"));
        seen_by(first, &cli, &["holder running", "waiter"]);
        seen_by(second, &cli, &["holder running", "waiter"]);
        gate.open();
        let freed = Instant::now();
        starts_at_once(&cli, &waiter, freed);
        waiter.wait().code(0);
        holder.wait().code(0);
        second.run(&cli, &["check".into(), "data".into()]).code(0);
    }
    two.run(&cli, &["doctor".into()]).code(0);
}

#[test]
fn one_user_wakes_another() {
    let Some((cli, one, two)) = two_members() else { return };
    for (first, second) in [(&one, &two), (&two, &one)] {
        // A run without a process of its own: nobody's death tells the waiter to look.
        let words = ["start", "build", "--duration", "1h", "-l", "door"].map(str::to_owned);
        let build = first.run(&cli, &words).code(0).out().trim().to_owned();
        let waiter = second.start(&cli, &run("-l door --name waiter", "echo in"));
        seen_by(second, &cli, &["waiter", "queued"]);
        let freed = Instant::now();
        first.run(&cli, &["commit".to_owned(), build]).code(0);
        // Otherwise it would notice at its next heartbeat, 5 s after the last.
        starts_at_once(&cli, &waiter, freed);
        waiter.wait().code(0);
    }
}

#[test]
fn one_users_death_frees_the_names_for_another() {
    let Some((cli, one, two)) = two_members() else { return };
    for (dying, next) in [(&one, &two), (&two, &one)] {
        let holder = dying.start(&cli, &run("-l door --name holder", "echo in; exec sleep 1000"));
        holder.says("in\n");
        let waiter = next.start(&cli, &run("-l door --name waiter", "echo in"));
        seen_by(next, &cli, &["waiter"]);
        holder.signal(Signal::SIGKILL);
        starts_at_once(&cli, &waiter, Instant::now());
        waiter.wait().code(0);
    }
}

#[test]
fn a_stranger_is_told_to_join_the_group() {
    let Some((cli, one, _)) = two_members() else { return };
    let stranger = Person { uid: 34_567, gid: 34_567, ..one };
    let ended = stranger.run(&cli, &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr(
        "flowlock: the shared store's directory ~/root/var/lib/flowlock cannot be written by user 34567: Permission \
         denied; join its group, or name another store with --store\n",
    );
}

/// Waits until a person's `status` has these words.
#[track_caller]
fn seen_by(person: &Person, cli: &Cli, words: &[&str]) {
    flowlock_testkit::until("runs in sight", flowlock_testkit::PATIENCE, || {
        let status = person.run(cli, &["status".into()]);
        let plain = status.out().split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().all(|word| word.split(' ').all(|part| plain.contains(part))).then_some(())
    });
}
