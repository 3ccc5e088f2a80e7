//! What the embedded store costs: ratios against the nearest bare thing, measured side by side in one run.
//!
//! Started by `cargo xtask bench`, which builds it and flowlock as users get them.

mod bare;
mod handoff;
mod library;
mod machine;
mod processes;
mod stats;
mod table;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use table::Row;

/// Whatever went wrong: a benchmark has nobody to repair it.
pub(crate) type Trouble = Box<dyn std::error::Error>;

/// What can be measured by itself, in the order of the table.
const PARTS: [&str; 4] = ["processes", "transactions", "handoff", "waiting"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["player", store] => handoff::play(store),
        [flowlock, rounds] => measure(Path::new(flowlock), rounds, &PARTS),
        [flowlock, rounds, ref parts @ ..] => measure(Path::new(flowlock), rounds, parts),
        _ => Err("usage: bench-embedded FLOWLOCK ROUNDS [PART…]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("the benchmark broke off: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn measure(flowlock: &Path, rounds: &str, parts: &[&str]) -> Result<(), Trouble> {
    let rounds: u32 = rounds.parse()?;
    let beside_the_program = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
    let disk = tempfile::Builder::new().prefix("bench-").tempdir_in(beside_the_program)?;
    println!("{}", machine::description(disk.path())?);
    let mut rows = Vec::new();
    for part in parts {
        println!("measuring {part} …");
        match *part {
            "processes" => rows.push(processes_row(flowlock, disk.path(), rounds)?),
            "transactions" => rows.extend(transaction_rows(disk.path(), rounds)?),
            "handoff" => rows.push(handoff_row(disk.path())?),
            "waiting" => rows.extend(waiting_rows(flowlock, disk.path())?),
            other => return Err(format!("there is no part `{other}`, only {}", PARTS.join(", ")).into()),
        }
    }
    table::print(&rows);
    Ok(())
}

fn processes_row(flowlock: &Path, disk: &Path, rounds: u32) -> Result<Row, Trouble> {
    let seen = processes::lock_round_a_command(flowlock, disk, rounds)?;
    Ok(Row::ratio(
        "`flowlock run -l x -- true` against `flock FILE true`, whole processes",
        seen,
        "3 ×",
        "2 ×",
    ))
}

fn transaction_rows(disk: &Path, rounds: u32) -> Result<Vec<Row>, Trouble> {
    let on_disk = "acquire + commit, 3 inputs, 2 outputs, against the bare SQLite transactions, on disk";
    let mut rows =
        vec![Row::ratio(on_disk, library::against_bare_transactions(disk, rounds)?, "2 ×", "1.4 ×")];
    if let Some(memory) = tmpfs() {
        let seen = library::against_bare_transactions(memory.path(), rounds)?;
        rows.push(Row::ratio("the same on tmpfs", seen, "2 ×", "1.4 ×"));
    }
    Ok(rows)
}

fn handoff_row(disk: &Path) -> Result<Row, Trouble> {
    let (p50, p99) = handoff::between_two_processes(disk)?;
    let measured = format!("p50 **{}**, p99 **{}**", table::short(p50), table::short(p99));
    let what = "hand-off between processes: release sent → the next claim answered";
    Ok(Row::new(what, measured, "1 / 5 ms", "0.4 / 1 ms"))
}

fn waiting_rows(flowlock: &Path, disk: &Path) -> Result<[Row; 2], Trouble> {
    let seen = waiting::a_thousand(flowlock, disk)?;
    let order = if seen.in_order { "**exact**" } else { "**broken**" };
    let steps = "1,000 runs waiting in 1,000 processes: steps of the store in a second";
    let starts = "the same, released: order of the starts against order of arrival";
    let drained = format!("{order}, all done in {}", table::short(seen.drained_in));
    Ok([
        Row::new(steps, format!("**{:.0}**", seen.steps_per_second), "250", ""),
        Row::new(starts, drained, "exact", ""),
    ])
}

fn tmpfs() -> Option<tempfile::TempDir> {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::Builder::new().prefix("bench-").tempdir_in(memory).ok() } else { None }
}
