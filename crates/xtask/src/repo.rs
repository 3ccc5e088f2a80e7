//! Where things are in this repository, and the programs built from it.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::Failure;

/// The repository's top folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A cargo command, started in the top folder, with the toolchain that runs this program.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// How a program is built: as users get it, or as the tests already built it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Optimized, minutes to build the first time.
    Release,
    /// With debug assertions; after the tests it is there already.
    Dev,
}

impl Profile {
    /// The build command for the command line program.
    pub(crate) fn build_cli(self) -> Command {
        let mut build = cargo(["build", "--package", "flowlock-cli"]);
        if self == Self::Release {
            build.arg("--release");
        }
        build
    }

    /// The folder that holds what this profile built.
    pub(crate) fn folder(self) -> PathBuf {
        target().join(if self == Self::Release { "release" } else { "debug" })
    }
}

/// Cargo's target folder, also when the user moved it.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |moved| root().join(moved))
}

/// Every file git tracks whose path ends as asked, relative to the top folder, sorted.
pub(crate) fn tracked(patterns: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .args(patterns)
        .current_dir(root())
        .output()
        .and_then(
            |out| {
                if out.status.success() { Ok(out.stdout) } else { Err(io::Error::other("git failed")) }
            },
        )
        .map_err(|error| {
            Failure::new(format!("cannot list the files of the repository with git: {error}"))
        })?;
    let mut files: Vec<PathBuf> = String::from_utf8_lossy(&listing).lines().map(PathBuf::from).collect();
    files.sort();
    Ok(files)
}
