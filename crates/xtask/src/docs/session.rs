//! One page's commands, typed one after the other into one shell in an empty home.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::page::{Example, Page};
use super::server::Server;
use crate::steps::Failure;

/// How long all commands of a page may take together.
const PATIENCE: &str = "120";

/// What one command did.
#[derive(Debug)]
pub(super) struct Outcome {
    /// stdout and stderr, as they would mix on a terminal.
    pub(super) output: String,
    /// None if it never ended.
    pub(super) status: Option<i32>,
}

/// Runs a page; one outcome for each of its examples.
pub(super) fn play(page: &Page, bin: &Path) -> Result<Vec<Outcome>, Failure> {
    let server = page.needs_redis.then(Server::start).transpose()?;
    let home = tempfile::Builder::new().prefix("home-").tempdir()?;
    let notes = tempfile::tempdir()?;
    let script = notes.path().join("script");
    fs::write(&script, script_of(page, notes.path())?)?;
    let path = env::join_paths(
        std::iter::once(bin.to_path_buf()).chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )
    .map_err(|error| Failure::new(error.to_string()))?;
    let mut shell = Command::new("timeout")
        .args(["--kill-after=1", PATIENCE, "bash"])
        .arg(&script)
        .env_clear()
        .envs([("TZ", "UTC"), ("LC_ALL", "C.UTF-8"), ("USER", "you"), ("TERM", "dumb")])
        .envs(server.as_ref().map(|server| ("FLOWLOCK_STORE", server.url())))
        .env("PATH", path)
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()?;
    let group = Pid::from_raw(i32::try_from(shell.id()).map_err(|error| Failure::new(error.to_string()))?);
    shell.wait()?;
    // Commands the page left in the background; none left is as good.
    let _nobody_left = killpg(group, Signal::SIGKILL);
    let numbers = 0..page.examples().count();
    let outcomes = numbers.map(|number| outcome(notes.path(), number, home.path()));
    let on_paper = |outcome: Outcome| match &server {
        Some(server) => Outcome { output: server.on_paper(&outcome.output), ..outcome },
        None => outcome,
    };
    outcomes.map(|outcome| outcome.map(on_paper)).collect()
}

/// The reader's home is `/home/you`, on paper.
fn outcome(notes: &Path, number: usize, home: &Path) -> Result<Outcome, Failure> {
    let output = fs::read(notes.join(format!("{number}.out"))).unwrap_or_default();
    let status = match fs::read_to_string(notes.join(format!("{number}.status"))) {
        Ok(text) => Some(text.trim().parse().map_err(|_| Failure::new("the shell wrote no status"))?),
        Err(_) => None,
    };
    let output = String::from_utf8_lossy(&output).replace(&home.display().to_string(), "/home/you");
    Ok(Outcome { output, status })
}

/// A script that keeps, for each command, what it printed and its status, and lets the next one see `$?`.
fn script_of(page: &Page, notes: &Path) -> Result<String, Failure> {
    let mut script = String::from("status=0\n");
    let mut number = 0;
    for block in &page.blocks {
        if let Some(name) = super::file_of(block) {
            let copy = notes.join(format!("line-{}", block.line));
            fs::write(&copy, &block.body)?;
            script.push_str(&lay_out(&copy, name, block.body.starts_with("#!")));
        }
        for Example { command, .. } in &block.examples {
            let notes = quoted(&notes.join(number.to_string()));
            writeln!(
                script,
                "(exit $status)\n{{\n{command}\n}} >{notes}.out 2>&1\nstatus=$?\necho $status >{notes}.status"
            )
            .map_err(|error| Failure::new(error.to_string()))?;
            number += 1;
        }
    }
    Ok(script)
}

fn lay_out(copy: &Path, name: &str, executable: bool) -> String {
    let (copy, name) = (quoted(copy), quoted(&PathBuf::from(name)));
    let mode = if executable { "755" } else { "644" };
    format!("install -D --mode={mode} {copy} {name}\n")
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_page_is_one_session_with_its_files_its_variables_and_its_statuses() {
        let text = "```sh file=bin/hi.sh\n#!/bin/sh\necho \"hi $1\"\n```\n\
                    ```console\n$ who=you\n$ bin/hi.sh $who >&2\n$ sh -c 'exit 7'\n$ echo $?\n$ pwd\n```\n";
        let outcomes = play(&Page::read(text).unwrap(), Path::new("/nowhere")).unwrap();
        let seen: Vec<_> = outcomes.iter().map(|outcome| (&*outcome.output, outcome.status)).collect();
        assert_eq!(seen[..4], [("", Some(0)), ("hi you\n", Some(0)), ("", Some(7)), ("7\n", Some(0))]);
        assert_eq!(seen[4].0, "/home/you\n");
    }

    #[test]
    fn a_page_that_needs_a_server_has_one_of_its_own() {
        let text = "<!-- needs a Redis server -->\n```console\n$ echo $FLOWLOCK_STORE\n```\n";
        let outcomes = play(&Page::read(text).unwrap(), Path::new("/nowhere")).unwrap();
        assert_eq!(outcomes[0].output, "redis://redis.example.org:6379\n");
        let plain =
            play(&Page::read(&text[text.find('\n').unwrap()..]).unwrap(), Path::new("/nowhere")).unwrap();
        assert_eq!(plain[0].output, "\n");
    }

    #[test]
    fn what_a_page_leaves_running_ends_with_it() {
        let text = "```console\n$ sleep 1000 & echo $!\n```\n";
        let outcomes = play(&Page::read(text).unwrap(), Path::new("/nowhere")).unwrap();
        let pid: i32 = outcomes[0].output.trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while lives(pid) {
            assert!(Instant::now() < deadline, "still running: {pid}");
            thread::yield_now();
        }
    }

    fn lives(pid: i32) -> bool {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !(state.is_empty() || state.contains(") Z "))
    }
}
