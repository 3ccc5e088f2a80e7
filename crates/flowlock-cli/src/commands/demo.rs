//! `flowlock demo`: a demonstration in a throw-away store.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::environment::Files;
use crate::exit::{self, Failure};
use crate::terminal;

/// Shows flowlock at work.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {}

/// What the scenes create: a store, and what each of them remembers about it. Nothing else is removed at
/// the end.
const FILES: [&str; 6] = [
    "flowlock.db",
    "flowlock.db-wal",
    "flowlock.db-shm",
    "flowlock.db-lock",
    "flowlock.db-live",
    "flowlock.db-journal",
];
const DIRECTORIES: [&str; 3] = ["flowlock.db-wake", "flowlock/seen", "flowlock"];

/// How long any scene may take.
const LONGEST_SCENE: Duration = Duration::from_secs(20);

/// Plays the demonstration with real `flowlock` processes.
pub(crate) fn demo() -> Result<u8, Failure> {
    let files = Files::of_our_own(&FILES, &DIRECTORIES);
    let files = files.map_err(|error| Failure::internal("make a directory for the demo", &error))?;
    let stage = Stage { directory: files.directory(), flowlock: own_path()? };
    terminal::print("A throw-away store. Every line with $ is a real process.\n\n")?;
    consumer_first(&stage)?;
    busy(&stage)?;
    crash(&stage)?;
    terminal::print("\nThat was all. Begin with: flowlock run -o NAME -- COMMAND\n")?;
    Ok(exit::OK)
}

fn own_path() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::internal("find this program", &error))
}

struct Stage<'a> {
    directory: &'a Path,
    flowlock: std::path::PathBuf,
}

impl Stage<'_> {
    /// Prints a command line and prepares it.
    fn command(&self, line: &[&str], behind: &str) -> Result<Command, Failure> {
        let quoted =
            line.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
        terminal::print(&format!("$ flowlock {}{behind}\n", quoted.collect::<Vec<_>>().join(" ")))?;
        let mut command = Command::new(&self.flowlock);
        command
            .args(line)
            .env("FLOWLOCK_STORE", format!("sqlite:{}", self.directory.join("flowlock.db").display()))
            .env("XDG_STATE_HOME", self.directory)
            .env_remove("FLOWLOCK_NAMESPACE")
            .env_remove("FLOWLOCK_RUN_ID")
            .env_remove("FLOWLOCK_PARENT_PROOF")
            .current_dir(self.directory)
            .stdin(Stdio::null());
        Ok(command)
    }

    fn begin(&self, line: &[&str]) -> Result<Child, Failure> {
        self.command(line, " &")?.spawn().map_err(|error| Failure::internal("start a scene", &error))
    }

    fn play(&self, line: &[&str]) -> Result<u8, Failure> {
        let status =
            self.command(line, "")?.status().map_err(|error| Failure::internal("play a scene", &error))?;
        Ok(status.code().unwrap_or(i32::from(exit::INTERNAL)).to_le_bytes()[0])
    }

    /// Looks at the status until it shows `text`, so that scenes follow each other without guessing at
    /// times.
    fn until(&self, text: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        while begun.elapsed() < LONGEST_SCENE {
            let status = Command::new(&self.flowlock)
                .arg("status")
                .env("FLOWLOCK_STORE", format!("sqlite:{}", self.directory.join("flowlock.db").display()))
                .env("XDG_STATE_HOME", self.directory)
                .env_remove("FLOWLOCK_NAMESPACE")
                .output();
            let status = status.map_err(|error| Failure::internal("look at the status", &error))?;
            if String::from_utf8_lossy(&status.stdout).contains(text) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(Failure::internal("play the demo", &format!("{text} did not show up")))
    }
}

fn ended(mut child: Child) -> Result<(), Failure> {
    child.wait().map(drop).map_err(|error| Failure::internal("wait for a scene", &error))
}

fn consumer_first(stage: &Stage<'_>) -> Result<(), Failure> {
    terminal::print("1. A report is started before its input exists: it waits.\n")?;
    let report = stage.begin(&[
        "run",
        "--name",
        "report",
        "-i",
        "sales",
        "-o",
        "report",
        "--",
        "echo",
        "  the report is being made",
    ])?;
    stage.until("awaiting_input")?;
    stage.play(&["why", "job:report"])?;
    terminal::print("\n   The import writes the input, and the report starts by itself.\n")?;
    stage.play(&[
        "run",
        "--name",
        "import",
        "-o",
        "sales",
        "--note",
        "/data/sales.csv",
        "--",
        "echo",
        "  the sales are being imported",
    ])?;
    ended(report)?;
    stage.play(&["outputs"])?;
    Ok(())
}

fn busy(stage: &Stage<'_>) -> Result<(), Failure> {
    terminal::print("\n2. Two runs want one name: the second is refused with its reason.\n")?;
    let slow = stage.begin(&["run", "--name", "import", "-o", "sales", "--", "sleep", "1"])?;
    stage.until("running")?;
    let code = stage
        .play(&["run", "--name", "report", "--wait", "0", "-i", "sales", "-o", "report", "--", "true"])?;
    terminal::print(&format!("   (exit code {code})\n"))?;
    ended(slow)
}

fn crash(stage: &Stage<'_>) -> Result<(), Failure> {
    terminal::print(
        "\n3. A run is killed in the middle: nothing is marked as written, its names are free.\n",
    )?;
    let mut doomed =
        stage.begin(&["run", "--name", "clean", "-i", "sales", "-o", "sales.clean", "--", "sleep", "60"])?;
    stage.until("running")?;
    doomed.kill().map_err(|error| Failure::internal("kill a scene", &error))?;
    terminal::print("$ kill -9 %1\n")?;
    ended(doomed)?;
    let code = stage.play(&["check", "sales.clean"])?;
    terminal::print(&format!("   (exit code {code})\n"))?;
    stage.play(&[
        "run",
        "--name",
        "clean",
        "-i",
        "sales",
        "-o",
        "sales.clean",
        "--",
        "echo",
        "  the second try succeeds",
    ])?;
    stage.play(&["check", "sales.clean"])?;
    Ok(())
}
