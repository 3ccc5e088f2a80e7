//! What the embedded store costs: ratios against the nearest bare thing, measured side by side in one run.
//!
//! Started by `cargo xtask bench`, which builds it and flowlock as users get them.

mod bare;
#[path = "../bench_common/mod.rs"]
mod common;
mod contention;
mod disk;
mod elsewhere;
mod library;
mod processes;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::{Trouble, crowd, handoff, machine, others, released, stats, table};
use table::Row;

/// What can be measured by itself, in the order of the table.
const PARTS: [&str; 7] =
    ["processes", "transactions", "elsewhere", "handoff", "released", "contention", "waiting"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["player", store] => handoff::play(store),
        ["contender", store] => contention::contend(store),
        ["crowd", store] => waiting::crowd(store),
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
    println!("{}", machine::description(&disk::description(disk.path())?)?);
    if let Some(warning) = machine::is_busy() {
        println!("{warning}");
    }
    let mut rows = Vec::new();
    for part in parts {
        println!("measuring {part} …");
        match *part {
            "processes" => rows.push(processes_row(flowlock, disk.path(), rounds)?),
            "transactions" => rows.extend(transaction_rows(disk.path(), rounds)?),
            "elsewhere" => rows.extend(elsewhere_rows(disk.path(), rounds)?),
            "handoff" => rows.push(handoff_row(disk.path())?),
            "released" => rows.extend(released_rows(disk.path())?),
            "contention" => rows.push(contention_row(disk.path())?),
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

/// Where nothing is waited for but the processor, if there is such a place.
fn elsewhere_rows(disk: &Path, rounds: u32) -> Result<[Row; 2], Trouble> {
    let memory = tmpfs();
    let folder = memory.as_ref().map_or(disk, tempfile::TempDir::path);
    let what = "acquire + commit with one lapsed run and one waiting run elsewhere in the store, against none, on tmpfs";
    Ok([
        Row::ratio(what, elsewhere::with_others(folder, 1, rounds)?, "1.3 ×", "1.1 ×"),
        Row::ratio(
            "the same with 1,000 waiting runs",
            elsewhere::with_others(folder, 1_000, rounds)?,
            "1.3 ×",
            "1.1 ×",
        ),
    ])
}

fn handoff_row(disk: &Path) -> Result<Row, Trouble> {
    let (p50, p99) = handoff::between_two_processes(&format!("sqlite:{}/handoff.db", disk.display()))?;
    let measured = format!("p50 **{}**, p99 **{}**", table::short(p50), table::short(p99));
    let what = "hand-off between processes: release sent → the next claim answered";
    Ok(Row::new(what, measured, "1 / 5 ms", "0.3 / 0.8 ms"))
}

fn released_rows(disk: &Path) -> Result<[Row; 2], Trouble> {
    let open = || flowlock::Flowlock::open(&format!("sqlite:{}/released.db", disk.display()));
    released::rows(&open()?, &open()?)
}

fn contention_row(disk: &Path) -> Result<Row, Trouble> {
    let (most, least) = contention::sixteen(disk)?;
    let ratio = f64::from(most) / f64::from(least);
    let measured = format!("**{ratio:.2} ×** ({most} against {least})");
    Ok(Row::new(
        "16 processes contending for one lock for 10 s: most against least grants",
        measured,
        "1.5 ×",
        "1.1 ×",
    ))
}

fn waiting_rows(flowlock: &Path, disk: &Path) -> Result<[Row; 3], Trouble> {
    let one = tempfile::tempdir_in(disk)?;
    let in_one = waiting::a_thousand_in_one_process(one.path())?;
    let seen = waiting::a_thousand(flowlock, disk)?;
    let order = if seen.in_order { "**exact**" } else { "**broken**" };
    let starts = "1,000 processes, released: order of the starts against order of arrival";
    let drained = format!("{order}, all done in {}", table::short(seen.drained_in));
    Ok([
        Row::new(
            "1,000 runs waiting in one process: steps of the store in a second",
            format!("**{in_one:.1}**"),
            "2",
            "",
        ),
        Row::new(
            "1,000 runs waiting in 1,000 processes: the same",
            format!("**{:.0}**", seen.steps_per_second),
            "250",
            "",
        ),
        Row::new(starts, drained, "exact", ""),
    ])
}

fn tmpfs() -> Option<tempfile::TempDir> {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::Builder::new().prefix("bench-").tempdir_in(memory).ok() } else { None }
}
