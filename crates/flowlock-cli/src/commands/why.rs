//! `flowlock why`: the chain of blockers of a run or a job, or what is known of a name.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use clap::Args;
use flowlock::store::{NameSeen, Seen};
use flowlock::{By, Name, Record, RecordState, RunId, Space, shell_argument};
use serde::Serialize;

use super::check::problem;
use crate::args::{Global, values};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::hint;
use crate::json::{self, RecordJson, RunJson};
use crate::terminal::{self, shown};
use crate::times;

/// Explains a wait.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowlock why                   every run that waits\n  flowlock why reporting.daily   a job, a run or a name\n  flowlock why name:sales.clean  only the name"
)]
pub(crate) struct WhyArgs {
    /// A job, a run id or a name; write job:, run: or name: in front if it could be several
    #[arg(value_name = "X", value_parser = values::text())]
    pub(crate) what: Option<String>,
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct WhyJson<'a> {
    version: u32,
    store: &'a str,
    namespace: &'a str,
    runs: Vec<RunJson>,
    name: Option<NameJson>,
}

#[derive(Serialize)]
struct NameJson {
    name: String,
    written: bool,
    record: Option<RecordJson>,
    evidence: String,
    held_by: Vec<String>,
    waited_for_by: Vec<String>,
    /// Those that are not in a queue: an input is missing, or their process is silent.
    in_no_line: Vec<String>,
    /// Whether there may be more of these.
    more_in_no_line: bool,
}

/// How many runs are shown below each other; `flowlock why` of the last one shows how it goes on.
const DEEPEST: usize = 10;

