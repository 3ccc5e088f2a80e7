//! What the checks need beyond Rust, installed only where it is missing (Debian and its relatives).

mod servers;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::repo;
use crate::steps::{Failure, run};

/// A program the checks call, and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

/// `cc` builds SQLite and the fault-injecting shim; `flock` is what the benchmark measures against; `strace` shows what a
/// waiter sends; `shellcheck` reads the shell scripts and examples; `make` runs the cookbook's Makefile;
/// `luacheck` reads the scripts of the Redis store. Redis comes as
/// `redis-tools`, where Debian keeps the server's program under the name of its checker: the package `redis-server` adds
/// only a service, which nobody asked for; `pip3` fetches another one; `setpriv` lets servers die with their tests.
const TOOLS: [Tool; 11] = [
    Tool { program: "cc", package: "gcc" },
    Tool { program: "make", package: "make" },
    Tool { program: "flock", package: "util-linux" },
    Tool { program: "setpriv", package: "util-linux" },
    Tool { program: "redis-cli", package: "redis-tools" },
    Tool { program: "redis-check-rdb", package: "redis-tools" },
    Tool { program: "pip3", package: "python3-pip" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "shellcheck", package: "shellcheck" },
    Tool { program: "luacheck", package: "lua-check" },
    Tool { program: "git", package: "git" },
];

/// What flowlock succeeds, and what its server time is measured against; pinned like the rest.
const JOBS_PY: &str = "jobspy==0.31.0";

/// The licence checker, pinned: a new release must not fail yesterday's commit.
const CARGO_DENY: &str = "0.20.2";

/// What breaks the library on purpose, pinned for the same reason.
const CARGO_MUTANTS: &str = "27.1.0";

pub(crate) use servers::{redis_8, valkey};

/// Installs the packages of the programs that are missing; nothing happens where all are there.
pub(crate) fn install_missing() -> Result<(), Failure> {
    let mut missing: Vec<&str> =
        TOOLS.iter().filter(|tool| !is_there(tool.program)).map(|tool| tool.package).collect();
    missing.dedup();
    if missing.is_empty() {
        println!("all there: {}", TOOLS.map(|tool| tool.program).join(", "));
        return Ok(());
    }
    if !is_there("apt-get") {
        return Err(Failure::new(format!(
            "please install {} (no apt-get here to do it)",
            missing.join(", ")
        )));
    }
    println!("missing: {}", missing.join(", "));
    run(&mut as_root(&["apt-get", "update", "--quiet"]))?;
    let install = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends"];
    run(as_root(&install).args(&missing).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The licence checker, built once into the target folder (two minutes on two cores).
pub(crate) fn cargo_deny() -> Result<PathBuf, Failure> {
    cargo_tool("cargo-deny", CARGO_DENY)
}

/// What changes one thing after the other in the code, built once into the target folder.
pub(crate) fn cargo_mutants() -> Result<PathBuf, Failure> {
    cargo_tool("cargo-mutants", CARGO_MUTANTS)
}

fn cargo_tool(name: &str, version: &str) -> Result<PathBuf, Failure> {
    let folder = repo::target().join("tools");
    let program = folder.join("bin").join(name);
    if !has_version(&program, version) {
        let version = format!("{name}@{version}");
        run(repo::cargo(["install", "--locked", "--force", "--quiet", &version])
            .arg("--root")
            .arg(&folder)
            .env("CARGO_TARGET_DIR", folder.join("build")))?;
    }
    Ok(program)
}

/// A Python of its own that has jobs.py, below the target folder.
pub(crate) fn jobs_py() -> Result<PathBuf, Failure> {
    let folder = repo::target().join("tools/jobspy");
    let python = folder.join("bin/python");
    let has_it =
        || Command::new(&python).args(["-c", "import jobs"]).output().is_ok_and(|out| out.status.success());
    if !has_it() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", JOBS_PY]))?;
    }
    Ok(python)
}

fn has_version(program: &PathBuf, version: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|out| String::from_utf8_lossy(&out.stdout).trim_end().ends_with(version))
}

fn is_there(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v -- \"$1\" >/dev/null", "sh", program])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command itself for root, through sudo for everyone else.
fn as_root(words: &[&str]) -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(words[0])
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(words[0]);
        sudo
    };
    command.args(&words[1..]);
    command
}
