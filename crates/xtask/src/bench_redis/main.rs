//! What the store on Redis costs: ratios against the nearest bare thing, measured side by side in one run.
//!
//! Started by `cargo xtask bench redis`, which builds it and flowlock as users get them.

#[path = "../bench_common/mod.rs"]
mod common;
mod cycle;
mod elsewhere;
mod idle;
mod per_step;
mod queue;
mod records;
mod rows;
mod script;
mod server;
mod steps;
mod threads;

use std::path::Path;
use std::process::ExitCode;

use common::{Trouble, crowd, handoff, machine, others, released, stats, table};
use rows::Bench;
use server::Server;

/// What can be measured by itself, in the order of the table.
const PARTS: [&str; 10] =
    ["cycle", "script", "steps", "elsewhere", "handoff", "released", "queue", "idle", "records", "threads"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["player", store] => handoff::play(store),
        ["crowd", store] => idle::crowd(store),
        [flowlock, python, rounds] => measure(flowlock, python, rounds, &PARTS),
        [flowlock, python, rounds, ref parts @ ..] => measure(flowlock, python, rounds, parts),
        _ => Err("usage: bench-redis FLOWLOCK PYTHON ROUNDS [PART…]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("the benchmark broke off: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn measure(flowlock: &str, python: &str, rounds: &str, parts: &[&str]) -> Result<(), Trouble> {
    let server = Server::start()?;
    println!("{}", machine::description(&server.version())?);
    if let Some(warning) = machine::is_busy() {
        println!("{warning}");
    }
    let bench =
        Bench { server, flowlock: Path::new(flowlock), python: Path::new(python), rounds: rounds.parse()? };
    let mut rows = Vec::new();
    for part in parts {
        println!("measuring {part} …");
        rows.extend(bench.part(part)?);
    }
    table::print(&rows);
    Ok(())
}