/// What the user asks about.
enum Subject<'a> {
    All,
    Job(&'a str),
    Run(&'a str),
    Name(&'a str),
    Any(&'a str),
}

impl<'a> Subject<'a> {
    fn of(text: Option<&'a str>) -> Self {
        let Some(text) = text else { return Self::All };
        match text.split_once(':') {
            Some(("job", job)) => Self::Job(job),
            Some(("run", run)) => Self::Run(run),
            Some(("name", name)) => Self::Name(name),
            _ => Self::Any(text),
        }
    }
}

/// Explains. If a subject is unknown, the exit code is 1.
pub(crate) fn why(global: &Global, args: &WhyArgs) -> Result<u8, Failure> {
    let context = Context::open(global)?;
    let alive = context.flowlock.runs().map_err(|error| context.failure(error))?;
    let subject = Subject::of(args.what.as_deref());
    let runs = runs_of(&context, &subject, &alive)?;
    let name = match (&subject, runs.is_empty()) {
        (Subject::Name(name), _) | (Subject::Any(name), true) => Some(name_seen(&context, name)?),
        _ => None,
    };
    let is_unknown =
        args.what.is_some() && runs.is_empty() && !name.as_ref().is_some_and(|seen| is_known(seen, &alive));
    let code = if is_unknown { exit::NO } else { exit::OK };
    if args.json {
        terminal::print_json(&WhyJson {
            version: json::VERSION,
            store: &context.place.store,
            namespace: &context.place.namespace,
            runs: runs.iter().map(RunJson::new).collect(),
            name: name.as_ref().map(name_json),
        })?;
        return Ok(code);
    }
    let mut teller = Teller::new(&alive);
    for seen in &runs {
        teller.tell(seen, 0);
    }
    let mut text = teller.text;
    if let Some(name) = &name {
        tell_name(&mut text, &context, name);
    } else if runs.is_empty() {
        let nothing = if args.what.is_some() { "no such run or job is known" } else { "nothing waits" };
        let _ = writeln!(text, "{nothing} ({})", context.place);
    }
    terminal::print(&text)?;
    Ok(code)
}

fn runs_of(context: &Context, subject: &Subject<'_>, alive: &[Seen]) -> Result<Vec<Seen>, Failure> {
    let chosen = |wanted: &dyn Fn(&Seen) -> bool| alive.iter().filter(|seen| wanted(seen)).cloned().collect();
    let of_job = |job: &str| chosen(&|seen: &Seen| seen.run.spec.job.as_str() == job);
    match subject {
        Subject::All => Ok(chosen(&|seen: &Seen| seen.run.state.is_waiting())),
        Subject::Job(job) => Ok(of_job(job)),
        Subject::Run(run) => one_run(context, run),
        Subject::Name(_) => Ok(Vec::new()),
        Subject::Any(text) => match one_run(context, text)? {
            none if none.is_empty() => Ok(of_job(text)),
            run => Ok(run),
        },
    }
}

fn one_run(context: &Context, id: &str) -> Result<Vec<Seen>, Failure> {
    let seen = context.flowlock.run(&RunId::parse(id)?).map_err(|error| context.failure(error))?;
    Ok(seen.into_iter().collect())
}

/// Returns whether anything is remembered about a name, or a running or waiting run asks for it.
fn is_known(seen: &NameSeen, alive: &[Seen]) -> bool {
    let asks = |run: &Seen| run.run.spec.claims.iter().any(|claim| claim.name == seen.name);
    seen.evidence.state != RecordState::NeverWritten
        || seen.evidence.failure.is_some()
        || !seen.holders.is_empty()
        || !seen.line.is_empty()
        || alive.iter().any(asks)
}

fn name_seen(context: &Context, name: &str) -> Result<NameSeen, Failure> {
    let seen = context.flowlock.names(&[Name::parse(name)?]).map_err(|error| context.failure(error))?;
    seen.into_iter().next().ok_or_else(|| Failure::internal("read a name", &"the store answered nothing"))
}

/// Shows runs, their blockers, and below each blocker its own blockers, down to runs that do not wait.
/// Each run's blockers are shown once, and only as deep as people read. Any number of runs may wait for
/// each other in a chain.
struct Teller<'a> {
    text: String,
    waiting: HashMap<&'a str, &'a Seen>,
    told: HashSet<&'a str>,
}

impl<'a> Teller<'a> {
    fn new(alive: &'a [Seen]) -> Self {
        let waiting = alive.iter().filter(|seen| seen.run.state.is_waiting());
        let waiting = waiting.map(|seen| (seen.run.attempt.id.as_str(), seen)).collect();
        Self { text: String::new(), waiting, told: HashSet::new() }
    }

    fn tell(&mut self, seen: &'a Seen, depth: usize) {
        let run = &seen.run;
        let since = times::relative(seen.seen_us, run.since_us);
        let (state, wanted) = (json::state(seen), super::status::wanted(run));
        self.line(depth, format_args!("{} ({}): {state}, since {since}", run.attempt.id, shown(&wanted)));
        if let Some(by_hand) = json::by_hand(run) {
            self.line(depth + 1, format_args!("{by_hand}"));
        }
        let Some(blocked) = &seen.blocked else { return };
        if self.told.contains(run.attempt.id.as_str()) {
            return self.line(depth + 1, format_args!("… as shown above"));
        }
        if depth >= 2 * DEEPEST {
            let by_id = shell_argument(&format!("run:{}", run.attempt.id));
            return self.line(depth + 1, format_args!("… and so on: flowlock why {by_id}"));
        }
        self.told.insert(run.attempt.id.as_str());
        if let Some(reason) =
            seen.reason().filter(|_| seen.silent_since_us.is_some() || blocked.by.is_empty())
        {
            self.line(depth + 1, format_args!("{reason}"));
        }
        for blocker in &blocked.by {
            self.line(depth + 1, format_args!("{blocker}"));
            let behind = blocker.by.as_ref().and_then(|by| self.waiting.get(by.run.as_str()));
            if let Some(behind) = behind.copied() {
                self.tell(behind, depth + 2);
            }
        }
        if blocked.more {
            self.line(depth + 1, format_args!("… and more than these {}", blocked.by.len()));
        }
    }

    fn line(&mut self, depth: usize, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = 2 * depth);
    }
}

fn tell_name(text: &mut String, context: &Context, seen: &NameSeen) {
    match (&seen.record, problem(seen, None)) {
        (Some(record), None) => tell_record(text, record),
        (_, Some(problem)) => {
            let _ = writeln!(
                text,
                "{}: {}{}",
                seen.name,
                shown(&problem),
                hint::of_name(&context.flowlock, seen)
            );
        }
        (None, None) => {}
    }
    if let Some(failure) = seen.evidence.failure.as_ref().filter(|_| seen.record.is_some()) {
        let (at, outcome) = (flowlock::shown_time(failure.at_us), failure.outcome.as_str());
        let _ = writeln!(text, "  the last attempt to write it, {}, ended {outcome} at {at}", failure.run);
    }
    for (space, by, _) in &seen.holders {
        let _ = writeln!(
            text,
            "  {} by {by}, since {}",
            held(*space),
            times::relative(seen.seen_us, by.since_us)
        );
    }
    for (space, by) in &seen.line {
        let _ = writeln!(
            text,
            "  {} waited for by {by}, since {}",
            word(*space),
            times::relative(seen.seen_us, by.since_us)
        );
    }
    for (space, by) in &seen.beside_line {
        let _ = writeln!(
            text,
            "  {} waited for by {by}, since {}; it is in no queue: flowlock why {}",
            word(*space),
            times::relative(seen.seen_us, by.since_us),
            shell_argument(&format!("run:{}", by.run))
        );
    }
    if seen.more_beside_line {
        text.push_str("  … and maybe by more that are in no queue: flowlock why\n");
    } else if seen.holders.is_empty() && seen.line.is_empty() && seen.beside_line.is_empty() {
        text.push_str("  nobody holds it and nobody waits for it\n");
    }
}

fn tell_record(text: &mut String, record: &Record) {
    let written = flowlock::shown_time(record.written_at_us);
    let _ = writeln!(text, "{}: written at {written} by {} (job {})", record.name, record.run, record.job);
    if let Some(actor) = &record.actor {
        let _ = writeln!(text, "  by hand of {actor}");
    }
    if let Some(note) = &record.note {
        let _ = writeln!(text, "  note: {}", shown(note));
    }
    if let Some(at) = record.expires_at_us {
        let _ = writeln!(text, "  expires at {}", flowlock::shown_time(at));
    }
}

fn held(space: Space) -> &'static str {
    match space {
        Space::Data => "held",
        Space::Lock => "as a lock, held",
        Space::Slot => "as a slot, held",
    }
}

