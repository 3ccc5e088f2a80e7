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

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["player", store] => handoff::play(store),
        [flowlock, rounds] => measure(Path::new(flowlock), rounds),
        _ => Err("usage: bench-embedded FLOWLOCK ROUNDS".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("the benchmark broke off: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn measure(flowlock: &Path, rounds: &str) -> Result<(), Trouble> {
    let rounds: u32 = rounds.parse()?;
    let beside_the_program = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
    let disk = tempfile::Builder::new().prefix("bench-").tempdir_in(beside_the_program)?;
    println!("{}", machine::description(disk.path())?);
    let mut rows = vec![Row::ratio(
        "`flowlock run -l x -- true` against `flock FILE true`, whole processes",
        processes::lock_round_a_command(flowlock, disk.path(), rounds)?,
        "3 ×",
        "2 ×",
    )];
    rows.push(Row::ratio(
        "acquire + commit, 3 inputs, 2 outputs, against the bare SQLite transactions, on disk",
        library::against_bare_transactions(disk.path(), rounds)?,
        "2 ×",
        "1.4 ×",
    ));
    if let Some(memory) = tmpfs() {
        rows.push(Row::ratio(
            "the same on tmpfs",
            library::against_bare_transactions(memory.path(), rounds)?,
            "2 ×",
            "1.4 ×",
        ));
    }
    let (p50, p99) = handoff::between_two_processes(disk.path())?;
    let measured = format!("p50 **{}**, p99 **{}**", table::short(p50), table::short(p99));
    rows.push(Row::new(
        "hand-off between processes: release sent → the next claim answered",
        measured,
        "1 / 5 ms",
        "0.4 / 1 ms",
    ));
    rows.extend(waiting_rows(&waiting::a_thousand(flowlock, disk.path())?));
    table::print(&rows);
    Ok(())
}

fn waiting_rows(seen: &waiting::Seen) -> [Row; 2] {
    let order = if seen.in_order { "**exact**" } else { "**broken**" };
    [
        Row::new(
            "1,000 runs waiting in 1,000 processes: steps of the store in a second",
            format!("**{:.0}**", seen.steps_per_second),
            "250",
            "",
        ),
        Row::new(
            "the same, released: order of the starts against order of arrival",
            format!("{order}, all done in {}", table::short(seen.drained_in)),
            "exact",
            "",
        ),
    ]
}

fn tmpfs() -> Option<tempfile::TempDir> {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::Builder::new().prefix("bench-").tempdir_in(memory).ok() } else { None }
}
