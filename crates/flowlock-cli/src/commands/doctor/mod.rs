//! `flowlock doctor`: examines the store and this machine, and prepares the shared store.

mod clock;
mod shared;

use std::time::Duration;

use clap::Args;
use flowlock::config::{Config, Source, Surroundings};
use flowlock::store::{
    Finding, Limits, Loss, NamespaceSeen, Reach, Seen, StoreError, StoreErrorKind, View, Watermark,
    without_password,
};
use flowlock::{Error, Namespace, shell_argument};
use serde::Serialize;

use crate::args::{Global, values};
use crate::context::{Context, Settings};
use crate::exit::{self, Failure};
use crate::json;
use crate::terminal::{self, Screen, Table};

/// Examines the store.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo flowlock doctor --init-shared --group flow    one store for all users of this group
  flowlock doctor --accept-restore                   after a backup of the store was put back")]
pub(crate) struct DoctorArgs {
    /// Make the shared store's directory, so that all users of the group use one store
    #[arg(long, requires = "group")]
    pub(crate) init_shared: bool,
    /// The group that may use the shared store
    #[arg(long, value_name = "G", requires = "init_shared", value_parser = values::text())]
    pub(crate) group: Option<String>,
    /// Accept the store as it is now, although it went back or was replaced
    #[arg(long)]
    pub(crate) accept_restore: bool,
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

/// How long to wait for the lock: longer than the pause after a server's restart, unless the URL sets a
/// longer one.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Report<'f> {
    version: u32,
    ok: bool,
    findings: Vec<FindingJson<'f>>,
}

/// A finding for JSON.
#[derive(Serialize)]
struct FindingJson<'f> {
    what: &'static str,
    ok: bool,
    found: &'f str,
}

/// Examines the store; prepares the shared store first, if asked to.
pub(crate) fn doctor(global: &Global, args: &DoctorArgs) -> Result<u8, Failure> {
    let settings = match (args.init_shared, &args.group) {
        (true, Some(group)) => prepare(global, group)?,
        _ => Settings::read(global)?,
    };
    if args.accept_restore {
        accept_restore(&settings)?;
    }
    let mut findings = vec![Finding::good("flowlock", env!("CARGO_PKG_VERSION"))];
    let place = settings.place()?;
    findings.push(Finding::good("store", place.store.clone()));
    let mut code = exit::OK;
    match settings.open() {
        Ok(context) => {
            if let Err((what, failure)) = examine(&context, &mut findings) {
                code = failure.code;
                findings.push(Finding::bad(what, failure.message));
            }
        }
        Err(failure) => {
            code = failure.code;
            findings.push(Finding::bad("opens", failure.message));
        }
    }
    let ok = findings.iter().all(|finding| finding.is_good);
    if !ok && code == exit::OK {
        code = exit::NO;
    }
    report(&findings, ok, args.json)?;
    Ok(code)
}

/// Prepares the shared store. Returns settings with which it is the store to examine, whatever store
/// this user has set.
fn prepare(global: &Global, group: &str) -> Result<Settings, Failure> {
    if global.store.is_some() {
        return Err(Failure::usage(
            "--init-shared makes only the default store for all users of the machine, in /var/lib/flowlock; leave out --store",
        ));
    }
    let made = format!("sqlite:{}", shared::init_shared(group)?.display());
    let set = Config::read(&Surroundings::of_this_process()).and_then(|config| config.store());
    if let Some(set) = set.ok().filter(|set| set.source != Source::Default) {
        let other = without_password(&set.value);
        if other != made {
            terminal::say(&format!(
                "{} sets another store, {}, which your commands go on using; the one that was made is examined here",
                set.source,
                terminal::shown(&other)
            ));
        }
    }
    Settings::read(&Global { store: Some(made), ..global.clone() })
}

fn report(findings: &[Finding], ok: bool, json: bool) -> Result<(), Failure> {
    if json {
        let all = findings.iter();
        let all = all.map(|Finding { what, is_good, found, .. }| FindingJson { what, ok: *is_good, found });
        return Ok(terminal::print_json(&Report { version: json::VERSION, ok, findings: all.collect() })?);
    }
    let mut table = Table::new(&["", "WHAT", "FOUND"]);
    for finding in findings {
        table.row(&[if finding.is_good { "ok" } else { "!!" }, finding.what, &finding.found]);
    }
    Ok(terminal::print(&table.text(Screen::detect()))?)
}

/// Examines an open store; an error names what could not be examined.
fn examine(context: &Context, findings: &mut Vec<Finding>) -> Result<(), (&'static str, Failure)> {
    let flowlock = &context.flowlock;
    let (store, limits) = (flowlock.store(), Limits::within(flowlock.store_timeout()));
    findings.push(works(context));
    for finding in store.examine(flowlock.namespace(), &limits) {
        if let Some(kind) = finding.away {
            let error = StoreError::new(kind, finding.found);
            return Err((finding.what, context.failure(error.into())));
        }
        findings.push(finding);
    }
    if store.reach() == Reach::Hosts {
        findings.extend(context.seen.clock_step(flowlock).map(clock::step));
    }
    findings.push(namespaces(context));
    let runs = flowlock.runs().map_err(|error| ("runs", context.failure(error)))?;
    findings.extend(of_runs(context, &runs));
    findings.extend(context.seen.loss(flowlock).map(loss));
    if store.reach() == Reach::Host {
        findings.push(clock::set_back(runs.iter().filter_map(|seen| seen.run.token).max()));
    }
    Ok(())
}