fn word(space: Space) -> &'static str {
    match space {
        Space::Data => "as data,",
        Space::Lock => "as a lock,",
        Space::Slot => "as a slot,",
    }
}

fn name_json(seen: &NameSeen) -> NameJson {
    let runs = |waiting: &mut dyn Iterator<Item = &(Space, By)>| {
        waiting.map(|(_, by)| by.run.as_str().to_owned()).collect()
    };
    NameJson {
        name: seen.name.as_str().to_owned(),
        written: seen.record.is_some(),
        record: seen.record.as_ref().map(RecordJson::from),
        evidence: seen.evidence.to_string().trim_start_matches([':', ' ', ',', ';']).to_owned(),
        held_by: seen.holders.iter().map(|(_, by, _)| by.run.as_str().to_owned()).collect(),
        waited_for_by: runs(&mut seen.line.iter().chain(&seen.beside_line)),
        in_no_line: runs(&mut seen.beside_line.iter()),
        more_in_no_line: seen.more_beside_line,
    }
}

#[cfg(test)]
mod tests {
    use flowlock::{Begun, Flowlock};

    use super::*;

    /// Each is behind the one before.
    #[test]
    fn a_chain_of_runs_is_told_in_a_text_as_long_as_the_chain() {
        let flowlock = Flowlock::open("memory:").unwrap();
        let _holder = flowlock.job("holder").lock("k0").acquire().unwrap();
        let waiting: Vec<_> = (1..=60)
            .map(|at| {
                let [before, own] = [at - 1, at].map(|at| format!("k{at}"));
                match flowlock.job(format!("job{at}")).lock(&before).lock(&own).begin().unwrap() {
                    Begun::Waiting(waiting) => waiting,
                    Begun::Granted(_) => panic!("nothing was in its way"),
                }
            })
            .collect();
        let alive = flowlock.runs().unwrap();
        let told = |only: Option<&str>| {
            let mut teller = Teller::new(&alive);
            let chosen = alive.iter().filter(|seen| {
                seen.run.state.is_waiting() && only.is_none_or(|job| seen.run.spec.job.as_str() == job)
            });
            chosen.for_each(|seen| teller.tell(seen, 0));
            teller.text
        };
        let lines = told(None).lines().count();
        assert!((120..=5 * 60).contains(&lines), "{lines} lines: {}", told(None));
        let last = told(Some("job60"));
        assert!(last.lines().count() <= 2 * DEEPEST + 3, "{last}");
        assert!(last.lines().last().unwrap().contains("… and so on: flowlock why run:job50."), "{last}");
        drop(waiting);
    }
}
