//! `cargo xtask test`: everything that must hold, in the order in which it fails fastest.

use std::process::Command;

use crate::repo::{self, Profile};
use crate::steps::{Failure, Steps, run as show};
use crate::{circles, demo, docs, licences, shell, threads, tools, wordings};

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this step, while working on it: tools, format, shell, lints, circles, wordings, threads, features, tests, servers, docs, demo, api, licences
    #[arg(long, value_name = "STEP")]
    only: Option<String>,
}

/// A step: its short name, its title, and what it does.
type Step = (&'static str, &'static str, fn() -> Result<(), Failure>);

const STEPS: [Step; 14] = [
    ("tools", "the tools the other steps call", tools::install_missing),
    ("format", "formatting", || show(&mut repo::cargo(["fmt", "--all", "--check"]))),
    ("shell", "shell scripts", shell::check),
    ("lints", "lints", lints),
    ("circles", "circles between modules", circles::check),
    ("wordings", "the engine in Rust and in Lua", wordings::check),
    ("threads", "threads in the code and in ARCHITECTURE.md", threads::check),
    ("features", "lints of the library with each feature alone", features),
    ("tests", "tests and documentation tests", tests),
    ("servers", "tests with a server, on Valkey and on Redis 8", servers),
    ("docs", "examples in the docs", || with_program(docs::check)),
    ("demo", "the demo", || with_program(demo::play)),
    ("api", "API documentation", api),
    ("licences", "licences", licences::check),
];

/// Runs every step; the first that fails ends it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let asked = |name: &str| args.only.as_deref().is_none_or(|only| only == name);
    if !STEPS.iter().any(|(name, ..)| asked(name)) {
        return Err(Failure::new(format!(
            "there is no such step: the steps are {}",
            STEPS.map(|(name, ..)| name).join(", ")
        )));
    }
    let mut steps = Steps::default();
    for (name, title, work) in STEPS {
        if asked(name) {
            steps.step(title, work)?;
        }
    }
    Ok(())
}

fn lints() -> Result<(), Failure> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--quiet", "--", "-Dwarnings"];
    show(&mut repo::cargo(clippy))?;
    // By `.luacheckrc`: warnings are errors here too.
    let scripts = repo::tracked(&["*.lua"])?;
    if scripts.is_empty() {
        return Err(Failure::new("no Lua file found: this check would pass by doing nothing"));
    }
    show(Command::new("luacheck").args(["--quiet", "--codes"]).args(scripts).current_dir(repo::root()))
}

/// The library compiles without a warning with each of its features alone, and with none: so it is used.
fn features() -> Result<(), Failure> {
    for feature in ["", "sqlite", "redis", "config", "macros", "async"] {
        let clippy =
            ["clippy", "--package", "flowlock", "--no-default-features", "--quiet", "--features", feature];
        show(repo::cargo(clippy).args(["--", "-Dwarnings"]))?;
    }
    Ok(())
}

/// Plain `cargo test`, so that the examples in the API documentation run as well.
fn tests() -> Result<(), Failure> {
    show(many_at_once(&mut repo::cargo(["test", "--workspace", "--all-features", "--quiet"])))
}

/// Most tests wait for a server, a process or a lease rather than for the processor: twice as many at once as there are
/// processors, unless `RUST_TEST_THREADS` says otherwise.
fn many_at_once(tests: &mut Command) -> &mut Command {
    const VARIABLE: &str = "RUST_TEST_THREADS";
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    if std::env::var_os(VARIABLE).is_none() {
        tests.env(VARIABLE, (2 * processors).to_string());
    }
    tests
}

/// What needs a server once more, on the others that we promise to work with.
fn servers() -> Result<(), Failure> {
    // This Redis 8 was built without TLS.
    let others = [(tools::valkey()?, &[][..]), (tools::redis_8()?, &["--skip", "tls"][..])];
    for (server, skipped) in others {
        let tests: [&[&str]; 2] = [
            &["--package", "flowlock-testkit", "--", "redis"],
            &["--package", "flowlock", "--test", "main", "--", "redis_store::", "servers::"],
        ];
        for test in tests {
            let mut command = repo::cargo(["test", "--all-features", "--quiet"]);
            show(many_at_once(&mut command).args(test).args(skipped).env("FLOWLOCK_REDIS_SERVER", &server))?;
        }
    }
    Ok(())
}

fn api() -> Result<(), Failure> {
    let doc = ["doc", "--workspace", "--lib", "--all-features", "--no-deps", "--quiet"];
    show(repo::cargo(doc).env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// A check that needs the `flowlock` program; the tests have built most of it.
fn with_program(check: fn(&std::path::Path) -> Result<(), Failure>) -> Result<(), Failure> {
    show(&mut Profile::Dev.build_cli())?;
    check(&Profile::Dev.folder())
}