/// Reports how many runs are alive, and which of them should have ended.
fn of_runs(context: &Context, runs: &[Seen]) -> Vec<Finding> {
    let found = format!("{} alive in namespace {}", runs.len(), context.place.namespace);
    let mut findings = vec![Finding::good("runs", found)];
    let stuck = runs.iter().filter(|seen| matches!(json::state(seen), "late" | "revoked"));
    let count = stuck.clone().count();
    if count > 0 {
        let found = format!(
            "{} late or revoked; each ends when another run needs its names, or by itself a day (or its --keep-lapsed) after its lease: {}",
            count,
            first_of(stuck.map(|seen| seen.run.attempt.id.to_string()))
        );
        findings.push(Finding::good("leftover runs", found));
    }
    findings
}

/// Reports that the store went back since a command of this user used it.
fn loss(loss: Loss) -> Finding {
    let found = format!(
        "it went back: it was at {}, and continued {}; what happened in between is lost. If that was intended, run `flowlock doctor --accept-restore`",
        loss.was,
        at(loss.is)
    );
    Finding::bad("store went back", found)
}

fn at(mark: Option<Watermark>) -> String {
    mark.map_or_else(|| "empty".to_owned(), |mark| format!("at {mark}"))
}

/// Lists the namespaces, in short. If this user may not list them, that is not a problem of the store.
fn namespaces(context: &Context) -> Finding {
    const WHAT: &str = "namespaces";
    let all = match context.flowlock.namespaces() {
        Ok(all) => all,
        // Such as more of them than are listed.
        Err(Error::Store(error)) if error.kind() == StoreErrorKind::Damaged => {
            return Finding::bad(WHAT, error.to_string());
        }
        Err(error) => return Finding::good(WHAT, format!("not listed: {error}")),
    };
    let is_empty =
        |(_, seen): &&(Namespace, Option<NamespaceSeen>)| seen.as_ref().is_some_and(NamespaceSeen::is_empty);
    let names = first_of(all.iter().map(|(namespace, _)| terminal::shown(namespace.as_str())));
    let mut found = format!("{}: {names}", all.len());
    let empty = all.iter().filter(is_empty).count();
    if empty > 0 {
        // To be pasted, and anybody who may use the store may have made one.
        let arguments = all.iter().filter(is_empty).map(|(namespace, _)| shell_argument(namespace.as_str()));
        let empty_ones = format!("; {empty} empty, for `flowlock namespaces rm`: {}", first_of(arguments));
        found.push_str(&empty_ones);
    }
    Finding::good(WHAT, found)
}

/// Returns the first ten of a list, and how many more there are.
fn first_of(mut all: impl Iterator<Item = String>) -> String {
    const MOST: usize = 10;
    let shown = all.by_ref().take(MOST).collect::<Vec<_>>().join(", ");
    match all.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Takes a lock and gives it back: everything that a run needs of the store.
fn works(context: &Context) -> Finding {
    let begun = std::time::Instant::now();
    let job = context.flowlock.job("flowlock doctor").lock("flowlock doctor").wait(PATIENCE);
    match job.acquire().and_then(flowlock::Grant::commit) {
        Ok(_) => Finding::good(
            "works",
            format!("a lock was taken and given back in {} µs", begun.elapsed().as_micros()),
        ),
        Err(error) => Finding::bad("works", error.to_string()),
    }
}

/// Remembers the present state of the store in place of the earlier one, and prints both.
fn accept_restore(settings: &Settings) -> Result<(), Failure> {
    if settings.accept_restore()? {
        terminal::say(&format!(
            "removed the journal, which does not belong to this file; what was only in it is lost ({})",
            settings.place()?
        ));
    }
    let mut context = settings.open()?;
    context.flowlock.view(&View::Names(Vec::new())).map_err(|error| context.failure(error))?;
    let is = context.flowlock.store().seen(context.flowlock.namespace());
    let Some(loss) = context.seen.loss(&context.flowlock) else {
        let why = match context.seen.expected() {
            None => "flowlock remembers nothing about this store, so there is nothing to accept".to_owned(),
            Some(was) => format!("the store did not go back: it was at {was} and is {}", at(is)),
        };
        terminal::say(&format!("{why} ({})", context.place));
        return Ok(());
    };
    terminal::say(&format!("accepted: the store was at {} and is {} ({})", loss.was, at(is), context.place));
    context
        .seen
        .accept(&context.flowlock)
        .map_err(|error| Failure::new(exit::CONFIG, "configuration", format!("cannot save that: {error}")))
}
