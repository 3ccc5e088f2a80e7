//! Power loss: whatever the disk keeps of what was not synced, acknowledged commits are there, and no token repeats.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use flowlock_testkit::{Call, Cli, Fault, Gate, Injected, Journal, Luck};
use nix::errno::Errno;
use tempfile::TempDir;

use crate::{Chance, cli, records, rounds, run};

/// What somebody outside had been told when the power went out.
#[derive(Debug, Default)]
struct Told {
    /// The newest version of each name whose commit was acknowledged.
    acknowledged: BTreeMap<String, u64>,
    /// The largest token a command has seen.
    token: u64,
}

/// Commands leave marks among the store's files, so that the journal knows when they learned what: `token.TOKEN` from
/// inside a run, and `ack.TOKEN.NAME.NAME` after it.
impl Told {
    fn until(journal: &Journal, changes: usize) -> Self {
        let mut told = Told::default();
        for (_, path) in journal.births().take_while(|(at, _)| *at <= changes) {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
            let words: Vec<&str> = name.split('.').collect();
            let number = || words[1].parse().expect("a token");
            match words[0] {
                "token" => told.token = told.token.max(number()),
                "ack" => words[2..].iter().for_each(|name| {
                    let version = told.acknowledged.entry((*name).to_owned()).or_default();
                    *version = (*version).max(number());
                }),
                _ => {}
            }
        }
        told
    }
}

/// What a run does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Writes two names that no other shell writes.
    Own,
    /// Writes two names that all write.
    Shared,
    /// Writes nothing, so that nothing of it needs to be on the disk but its token's ceiling.
    Lock,
}

const ALL: [Kind; 3] = [Kind::Own, Kind::Lock, Kind::Shared];

impl Kind {
    fn claims_and_names(self, shell: usize) -> (String, String) {
        match self {
            Kind::Own => (format!("-o n{shell} -o m{shell}"), format!(".n{shell}.m{shell}")),
            Kind::Shared => ("-o shared -o twin".into(), ".shared.twin".into()),
            Kind::Lock => ("-l lock".into(), String::new()),
        }
    }
}

/// `count` runs of these kinds in turn, from each of `shells` shells at once.
fn history(cli: &Cli, faults: &Injected, kinds: &[Kind], shells: usize, count: usize) {
    let store = cli.home().join("store").display().to_string();
    let flowlock = env!("CARGO_BIN_EXE_flowlock");
    let step = |kind: Kind, shell| {
        let (claims, names) = kind.claims_and_names(shell);
        let inside = format!(": >{store}/token.$FLOWLOCK_TOKEN; echo $FLOWLOCK_TOKEN >token{shell}");
        let acknowledge = format!("read -r token <token{shell}; : >{store}/ack.$token{names}");
        format!("{flowlock} run {claims} -- sh -c '{inside}' && {{ {acknowledge}; }}\n")
    };
    let script = |shell| kinds.iter().cycle().take(count).map(|kind| step(*kind, shell)).collect::<String>();
    let start = |shell| {
        let cli = cli.clone().with_program("/bin/sh").with_faults(faults);
        cli.start(["-c".to_owned(), script(shell) + "true"])
    };
    let started: Vec<_> = (0..shells).map(start).collect();
    for shell in started {
        shell.wait_at_most(Duration::from_mins(2));
    }
}

/// The machine after the power came back: another boot, just begun, its clock a second behind the last token.
fn rebooted(disk: &Path, told: &Told) -> (Cli, Injected) {
    let faults = Fault::below(disk).boot("99999999-8888-7777-6666-555555555555").inject();
    let uptime = std::fs::read_to_string("/proc/uptime").expect("the uptime is readable");
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    faults.shift_boot_clock(50 - (uptime * 1000.0) as i64);
    if told.token > 0 {
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
        faults.shift_wall_clock((told.token / 1000) as i64 - 1000 - now);
    }
    let store = format!("sqlite:{}", disk.join("flowlock.db").display());
    (cli().with("FLOWLOCK_STORE", store).with_faults(&faults), faults)
}

/// Asserts what must hold on the disk that a power loss leaves.
#[track_caller]
fn is_whole(journal: &Journal, changes: usize, luck: Luck, below: &Path) {
    let disk = TempDir::with_prefix("disk-").expect("room for a disk");
    journal.after_power_loss(changes, luck, below, disk.path());
    let told = Told::until(journal, changes);
    let (cli, _faults) = rebooted(disk.path(), &told);
    let place = format!("after {changes} changes, {luck:?}, told {told:?}");
    if !told.acknowledged.is_empty() {
        assert!(disk.path().join("flowlock.db").exists(), "the store is gone {place}");
    }
    let records = records(&cli);
    for (name, version) in &told.acknowledged {
        let found = records.get(name).map(|written| written.version);
        assert!(found >= Some(*version), "{name} has version {found:?} {place}");
    }
    let version = |name: &str| records.get(name).map(|written| written.version);
    assert_eq!(version("shared"), version("twin"), "a commit in two halves {place}");
    assert_eq!(version("n0"), version("m0"), "a commit in two halves {place}");
    let next = cli.run(run("-o n0 -o m0 -o shared -o twin -l lock --wait 0", "echo $FLOWLOCK_TOKEN"));
    let token: u64 = next.code(0).out().trim().parse().expect("a token");
    assert!(token > told.token, "token {token} was there before {place}");
}

