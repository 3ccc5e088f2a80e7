//! Stages side by side: each one `flowlock run`, its lines shown as they come, with the time and its name.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::paint::{BOLD, DIM};
use crate::repo;
use crate::steps::Failure;

/// How long the slow part of a stage takes, so that one can follow.
const PACE: &str = "0.9";

/// How long a scene waits for what must happen in it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The store, the work folder and the clock that all stages share.
pub(super) struct Theatre {
    flowlock: PathBuf,
    folder: PathBuf,
    opened: Instant,
}

/// One running stage.
pub(super) struct Stage {
    name: String,
    child: Child,
    lines: Vec<JoinHandle<()>>,
}

impl Theatre {
    pub(super) fn new(bin: &Path, folder: &Path) -> Self {
        Self { flowlock: bin.join("flowlock"), folder: folder.to_path_buf(), opened: Instant::now() }
    }

    /// Starts one stage in the background: the names it claims, then its script and the script's own arguments.
    pub(super) fn start(&self, name: &str, claims: &[&str], script: &[&str]) -> Result<Stage, Failure> {
        let (program, arguments) = script.split_first().ok_or_else(|| Failure::new("no script"))?;
        let words = [claims, &["--", &format!("demo/{program}"), "$WORK"], arguments].concat().join(" ");
        announce(&format!("flowlock run -v --wait 1m --name {name} {words} &"));
        let mut child = self
            .flowlock()
            .args(["run", "-v", "--wait", "1m", "--name", name])
            .args(claims)
            .arg("--")
            .arg(Path::new("demo").join(program))
            .arg(self.folder.join("work"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start flowlock: {error}")))?;
        let lines = [
            child.stdout.take().map(|out| self.follow(name, out)),
            child.stderr.take().map(|out| self.follow(name, out)),
        ];
        Ok(Stage { name: name.to_owned(), child, lines: lines.into_iter().flatten().collect() })
    }

    /// Runs a command of flowlock to its end and shows it; it must end with this status.
    pub(super) fn show(&self, arguments: &[&str], status: i32) -> Result<(), Failure> {
        let output = self.flowlock().args(arguments).output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        announce(&format!("flowlock {}", arguments.join(" ")));
        let mut terminal = anstream::stdout().lock();
        for line in text.lines() {
            writeln!(terminal, "  {line}")?;
        }
        if status != 0 {
            writeln!(terminal, "  {DIM}(exit status {}){DIM:#}", describe(output.status))?;
        }
        if output.status.code() == Some(status) {
            Ok(())
        } else {
            let line = arguments.join(" ");
            Err(Failure::new(format!(
                "`flowlock {line}` ended with {}, not {status}",
                describe(output.status)
            )))
        }
    }

    /// How many runs wait.
    pub(super) fn waiting(&self) -> Result<usize, Failure> {
        let output = self.flowlock().args(["status", "--json"]).output()?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| {
            let (ended, said) = (describe(output.status), String::from_utf8_lossy(&output.stderr));
            Failure::new(format!(
                "`flowlock status --json` ended with {ended} and printed no JSON ({error}): {said}"
            ))
        })?;
        Ok(answer["waiting"].as_array().map_or(0, Vec::len))
    }

    /// flowlock with the demo's store and a home of its own, so that the user's configuration has no say.
    fn flowlock(&self) -> Command {
        let mut command = Command::new(&self.flowlock);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOWLOCK_")) {
            command.env_remove(name);
        }
        command
            .current_dir(repo::root())
            .stdin(Stdio::null())
            .env("HOME", &self.folder)
            .env("FLOWLOCK_STORE", format!("sqlite:{}/flowlock.db", self.folder.display()))
            .env("PACE", PACE)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME");
        command
    }

    /// Shows the lines of a stage as they come.
    fn follow(&self, name: &str, lines: impl Read + Send + 'static) -> JoinHandle<()> {
        let (name, opened, colour) = (name.to_owned(), self.opened, colour_of(name));
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let now = opened.elapsed().as_secs_f64();
                anstream::println!(
                    "{DIM}{now:5.1} s{DIM:#} {colour}{name:>14}{colour:#} {DIM}|{DIM:#} {line}"
                );
            }
        })
    }
}

impl Stage {
    /// kill -9, to flowlock itself: its child dies with it, and neither gets to tidy up. What the child had started may
    /// live on for a moment, and so long the name stays guarded.
    pub(super) fn kill(mut self) -> Result<(), Failure> {
        announce(&format!("kill -9 {}   # {}", self.child.id(), self.name));
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the end, which must be a good one.
    pub(super) fn succeeds(self) -> Result<(), Failure> {
        let name = self.name.clone();
        let status = self.end()?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("the stage {name} ended with {}", describe(status))))
        }
    }

    fn end(mut self) -> Result<ExitStatus, Failure> {
        let status = self.child.wait()?;
        for lines in self.lines.drain(..) {
            lines.join().map_err(|_| Failure::new("lost the lines of a stage"))?;
        }
        Ok(status)
    }
}

impl Drop for Stage {
    /// A demo that ends early leaves nothing running; a stage that has ended is not there to be killed.
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// Looks until it is so; what never happens is a failure of the demo.
pub(super) fn until(what: &str, is_so: impl Fn() -> Result<bool, Failure>) -> Result<(), Failure> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            return Err(Failure::new(format!("waited {} s in vain until {what}", PATIENCE.as_secs())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn announce(command: &str) {
    anstream::println!("\n{BOLD}$ {command}{BOLD:#}");
}

fn describe(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| code.to_string())
}

/// One colour for each kind of stage.
fn colour_of(name: &str) -> Style {
    let colour = match name.split('.').next() {
        Some("fetch") => AnsiColor::Cyan,
        Some("clean") => AnsiColor::Yellow,
        Some("aggregate") => AnsiColor::Magenta,
        _ => AnsiColor::Green,
    };
    colour.on_default()
}
