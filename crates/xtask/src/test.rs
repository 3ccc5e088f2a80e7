//! `cargo xtask test`: everything that must hold, in the order in which it fails fastest.

use crate::repo::{self, Profile};
use crate::steps::{Failure, Steps};
use crate::{demo, docs, licences, shell, tools};

/// What `cargo xtask test` takes: nothing, so that there is one meaning of "tested".
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs every check; the first that fails ends it.
pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.step("tools", tools::install_missing)?;
    steps.command("formatting", &mut repo::cargo(["fmt", "--all", "--check"]))?;
    steps.step("shell scripts", shell::check)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--quiet", "--", "-Dwarnings"];
    steps.command("lints", &mut repo::cargo(clippy))?;
    steps.command("tests", &mut repo::cargo(["test", "--workspace", "--all-features", "--quiet"]))?;
    steps.command("the command line program", &mut Profile::Dev.build_cli())?;
    steps.step("examples in the docs", || docs::check(&Profile::Dev.folder()))?;
    steps.step("the demo", || demo::play(&Profile::Dev.folder()))?;
    let doc = ["doc", "--workspace", "--all-features", "--no-deps", "--quiet"];
    steps.command("API documentation", repo::cargo(doc).env("RUSTDOCFLAGS", "-Dwarnings"))?;
    steps.step("licences", licences::check)
}
