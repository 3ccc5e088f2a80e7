//! Several users: who they are in these tests, and what they share.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flowlock_testkit::{Cli, Finished, Gate, Job};
use nix::sys::signal::Signal;

use crate::{cli, run, starts_at_once, until_it_is};

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
        "flowlock: the shared store's directory ~/machine/var/lib/flowlock cannot be written by user 34567: Permission \
         denied; join its group, or name another store with --store\n",
    );
}

#[test]
fn a_store_that_a_stranger_put_there_is_not_used() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can play two users");
        return;
    }
    let (eve, alice) = (Person::new(12_345), Person::new(23_456));
    let everybodys = eve.cli.home().join("everybodys");
    fs::create_dir(&everybodys).unwrap();
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o1777)).unwrap();
    let store = format!("sqlite:{}", everybodys.join("s.db").display());
    eve.run(&eve.cli.clone().with("FLOWLOCK_STORE", &store), &run("-l x", "true")).code(0);
    eve.shell(&eve.cli, "chmod 666 ~/everybodys/*; chmod 1777 ~/everybodys/s.db-wake").code(0);
    belongs_to_root(&eve.cli.home());
    let ended = alice.run(&alice.cli.clone().with("FLOWLOCK_STORE", &store), &run("-l x", "echo ran"));
    let said = "belongs to user 12345, and everybody may write ";
    ended.code(78).stdout("").stderr_has(said);
    // Root uses every user's, but not where anybody can have been there before it.
    let roots = eve.cli.clone().with("FLOWLOCK_STORE", &store);
    let ended = roots.run(run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr_has(said);
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&everybodys, Some(eve.uid), None).unwrap();
    // Nor where anybody can have made its directory, as in /tmp.
    chown(eve.cli.home(), Some(eve.uid), None).unwrap();
    let ended = roots.run(run("-l x", "echo ran"));
    ended
        .code(78)
        .stdout("")
        .stderr_has("belongs to user 12345, and everybody may write /tmp, so that user may");
    belongs_to_root(&eve.cli.home());
    let ended = alice.run(&alice.cli.clone().with("FLOWLOCK_STORE", &store), &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr_has("belongs to user 12345, neither to you nor to root");
    eve.shell(&eve.cli, "chmod 600 ~/everybodys/s.db*; chmod 700 ~/everybodys/s.db-wake").code(0);
    roots.run(run("-l x", "echo ran")).code(0).stdout("ran\n");
    belongs_to_root(&everybodys);
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o1777)).unwrap();

    // Nor is the user's own store made in a directory of theirs.
    let state = everybodys.join("state");
    let theirs = eve.cli.clone().with("XDG_STATE_HOME", &state).without("FLOWLOCK_STORE");
    eve.run(&theirs, &run("-l x", "true")).code(0);
    eve.shell(&eve.cli, "chmod -R 777 ~/everybodys/state; rm -r ~/everybodys/state/flowlock/*").code(0);
    let hers = alice.cli.clone().with("XDG_STATE_HOME", &state).without("FLOWLOCK_STORE");
    let ended = alice.run(&hers, &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr_has("state/flowlock belongs to user 12345");
}

/// Root made it, as it makes the homes of users.
fn belongs_to_root(directory: &Path) {
    chown(directory, Some(0), None).unwrap();
}

