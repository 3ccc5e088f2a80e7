//! A thousand `flowlock run` in as many processes wait for one lock: what they ask of the store meanwhile, and whether they
//! start in the order in which they came.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flowlock::Flowlock;
use rusqlite::{Connection, OpenFlags};

use crate::Trouble;
use crate::crowd::wait_together;

/// As many runs.
pub(crate) const RUNS: usize = 1000;

/// How long the store is watched while they wait.
const WATCHED: Duration = Duration::from_secs(20);

/// How long arriving, and later leaving, may take before something is wrong.
const PATIENCE: Duration = Duration::from_mins(5);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Steps of the store in a second, while all wait.
    pub(crate) steps_per_second: f64,
    /// Whether all started in the order of their tickets.
    pub(crate) in_order: bool,
    /// From the release to the end of the last run.
    pub(crate) drained_in: Duration,
}

/// Starts them, watches, releases, and compares.
pub(crate) fn a_thousand(program: &Path, folder: &Path) -> Result<Seen, Trouble> {
    let line = Line { program: program.to_path_buf(), folder: folder.to_path_buf() };
    let flowlock = Flowlock::open(&line.store())?;
    let holder = flowlock.job("holder").lock("gate").acquire()?;
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(line.join(number)?);
    }
    until("all wait", || Ok(line.waiting()?.len() == RUNS))?;
    let steps_per_second = line.watch()?;
    let expected = line.waiting()?;
    let start = Instant::now();
    holder.commit()?;
    for run in &mut runs {
        if !run.wait()?.success() {
            return Err("a run did not succeed".into());
        }
    }
    let drained_in = start.elapsed();
    let order = fs::read_to_string(line.folder.join("order"))?;
    Ok(Seen { steps_per_second, in_order: order.lines().eq(expected.iter().map(String::as_str)), drained_in })
}

/// Steps of the store in a second while as many runs wait in one process.
pub(crate) fn a_thousand_in_one_process(folder: &Path) -> Result<f64, Trouble> {
    let line = Line { program: std::env::current_exe()?, folder: folder.to_path_buf() };
    let flowlock = Flowlock::open(&line.store())?;
    let holder = flowlock.job("holder").lock("gate").acquire()?;
    let mut crowd = Command::new(&line.program).args(["crowd", &line.store()]).spawn()?;
    let seen = until("all wait", || Ok(line.waiting()?.len() == RUNS)).and_then(|()| line.watch());
    holder.commit()?;
    let ended = crowd.wait()?;
    if ended.success() { seen } else { Err(format!("the crowd ended with {ended}").into()) }
}

/// The process with a thousand waiting runs.
pub(crate) fn crowd(store: &str) -> Result<(), Trouble> {
    let flowlock = Flowlock::open(store)?;
    wait_together(&flowlock, RUNS)
}

struct Line {
    program: PathBuf,
    folder: PathBuf,
}

impl Line {
    fn store(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    fn file(&self) -> PathBuf {
        self.folder.join("waiting.db")
    }

    /// One more run, whose only deed is to write its job's name below those that were before it.
    fn join(&self, number: usize) -> io::Result<Child> {
        Command::new(&self.program)
            .args(["run", "--name", &format!("run-{number}"), "-l", "gate", "--wait", "30m", "--"])
            .args(["sh", "-c", "echo $FLOWLOCK_JOB >>order"])
            .env("HOME", &self.folder)
            .env("FLOWLOCK_STORE", self.store())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .spawn()
    }

    /// The jobs that wait, in the order of their tickets, read from the store's own table.
    fn waiting(&self) -> Result<Vec<String>, Trouble> {
        let sql = self.open()?;
        let mut waiting = sql.prepare("select id from run where in_line = 1 order by ticket")?;
        let ids = waiting.query_map([], |row| row.get::<_, String>(0))?;
        ids.map(|id| {
            Ok(id?.rsplit_once('.').map(|(job, _)| job.to_owned()).ok_or("a run id without a number")?)
        })
        .collect()
    }

    /// Every step raises the namespace's sequence number by one.
    fn watch(&self) -> Result<f64, Trouble> {
        let sequence = || -> Result<i64, Trouble> {
            Ok(self.open()?.query_row("select sum(sequence) from namespace", [], |row| row.get(0))?)
        };
        let (first, start) = (sequence()?, Instant::now());
        thread::sleep(WATCHED);
        let steps = u32::try_from(sequence()? - first)?;
        Ok(f64::from(steps) / start.elapsed().as_secs_f64())
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let sql = Connection::open_with_flags(self.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        sql.busy_timeout(Duration::from_secs(10))?;
        Ok(sql)
    }
}

fn until(what: &str, is_so: impl Fn() -> Result<bool, Trouble>) -> Result<(), Trouble> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {} s in vain until {what}", PATIENCE.as_secs()).into());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
