//! `flowlock start`: a run without a process, for builds of several steps.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use flowlock::{JobName, Parent, RunId, Token, shell_argument};
use serde::Serialize;

use crate::args::{ClaimFlags, DateFlags, Global, IfWritten, RequestFlags, values};
use crate::context::Settings;
use crate::exit::{self, Failure};
use crate::json;
use crate::request::{self, Names};
use crate::terminal;
use crate::waiting::{self, Wanted};

/// Starts a detached run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StartArgs {
    /// The name of the job
    #[arg(value_name = "JOB", value_parser = values::text())]
    pub(crate) job: String,
    /// The run's id [default: JOB and a random number]
    #[arg(long, value_name = "ID", value_parser = values::text())]
    pub(crate) id: Option<String>,
    /// How long the names stay taken without a refresh
    #[arg(long, value_name = "D", value_parser = values::lease)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) claims: ClaimFlags,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
    /// Print JSON instead of the bare run id
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  RUN=$(flowlock start build --duration 30m -i sources -o package)
  flowlock refresh \"$RUN\"      on any agent, before 30 minutes are over
  flowlock commit \"$RUN\"       or: flowlock fail \"$RUN\"

Anyone who knows the run id can refresh, commit and fail the run. It belongs to no process: it lives until its lease ends.";

#[derive(Serialize)]
struct Started<'a> {
    version: u32,
    run: &'a str,
    job: &'a str,
    token: String,
    /// Makes a later `flowlock run` part of this run: `$FLOWLOCK_PARENT_PROOF`.
    parent_proof: &'a str,
    lease_ms: u64,
}

/// Acquires a run, detaches it as the last step, and prints its id. Before it is detached, the run dies
/// with this process.
pub(crate) fn start(global: &Global, args: &StartArgs) -> Result<u8, Failure> {
    let settings = Arc::new(Settings::read(global)?);
    let dates = settings.dates(&args.dates)?;
    let name = JobName::parse(&args.job)?;
    let id = args.id.as_deref().map_or_else(|| Ok(RunId::fresh(&name)), RunId::parse)?;
    let names = Names::new(&args.claims, &dates, &name)?;
    if names.is_empty() {
        return Err(Failure::usage("nothing is claimed; give -i, -o, -l, --lock-shared, --slot or --single"));
    }
    let (context, mut signals) = waiting::open(&settings, global)?;
    let mut job =
        request::job(&context.flowlock, &name, names, &args.request)?.lease(args.duration).fixed_lease();
    if let Some(most) = args.request.max_runtime {
        job = job.max_runtime(most);
    }
    let wanted = Wanted { job: job.run_id(id.as_str()), name, id };
    let granted = if args.request.is_a_try() {
        waiting::once(&wanted, &context, &mut signals, global)
    } else {
        waiting::acquire(&wanted, &context, &mut signals, global)
    };
    let grant = match granted {
        Err(failure) if failure.outcome == "output_exists" && args.request.if_written == IfWritten::Skip => {
            terminal::say(&format!("skipped: {}", failure.message));
            return Ok(exit::OK);
        }
        granted => granted?,
    };
    let (token, parent, attempt) = (grant.token(), grant.as_parent(), grant.attempt().clone());
    let run =
        grant.detach().map_err(|error| waiting::not_begun(error, &wanted.id, &context, &mut signals))?;
    let printed = print_started(args, &wanted.name, &run, token, &parent);
    if let Err(error) = printed {
        // The caller did not get the id, and could not end the run. The signal that ended the wait for a
        // reader must not end this too.
        signals.forget();
        let ended = context.flowlock.give_back(&attempt);
        let advice = format!("end it with `flowlock fail {}`", shell_argument(run.as_str()));
        ended.map_err(|error| context.unknown(error, &format!("{run} was started; {advice}")))?;
        terminal::say_not_told(&format!("{run} was ended"), "its id", &error);
        return Err(Failure { message: String::new(), ..error.into() });
    }
    Ok(exit::OK)
}

/// Prints the run's id, or everything about it as JSON.
fn print_started(
    args: &StartArgs,
    job: &JobName,
    run: &RunId,
    token: Token,
    parent: &Parent,
) -> io::Result<()> {
    if args.json {
        terminal::deliver_json(&Started {
            version: json::VERSION,
            run: run.as_str(),
            job: job.as_str(),
            token: json::token(token),
            parent_proof: parent.proof(),
            lease_ms: args.duration.as_millis() as u64,
        })
    } else {
        terminal::deliver(&format!("{run}\n"))
    }
}