#[test]
fn in_a_user_namespace_the_machines_own_directories_are_no_strangers() {
    if !Command::new("unshare").args(["-r", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("no user namespaces here: skipped");
        return;
    }
    let person = Person::new(12_345);
    let file = person.cli.home().join("flowlock.toml");
    fs::write(&file, "namespace = 'inside'\n").unwrap();
    if nix::unistd::getuid().is_root() {
        chown(&file, Some(person.uid), Some(person.gid)).unwrap();
    }
    let words = ["-r", &person.binary.display().to_string(), "config", "show"].map(str::to_owned);
    let ended = if nix::unistd::getuid().is_root() {
        person.cli.clone().with_program("setpriv").run(person.line("unshare", &words))
    } else {
        person.cli.clone().with_program("unshare").run(words)
    };
    assert!(ended.code(0).out().contains("inside"), "{ended:?}");
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

/// Everything that lies in the shared store's directory, with its path relative to the home.
fn shared_files(cli: &Cli) -> Vec<String> {
    let directory = cli.home().join("machine/var/lib/flowlock");
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn members_can_neither_remove_nor_replace_nor_plant_a_file_of_the_shared_store() {
    let Some((cli, one, two)) = two_members() else { return };
    let made =
        ["", "-journal", "-live", "-lock", "-shm", "-wake", "-wal"].map(|of| format!("flowlock.db{of}"));
    assert_eq!(shared_files(&cli), made);
    one.run(&cli, &run("-o data", "true")).code(0);
    for name in &made {
        let script = format!(
            "cd ~/machine/var/lib/flowlock && touch mine && ! rm -rf {name} && ! mv {name} away && ! mv -Tf mine {name} && \
             ! ln -sfT /etc/passwd {name} && ! chmod 666 {name} && rm mine"
        );
        one.shell(&cli, &script).code(0);
    }
    assert_eq!(shared_files(&cli), made);
    two.run(&cli, &run("-i data -o more", "true")).code(0);
    cli.run(["doctor"]).code(0);
    assert_eq!(shared_files(&cli), made);
}

#[test]
fn what_a_member_puts_among_the_sockets_is_neither_removed_nor_written_to_by_root() {
    let Some((cli, one, _)) = two_members() else { return };
    let victim = cli.home().join("victim");
    fs::create_dir(&victim).unwrap();
    let name = |number: u32| format!("{number:032x}");
    fs::write(victim.join(name(1)), "content").unwrap();
    let inboxes = "~/machine/var/lib/flowlock/flowlock.db-wake";
    one.shell(&cli, &format!("! mv -T {inboxes} {inboxes}.away && ! ln -sfT ~/victim {inboxes}")).code(0);
    let planted = format!(
        "cd {inboxes} && ln -s ~/victim/{0} {0} && mkdir {1} && echo mine > {2}",
        name(1),
        name(2),
        name(3)
    );
    one.shell(&cli, &planted).code(0);
    one.shell(&cli, &format!("touch -hd 2001-01-01 {inboxes}/*")).code(0);
    // Who waits looks for sockets of the dead.
    for _ in 0..3 {
        wait_once(&cli, None);
    }
    assert_eq!(fs::read_to_string(victim.join(name(1))).unwrap(), "content");
    one.shell(&cli, &format!("test -L {inboxes}/{} && test -f {inboxes}/{}", name(1), name(3))).code(0);
}

#[test]
fn sockets_of_members_who_died_are_removed_by_themselves_and_by_root_and_hinder_nobody() {
    let Some((cli, one, two)) = two_members() else { return };
    let inboxes = cli.home().join("machine/var/lib/flowlock/flowlock.db-wake");
    for (sweeper, swept) in [(Some(&two), false), (Some(&one), true), (None, true)] {
        die_waiting(&cli, &one);
        let dead: Vec<_> = fs::read_dir(&inboxes).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!dead.is_empty());
        // Old enough to be taken for left behind.
        let grow_old = format!("touch -hd 2001-01-01 {}/*", inboxes.display());
        cli.clone().with_program("sh").run(["-c", &grow_old]).code(0);
        wait_once(&cli, sweeper);
        let left = dead.iter().any(|socket| socket.exists());
        assert_eq!(left, !swept, "swept by {:?}", sweeper.map(|person| person.uid));
    }
}

/// A process of a person, or of root, waits for another.
fn wait_once(cli: &Cli, person: Option<&Person>) {
    let start = |words: &[String]| person.map_or_else(|| cli.start(words), |person| person.start(cli, words));
    let holder = start(&run("-l door", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let waiter = start(&run("-l door --name waiter", "true"));
    until_it_is(cli, "waiter", "queued");
    holder.signal(Signal::SIGKILL);
    waiter.wait().code(0);
    holder.wait();
}

/// A person's process dies while it waits, and leaves its socket behind.
fn die_waiting(cli: &Cli, person: &Person) {
    let holder = person.start(cli, &run("-l dying", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let waiter = person.start(cli, &run("-l dying", "true"));
    seen_by(person, cli, &["queued"]);
    waiter.signal(Signal::SIGKILL);
    holder.signal(Signal::SIGKILL);
    waiter.wait();
    holder.wait();
}

#[test]
fn two_members_who_make_the_store_of_a_group_at_the_same_moment_both_go_on() {
    let Some((cli, one, two)) = two_members() else { return };
    for round in 0..8 {
        let directory = cli.home().join(format!("group{round}"));
        fs::create_dir(&directory).unwrap();
        chown(&directory, None, Some(one.gid)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
        let cli = cli.clone().with("FLOWLOCK_STORE", format!("sqlite:{}/x.db", directory.display()));
        let started: Vec<_> =
            (0..6).map(|n| [&one, &two][n % 2].start(&cli, &run(&format!("-o name{n}"), "true"))).collect();
        for job in started {
            job.wait().code(0);
        }
    }
}

#[test]
fn what_is_missing_beside_a_store_is_made_by_its_owner_alone() {
    let Some((cli, one, two)) = two_members() else { return };
    let directory = cli.home().join("group");
    fs::create_dir(&directory).unwrap();
    chown(&directory, None, Some(one.gid)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
    let cli = cli.with("FLOWLOCK_STORE", format!("sqlite:{}/x.db", directory.display()));
    one.run(&cli, &run("-o a", "true")).code(0);
    two.run(&cli, &run("-i a", "true")).code(0);
    for suffix in ["-live", "-lock"] {
        fs::remove_file(directory.join(format!("x.db{suffix}"))).unwrap();
        let said = format!("~/group/x.db{suffix} is missing, and only user 12345, who owns the store, can");
        two.run(&cli, &run("-i a", "echo ran")).code(78).stdout("").stderr_has(&said);
        cli.run(run("-i a", "echo ran")).code(78).stdout("").stderr_has(&said);
        one.run(&cli, &run("-i a", "true")).code(0);
        two.run(&cli, &run("-i a", "true")).code(0);
    }
}

#[test]
fn a_stranger_cannot_put_a_journal_beside_a_store_in_a_directory_of_everybody() {
    let Some((cli, one, two)) = two_members() else { return };
    let directory = cli.home().join("everybody");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)).unwrap();
    let cli = cli.with("FLOWLOCK_STORE", format!("sqlite:{}/x.db", directory.display()));
    one.run(&cli, &run("-o a", "true")).code(0);
    two.shell(&cli, "cd ~/everybody && ! echo journal > x.db-journal && ! rm -f x.db-journal x.db-wal")
        .code(0);
    one.run(&cli, &run("-i a -o b", "true")).code(0);
    // Before the store is made everything can be planted: it is refused by name.
    for suffix in ["-live", "-lock", "-wal", "-shm", "-journal"] {
        let cli = cli.clone().with("FLOWLOCK_STORE", format!("sqlite:{}/y{suffix}", directory.display()));
        two.shell(&cli, &format!("echo mine > ~/everybody/y{suffix}{suffix}")).code(0);
        let ended = one.run(&cli, &run("-o a", "echo ran"));
        ended.code(78).stdout("").stderr_has(&format!("~/everybody/y{suffix}{suffix}"));
    }
}

#[test]
fn root_waits_in_the_store_of_another_without_making_anything_in_it() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root meets a store of another that it may use");
        return;
    }
    let person = Person::new(12_345);
    let cli = &person.cli;
    person.run(cli, &run("-o data", "true")).code(0);
    let store = cli.home().join("store");
    let wake = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let wake = { wake }.find(|path| path.display().to_string().ends_with("-wake")).unwrap();
    fs::remove_dir_all(&wake).unwrap();
    let files = || fs::read_dir(&store).unwrap().count();
    let before = files();
    belongs_to_root(&cli.home());
    let holder = cli.start(run("-l door", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let waiter = cli.start(run("-l door --name waiter", "echo ran"));
    until_it_is(cli, "waiter", "queued");
    holder.signal(Signal::SIGKILL);
    waiter.wait().code(0).stdout("ran\n");
    holder.wait();
    assert_eq!(files(), before);
    person.run(cli, &["doctor".into()]).code(0);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&wake).unwrap()), person.uid);
}
