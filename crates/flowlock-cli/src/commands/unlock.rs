//! `flowlock unlock`: takes names away from a run that does not give them back.

use std::time::Duration;

use clap::Args;
use flowlock::step::Unlock;
use flowlock::store::Seen;
use flowlock::{Name, RunId, Token, shell_argument};

use super::confirm::confirmed;
use crate::args::{Global, values};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::json;
use crate::terminal::{self, shown};
use crate::times;

/// Takes names away.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UnlockArgs {
    /// A run id, or a name that is held; write run: or name: in front if it could be both
    #[arg(value_name = "NAME|RUN", value_parser = values::text())]
    pub(crate) what: String,
    /// Free the names at once, even if the run's processes still work
    #[arg(long)]
    pub(crate) now: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only if the run has held its names for longer than this
    #[arg(long, value_name = "D", value_parser = values::age)]
    pub(crate) if_older: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  flowlock unlock sales.clean             shows who holds it, and asks
  flowlock unlock etl.17 --yes --if-older 6h

The run can neither renew nor commit from then on. Its names are free when it acknowledges, or when its
lease ends; with --now at once, although its processes may still be writing.";

/// Shows the holder, asks, and revokes exactly that grant.
pub(crate) fn unlock(global: &Global, args: &UnlockArgs) -> Result<u8, Failure> {
    let context = Context::open(global)?;
    let Some((seen, token)) = holder(&context, &args.what)? else {
        let message = format!("nobody holds {}", shown(&args.what));
        return Err(Failure::new(exit::NO, "not_held", message).at(&context.place));
    };
    if let Some(least) = args.if_older {
        let age = seen.age();
        if age <= least {
            let message = format!(
                "{} has held its names for only {}; nothing was done",
                seen.run.attempt.id,
                times::short(age)
            );
            return Err(Failure::new(exit::NO, "too_young", message).at(&context.place));
        }
    }
    let how = if args.now { Unlock::Now } else { Unlock::WhenAcknowledged };
    if !args.yes && !asked(&seen, how)? {
        return Err(Failure::new(exit::NO, "declined", "left alone"));
    }
    let run = &seen.run.attempt.id;
    let unlocked = context.flowlock.unlock(run, token, how);
    let look =
        format!("`flowlock why {}` says whether it still holds them", shell_argument(&format!("run:{run}")));
    if !unlocked.map_err(|error| context.unknown(error, &look))? {
        let message = format!("{run} ended in the meantime; nothing was done");
        return Err(Failure::new(exit::NO, "not_held", message).at(&context.place));
    }
    if !global.quiet {
        terminal::say(&what_follows(&seen, how));
    }
    Ok(exit::OK)
}

/// Returns the one run that holds `what`: a run id, or a name in any space. If it could be both, the
/// user has to say which.
fn holder(context: &Context, what: &str) -> Result<Option<(Seen, Token)>, Failure> {
    let (run, name) = match what.split_once(':') {
        Some(("run", run)) => (Some(run), None),
        Some(("name", name)) => (None, Some(name)),
        _ => (Some(what), Some(what)),
    };
    let run = match run {
        Some(run) => holding(context, &RunId::parse(run)?)?,
        None => None,
    };
    let Some(name) = name else { return Ok(run) };
    let seen = context.flowlock.names(&[Name::parse(name)?]).map_err(|error| context.failure(error))?;
    let mut holders: Vec<_> =
        seen.iter().flat_map(|seen| &seen.holders).map(|(_, by, _)| by.run.clone()).collect();
    holders.sort();
    holders.dedup();
    let list = || holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let named = |kind| shell_argument(&format!("{kind}:{name}"));
    let problem = match (run, holders.as_slice()) {
        (run, []) => return Ok(run),
        (Some(run), [one]) if run.0.run.attempt.id == *one => return Ok(Some(run)),
        (None, [one]) => return holding(context, one),
        // The user who starts a run chooses its id, which may be the name of something else.
        (Some(_), _) => {
            let (run, name) = (named("run"), named("name"));
            format!("{} is a run, and a name held by {}; say which: {run} or {name}", shown(what), list())
        }
        (None, _) => {
            let ids: Vec<_> = holders.iter().map(|run| shell_argument(run.as_str())).collect();
            format!("{} is held by several runs; unlock them by their ids: {}", shown(name), ids.join(", "))
        }
    };
    Err(Failure::usage(problem).at(&context.place))
}

fn holding(context: &Context, run: &RunId) -> Result<Option<(Seen, Token)>, Failure> {
    let seen = context.flowlock.run(run).map_err(|error| context.failure(error))?;
    Ok(seen.filter(|seen| seen.run.state.is_holding()).and_then(|seen| Some((seen.clone(), seen.run.token?))))
}

/// Shows whose names they are, and asks the question.
fn asked(seen: &Seen, how: Unlock) -> Result<bool, Failure> {
    let (run, origin) = (&seen.run, &seen.run.holder.origin);
    let about = [
        format!("{} (job {}) holds {}", run.attempt.id, run.spec.job, shown(&super::status::wanted(run))),
        format!(
            "  {}, began {}, on {} as pid {}, user {}",
            json::state(seen),
            times::relative(seen.seen_us, run.since_us),
            shown(&origin.host),
            origin.pid,
            shown(&origin.user)
        ),
    ];
    let question = match how {
        Unlock::Now => "Free its names at once, even if it still writes?",
        Unlock::WhenAcknowledged => "Revoke it?",
    };
    confirmed("unlock", &about, question)
}

fn what_follows(seen: &Seen, how: Unlock) -> String {
    let (run, origin) = (&seen.run, &seen.run.holder.origin);
    let left = Duration::from_millis(seen.lease_left_ms.unwrap_or(0).max(0) as u64);
    if how == Unlock::WhenAcknowledged && !left.is_zero() {
        return format!(
            "{} is revoked: it can neither renew nor commit; its names are free when it notices, in {} at the latest",
            run.attempt.id,
            times::short(left)
        );
    }
    let still = if run.detached {
        "processes that were started for it may still run".to_owned()
    } else {
        format!("pid {} on {} and its children may still run", origin.pid, shown(&origin.host))
    };
    format!("the names of {} are free; {still}", run.attempt.id)
}
