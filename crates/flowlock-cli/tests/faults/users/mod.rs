//! Several users: who they are in these tests, and what they share.

mod side_files;
mod strangers;
mod together;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::Command;

use flowlock_testkit::{Cli, Finished, Job};

use crate::cli;

/// Somebody without special rights, at home in a test's directory. Only root can become somebody else: others play
/// themselves.
pub(crate) struct Person {
    pub(crate) cli: Cli,
    pub(crate) uid: u32,
    gid: u32,
    pub(crate) binary: PathBuf,
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

    pub(crate) fn line(&self, program: &str, words: &[String]) -> Vec<String> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let me = ["--reuid", &uid, "--regid", &gid, "--clear-groups", "--", program].map(str::to_owned);
        me.into_iter().chain(words.iter().cloned()).collect()
    }

    /// Runs a script as this person; only root can ask for that.
    #[track_caller]
    pub(crate) fn shell(&self, cli: &Cli, script: &str) -> Finished {
        let words = ["-c", script].map(str::to_owned);
        cli.clone().with_program("setpriv").run(self.line("sh", &words))
    }

    /// Starts the program as this person.
    #[track_caller]
    pub(crate) fn start(&self, cli: &Cli, words: &[String]) -> Job {
        if nix::unistd::getuid().is_root() {
            return cli
                .clone()
                .with_program("setpriv")
                .start(self.line(&self.binary.display().to_string(), words));
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
pub(crate) fn two_members() -> Option<(Cli, Person, Person)> {
    if !nix::unistd::getuid().is_root() {
        return None;
    }
    let cli = cli();
    let binary = within_reach(&cli);
    let cli = cli.clone().without("FLOWLOCK_STORE").with("FLOWLOCK_SYSTEM_ROOT", cli.home().join("machine"));
    // A group that every system has and whose number tells nobody apart.
    let group = nix::unistd::Group::from_name("users").unwrap().expect("the group of users");
    fs::create_dir(cli.home().join("machine")).unwrap();
    cli.run(["doctor", "--init-shared", "--group", "users"]).code(0);
    let member = |uid| Person { cli: cli.clone(), uid, gid: group.gid.as_raw(), binary: binary.clone() };
    let (one, two) = (member(12_345), member(23_456));
    Some((cli, one, two))
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