/// The power goes out after every sync, just before it, and at some moments in between.
fn power_goes_out(journal: &Journal, below: &Path, chance: &mut Chance, most: usize) {
    let syncs = journal.syncs();
    assert!(syncs.len() > 5, "there is nothing to lose: {} syncs", syncs.len());
    let mut moments: Vec<usize> = syncs.iter().flat_map(|sync| [*sync, sync - 1]).collect();
    moments.extend((0..moments.len() / 2).map(|_| chance.below(journal.len() as u64) as usize));
    moments.push(journal.len());
    while moments.len() > most {
        moments.swap_remove(chance.below(moments.len() as u64 - 1) as usize);
    }
    let jobs: Vec<(usize, Luck)> = moments
        .into_iter()
        .flat_map(|at| [(at, Luck::None), (at, Luck::Seed(chance.below(u64::from(u32::MAX))))])
        .collect();
    eprintln!("{} changes, {} syncs, {} disks", journal.len(), syncs.len(), jobs.len());
    std::thread::scope(|threads| {
        for some in jobs.chunks(jobs.len().div_ceil(2)) {
            threads.spawn(|| some.iter().for_each(|(at, luck)| is_whole(journal, *at, *luck, below)));
        }
    });
}

#[test]
fn acknowledged_commits_survive_a_power_loss_at_any_moment_and_tokens_never_repeat() {
    let mut chance = Chance::new();
    let cli = cli();
    let below = cli.home().join("store");
    let faults = Fault::below(&below).journal().inject();
    history(&cli, &faults, &ALL, 1, 9);
    // Enough for the journal of SQLite to be moved into the file, and to begin anew, several times.
    history(&cli, &faults, &ALL, 3, 20);
    let journal = faults.journal();
    assert!(Told::until(&journal, journal.len()).acknowledged.len() >= 4, "somebody did not end well");
    power_goes_out(&journal, &below, &mut chance, rounds(120) as usize);
}

#[test]
fn a_process_killed_before_it_synced_costs_nobody_else_what_they_were_told() {
    let mut chance = Chance::new();
    for _ in 0..rounds(6) {
        let cli = cli();
        let below = cli.home().join("store");
        let victim = 1 + chance.below(60);
        eprintln!("dies at call {victim}");
        let faults = Fault::below(&below).journal().kill_before(victim).inject();
        history(&cli, &faults, &ALL, 1, 3);
        history(&cli, &faults, &ALL, 2, 3);
        power_goes_out(&faults.journal(), &below, &mut chance, 25);
    }
}

#[test]
fn a_token_is_not_given_again_if_the_process_that_was_to_sync_its_ceiling_died() {
    let mut told = 0;
    for sync in 1..=14 {
        let cli = cli();
        let below = cli.home().join("store");
        let faults = Fault::below(&below).calls(&[Call::Sync]).journal().kill_before(sync).inject();
        history(&cli, &faults, &[Kind::Lock], 1, 3);
        let journal = faults.journal();
        eprintln!("{sync}: {} syncs seen, {} fatal", faults.seen(), faults.fired());
        told += u32::from(Told::until(&journal, journal.len()).token > 0);
        is_whole(&journal, journal.len(), Luck::None, &below);
    }
    assert_eq!(told, 14, "every history told somebody a token");
}

#[test]
fn what_was_created_and_removed_by_hand_is_so_after_a_power_loss() {
    let cli = cli();
    let below = cli.home().join("store");
    let faults = Fault::below(&below).journal().inject();
    let by_hand = cli.clone().with_faults(&faults);
    by_hand.run(["outputs", "create", "a", "b"]).code(0);
    by_hand.run(["outputs", "rm", "a"]).code(0);
    let journal = faults.journal();
    let disk = TempDir::with_prefix("disk-").expect("room for a disk");
    journal.after_power_loss(journal.len(), Luck::None, &below, disk.path());
    let (cli, _faults) = rebooted(disk.path(), &Told::default());
    assert_eq!(records(&cli).into_keys().collect::<Vec<_>>(), ["b"]);
}

/// A sync that fails takes what it was for with it, and the next one says that all is well.
#[test]
fn a_commit_whose_sync_failed_is_acknowledged_only_once_it_is_on_the_disk() {
    let mut refused = 0;
    for sync in 1..=8 {
        let cli = cli();
        let below = cli.home().join("store");
        let faults = Fault::below(&below)
            .calls(&[Call::Sync])
            .journal()
            .refuse_once(sync, Errno::EIO)
            .disarmed()
            .inject();
        history(&cli, &faults, &[Kind::Shared], 1, 1);
        // As long as somebody has the store open, SQLite does not move the journal into it.
        let gate = Gate::new(cli.home().join("gate"));
        let holder =
            cli.clone().with_faults(&faults).start(run("-l held", &format!("echo in; {}", gate.wait())));
        holder.says("in\n");
        faults.arm();
        history(&cli, &faults, &[Kind::Shared], 1, 2);
        let journal = faults.journal();
        faults.disarm();
        gate.open();
        holder.wait().code(0);
        refused += faults.fired();
        is_whole(&journal, journal.len(), Luck::None, &below);
    }
    assert!(refused > 3, "only {refused} syncs were refused");
}
