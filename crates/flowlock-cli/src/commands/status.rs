//! `flowlock status`: what runs, what waits, and why.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use flowlock::store::Seen;
use flowlock::{Mode, Run, Space};
use serde::Serialize;

use crate::args::Global;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::json::{self, RunJson};
use crate::terminal::{self, Screen, Table, emphasized};
use crate::times;

/// Shows runs.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// List all runs, not only the first 50 that run and the first 50 that wait; JSON has all of them anyway
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

/// How many running and how many waiting runs are listed without `--all`.
const MOST_SHOWN: usize = 50;

#[derive(Serialize)]
struct StatusJson<'a> {
    version: u32,
    store: &'a str,
    namespace: &'a str,
    running: Vec<RunJson>,
    waiting: Vec<RunJson>,
}

/// Shows all runs that hold or wait.
pub(crate) fn status(global: &Global, args: &StatusArgs) -> Result<u8, Failure> {
    let context = Context::open(global)?;
    let runs = context.flowlock.runs().map_err(|error| context.failure(error))?;
    let (waiting, running): (Vec<_>, Vec<_>) = runs.into_iter().partition(|seen| seen.run.state.is_waiting());
    if args.json {
        let all = |runs: &[Seen]| runs.iter().map(RunJson::new).collect();
        terminal::print_json(&StatusJson {
            version: json::VERSION,
            store: &context.place.store,
            namespace: &context.place.namespace,
            running: all(&running),
            waiting: all(&waiting),
        })?;
    } else {
        let most = if args.all { usize::MAX } else { MOST_SHOWN };
        terminal::print(&text(&context, &running, &waiting, most))?;
    }
    Ok(exit::OK)
}

fn text(context: &Context, running: &[Seen], waiting: &[Seen], most: usize) -> String {
    let screen = Screen::detect();
    let mut text = format!("{}\n", context.place);
    if running.is_empty() && waiting.is_empty() {
        text.push_str("\nnothing runs and nothing waits; begin with: flowlock run -o NAME -- COMMAND\n");
        return text;
    }
    if !running.is_empty() {
        let table = running_table(shown(running, most)).text(screen);
        let _ = write!(text, "\n{}\n{table}{}", emphasized("running", screen), rest(running, most));
    }
    if !waiting.is_empty() {
        let table = waiting_table(shown(waiting, most)).text(screen);
        let _ = write!(text, "\n{}\n{table}{}", emphasized("waiting", screen), rest(waiting, most));
    }
    text
}

/// Returns the oldest of them: runs that are in the way of others are among these.
fn shown(runs: &[Seen], most: usize) -> &[Seen] {
    &runs[..runs.len().min(most)]
}

fn rest(runs: &[Seen], most: usize) -> String {
    match runs.len().saturating_sub(most) {
        0 => String::new(),
        more => format!("and {more} more; all of them: flowlock status --all\n"),
    }
}

fn running_table(running: &[Seen]) -> Table {
    let mut table = Table::new(&["RUN", "HOLDS", "SINCE", "LEASE LEFT", "STATE", "HOST", "PID", "USER"]);
    for seen in running {
        let Seen { run, lease_left_ms, .. } = seen;
        let left = lease_left_ms.map_or_else(String::new, |ms| match u64::try_from(ms) {
            Ok(ms) => times::short(Duration::from_millis(ms)),
            Err(_) => "over".to_owned(),
        });
        let origin = &run.holder.origin;
        let pid = if run.detached { "detached".to_owned() } else { origin.pid.to_string() };
        table.row(&[
            run.attempt.id.as_str(),
            &wanted(run),
            &times::relative(seen.seen_us, run.since_us),
            &left,
            &if run.revoked {
                json::by_hand(run).unwrap_or_else(|| "revoked".to_owned())
            } else {
                json::state(seen).to_owned()
            },
            &origin.host,
            &pid,
            &origin.user,
        ]);
    }
    table
}

fn waiting_table(waiting: &[Seen]) -> Table {
    let mut table = Table::new(&["RUN", "WANTS", "SINCE", "STATE", "BECAUSE"]);
    for seen in waiting {
        let run = &seen.run;
        let (because, since) =
            (seen.reason().unwrap_or_default(), times::relative(seen.seen_us, run.since_us));
        table.row(&[run.attempt.id.as_str(), &wanted(run), &since, json::state(seen), &because]);
    }
    table
}

/// Formats a run's claims as flags, the first few of them.
pub(crate) fn wanted(run: &Run) -> String {
    const MOST: usize = 4;
    let all = run.spec.claims.iter().map(|claim| {
        let name = claim.name.as_str();
        match claim.space {
            Space::Data if claim.is_input() && claim.is_output() => format!("-i -o {name}"),
            Space::Data if claim.is_output() => format!("-o {name}"),
            Space::Data => format!("-i {name}"),
            Space::Lock if claim.mode == Mode::Shared => format!("--lock-shared {name}"),
            Space::Lock => format!("-l {name}"),
            Space::Slot => format!("--slot {}", json::slot(claim).unwrap_or_default()),
        }
    });
    let mut text = all.take(MOST).collect::<Vec<_>>().join(" ");
    if run.spec.claims.len() > MOST {
        let _ = write!(text, " and {} more", run.spec.claims.len() - MOST);
    }
    text
}
