//! `flowlock check`: are these names written, for monitoring.

use std::time::Duration;

use clap::Args;
use flowlock::store::NameSeen;
use flowlock::{Name, RecordState};
use serde::Serialize;

use super::outputs::opened;
use crate::args::{DateFlags, Global, values};
use crate::exit::{self, Failure};
use crate::hint;
use crate::json::{self, RecordJson};
use crate::terminal::{self, shown};
use crate::times;

/// Tests for records.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  flowlock check sales.{date-1d} --max-age 26h\n\nExits 0 if all are written (and young enough), 1 if one is not, 69 if the store cannot be asked."
)]
pub(crate) struct CheckArgs {
    /// The names; {date} and the like are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    pub(crate) names: Vec<String>,
    /// The longest time since they were written
    #[arg(long, value_name = "D", value_parser = values::age)]
    pub(crate) max_age: Option<Duration>,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct CheckJson {
    version: u32,
    ok: bool,
    names: Vec<NameJson>,
}

#[derive(Serialize)]
struct NameJson {
    name: String,
    ok: bool,
    problem: Option<String>,
    record: Option<RecordJson>,
}

/// Exits 0 if all are written and young enough, 1 if one is not, 69 if the store cannot be asked.
pub(crate) fn check(global: &Global, args: &CheckArgs) -> Result<u8, Failure> {
    let (context, names) = opened(global, &args.names, &args.dates).map_err(unreachable)?;
    let names: Vec<Name> = names.iter().map(|name| Name::parse(name)).collect::<Result<_, _>>()?;
    let seen = context.flowlock.names(&names).map_err(|error| unreachable(context.failure(error)))?;
    let problems: Vec<_> = seen.iter().map(|name| problem(name, args.max_age)).collect();
    let ok = problems.iter().all(Option::is_none);
    if args.json {
        let told = seen.iter().zip(&problems).map(|(seen, problem)| NameJson {
            name: seen.name.as_str().to_owned(),
            ok: problem.is_none(),
            problem: problem.clone(),
            record: seen.record.as_ref().map(RecordJson::from),
        });
        terminal::print_json(&CheckJson { version: json::VERSION, ok, names: told.collect() })?;
    } else {
        for (seen, problem) in seen.iter().zip(&problems) {
            if let Some(problem) = problem {
                let hint = hint::of_name(&context.flowlock, seen);
                terminal::print(&format!("{}: {}{hint}\n", seen.name, shown(problem)))?;
            }
        }
    }
    Ok(if ok { exit::OK } else { exit::NO })
}

/// Maps every error to "unreachable": a monitor knows three answers, and whatever is wrong with the
/// store, it could not be asked.
fn unreachable(failure: Failure) -> Failure {
    match failure.code {
        exit::USAGE => failure,
        _ => Failure { code: exit::UNREACHABLE, ..failure },
    }
}

/// Returns why a name does not count as written, if it does not.
pub(super) fn problem(seen: &NameSeen, max_age: Option<Duration>) -> Option<String> {
    let Some(record) = &seen.record else {
        return Some(format!("not written{}", seen.evidence));
    };
    if record.state == RecordState::Incomplete {
        return Some("incomplete: a rewrite of it did not commit".to_owned());
    }
    let age = seen.age()?;
    let most = max_age.filter(|most| age > *most)?;
    Some(format!("written {} ago, longer than {}", times::short(age), times::short(most)))
}
