//! What waiting runs ask of the server: commands per second of a thousand in one process, and in as many processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flowlock::{Flowlock, Namespace};

use crate::Trouble;
use crate::crowd::wait_together;
use crate::server::Server;

const RUNS: usize = 1_000;
const WATCHED: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_mins(5);

/// Commands per second while a thousand threads of one process wait.
pub(crate) fn in_one_process(server: &Server) -> Result<f64, Trouble> {
    let mut crowd = Command::new(std::env::current_exe()?);
    crowd.args(["crowd", &server.tcp()]);
    watch(server, "idle-one", || Ok(vec![crowd.spawn()?]))
}

/// The same for a thousand `flowlock run`.
pub(crate) fn in_a_thousand_processes(server: &Server, flowlock: &Path) -> Result<f64, Trouble> {
    let home = tempfile::tempdir()?;
    let mut run = Command::new(flowlock);
    run.args(["run", "--namespace", "idle-many", "-l", "gate", "--wait", "30m", "--", "true"]);
    run.env("HOME", home.path()).env("FLOWLOCK_STORE", server.tcp()).stdin(Stdio::null());
    watch(server, "idle-many", || Ok((0..RUNS).map(|_| run.spawn()).collect::<Result<_, _>>()?))
}

/// The process with a thousand waiting runs.
pub(crate) fn crowd(store: &str) -> Result<(), Trouble> {
    let flowlock = Flowlock::builder().namespace(Namespace::parse("idle-one")?).open(store)?;
    wait_together(&flowlock, RUNS)
}

fn watch(
    server: &Server,
    namespace: &str,
    start: impl FnOnce() -> Result<Vec<Child>, Trouble>,
) -> Result<f64, Trouble> {
    let flowlock = Flowlock::builder().namespace(Namespace::parse(namespace)?).open(&server.tcp())?;
    let holder = flowlock.job("holder").lock("gate").acquire()?;
    let children = start()?;
    let begun = Instant::now();
    while flowlock.runs()?.len() <= RUNS {
        if begun.elapsed() > PATIENCE {
            return Err("not all came to wait".into());
        }
        thread::sleep(Duration::from_millis(500));
    }
    // Each asks once more after it has begun to listen, and first heartbeats come in a crowd.
    thread::sleep(Duration::from_secs(6));
    let (before, begun) = (server.commands(), Instant::now());
    thread::sleep(WATCHED);
    let sent = u32::try_from(server.commands() - before)?;
    let seconds = begun.elapsed().as_secs_f64();
    holder.commit()?;
    for mut child in children {
        let ended = child.wait()?;
        if !ended.success() {
            return Err(format!("a waiter ended with {ended}").into());
        }
    }
    Ok(f64::from(sent) / seconds)
}
