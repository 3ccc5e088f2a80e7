//! `flowlock why`: the chain of blockers of a run or a job, or what is known of a name.

mod tell;

use std::fmt::Write as _;

use clap::Args;
use flowlock::store::{NameSeen, Seen};
use flowlock::{By, Name, RecordState, RunId, Space};
use serde::Serialize;

use self::tell::{Teller, tell_name};
use crate::args::{Global, values};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::json::{self, RecordJson, RunJson};
use crate::terminal;

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
