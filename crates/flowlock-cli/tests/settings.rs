//! Every setting, and every two places that set it: the nearer one counts for what a command does.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use flowlock::config::KEYS;
use flowlock_testkit::Cli;

use crate::cli_with_a_file as cli;

/// Where a setting can stand, the farthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Machine,
    User,
    Project,
    Variable,
    Flag,
}

const LAYERS: [Layer; 5] = [Layer::Machine, Layer::User, Layer::Project, Layer::Variable, Layer::Flag];

/// How a setting is tried: a value that no other layer has, the flag, and what a command makes of it.
struct Row {
    value: fn(&Cli, u32) -> String,
    flag: Option<&'static str>,
    /// What a command with these flags shows of the setting.
    shows: fn(&Cli, &[&str]) -> String,
}

/// As in root's services under systemd, which have the same store as root's other jobs.
#[test]
fn without_home_the_accounts_home_counts_and_without_an_account_there_is_none() {
    let bare = cli().without("HOME").without("FLOWLOCK_STORE");
    let account = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().expect("an account");
    let store = format!("sqlite:{}/.local/state/flowlock/flowlock.db", account.dir.display());
    for cli in [&bare, &bare.clone().with("HOME", "")] {
        let shown = cli.run(["config", "show", "--json"]).code(0).json();
        assert_eq!(shown["settings"][0]["value"], store, "{shown}");
    }
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can become a user without an account");
        return;
    }
    // It may reach the program and its own files, and nothing is asked of a store.
    let program = bare.home().join("flowlock");
    fs::copy(env!("CARGO_BIN_EXE_flowlock"), &program).unwrap();
    fs::set_permissions(bare.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let line = ["--reuid", "54321", "--regid", "54321", "--clear-groups", "--"].map(OsStr::new);
    let words = ["status"].map(OsStr::new);
    bare.with_program("setpriv")
        .run(line.into_iter().chain([program.as_os_str()]).chain(words))
        .code(78)
        .stderr_has("user 54321 has no home directory for the store; set HOME or XDG_STATE_HOME, or name a store with --store");
}

/// The row of a setting. One without a row fails the test.
fn row(key: &str) -> Row {
    match key {
        "store" => Row {
            value: |cli, n| format!("sqlite:{}", cli.home().join(format!("store.{n}")).display()),
            flag: Some("--store"),
            shows: |cli, flags| status(cli, flags, "store"),
        },
        "namespace" => Row {
            value: |_, n| format!("ns{n}"),
            flag: Some("--namespace"),
            shows: |cli, flags| status(cli, flags, "namespace"),
        },
        "duration" => Row {
            value: |_, n| format!("{n}m"),
            flag: Some("--duration"),
            // The lease in force is named where a flag does not fit to it.
            shows: |cli, flags| {
                let line = [&["run", "-l", "x", "--kill-after", "1h"], flags, &["--", "true"]].concat();
                let said = cli.run(line).code(64).err().to_owned();
                let lease = said.split_once("with --duration ").unwrap().1.split_once("s give").unwrap().0;
                format!("{}m", lease.parse::<u32>().unwrap() / 60)
            },
        },
        "keep_lapsed" => Row {
            value: |_, n| format!("{n}m"),
            flag: Some("--keep-lapsed"),
            // It stands with the run.
            shows: |cli, flags| {
                let line = [&["start", "job", "--duration", "1m", "-l", "x"], flags].concat();
                let run = cli.run(line).code(0).out().trim().to_owned();
                let kept_ms = cli.run(["status", "--json"]).json()["running"][0]["keep_lapsed_ms"].clone();
                cli.run(["fail", &run]).code(0);
                format!("{}m", kept_ms.as_u64().unwrap() / 60_000)
            },
        },
        "tz" => Row {
            value: |_, n| format!("Etc/GMT+{n}"),
            flag: Some("--tz"),
            shows: |cli, flags| {
                let moment = ["run", "-l", "x", "--expand", "--date", "2026-11-22T12:00Z"];
                let line = [&moment, flags, &["--", "echo", "{hour:HH}"]].concat();
                let hour: u32 = cli.run(line).code(0).out().trim().parse().unwrap();
                format!("Etc/GMT+{}", 12 - hour)
            },
        },
        // The library's own tests see that they are kept to.
        "store_timeout" => {
            Row { value: |_, n| format!("{n}m"), flag: None, shows: |cli, _| shown(cli, "store_timeout") }
        }
        "commit_wait" => {
            Row { value: |_, n| format!("{n}m"), flag: None, shows: |cli, _| shown(cli, "commit_wait") }
        }
        _ => panic!("{key} is a setting without a row here"),
    }
}

fn status(cli: &Cli, flags: &[&str], field: &str) -> String {
    let line = [&["status", "--json"], flags].concat();
    let told = cli.run(line).code(0).json()[field].as_str().unwrap().to_owned();
    // In what a command says its home reads `~`.
    told.replace('~', &cli.home().display().to_string())
}

fn shown(cli: &Cli, key: &str) -> String {
    let told = cli.run(["config", "show", "--json"]).code(0).json();
    let setting = told["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == key).unwrap();
    setting["value"].as_str().unwrap().to_owned()
}

/// The file of a layer that is one.
fn file(cli: &Cli, layer: Layer) -> Option<PathBuf> {
    let path = match layer {
        Layer::Machine => "root/etc/flowlock/config.toml",
        Layer::User => ".config/flowlock/config.toml",
        Layer::Project => "flowlock.toml",
        Layer::Variable | Layer::Flag => return None,
    };
    Some(cli.home().join(path))
}

/// Sets it in one place; answers the flags that this takes.
fn set<'v>(cli: Cli, (key, row): (&str, &Row), layer: Layer, value: &'v str) -> (Cli, Vec<&'v str>) {
    if let Some(file) = file(&cli, layer) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("{key} = '{value}'\n")).unwrap();
        if layer == Layer::Project {
            cli.run(["trust", "--quiet"]).code(0);
        }
        return (cli, Vec::new());
    }
    match layer {
        Layer::Flag => (cli, vec![row.flag.unwrap(), value]),
        _ => (cli.with(format!("FLOWLOCK_{}", key.to_uppercase()), value), Vec::new()),
    }
}

#[test]
fn the_nearer_of_every_two_counts_for_what_a_command_does() {
    for key in KEYS {
        let row = row(key);
        let layers = LAYERS.into_iter().filter(|layer| *layer != Layer::Flag || row.flag.is_some());
        for near in layers.clone() {
            for far in layers.clone().filter(|far| *far < near) {
                let cli = cli().without("FLOWLOCK_STORE");
                let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home().join("root"));
                let values = [far, near].map(|layer| (row.value)(&cli, layer as u32 + 1));
                let (cli, _) = set(cli, (key, &row), far, &values[0]);
                let (cli, flags) = set(cli, (key, &row), near, &values[1]);
                // Where the machine's file says where locks are, no project changes it.
                let fixed =
                    (far, near) == (Layer::Machine, Layer::Project) && matches!(key, "store" | "namespace");
                let wins = &values[usize::from(!fixed)];
                assert_eq!((row.shows)(&cli, &flags), *wins, "{key}: {far:?} and {near:?}");
            }
        }
    }
}
