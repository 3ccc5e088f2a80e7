//! `flowlock run`: wait for the names, run the command, mark its outputs as written.

mod args;
mod plan;
mod refused;
mod result_file;

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowlock::{Error, Grant, Lost, LostBy, RunId, shell_argument};

use self::args::IfLocked;
pub(crate) use self::args::RunArgs;
use self::plan::Plan;
pub(crate) use self::refused::result_of_run;
use self::result_file::ResultFile;
pub(crate) use self::result_file::write_failure;
use crate::args::{Global, IfWritten};
use crate::context::{Context, Settings};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::json::{self, ResultJson};
use crate::request;
use crate::signals::Signals;
use crate::supervise::{Ended, boot_clock};
use crate::terminal;
use crate::waiting;
use crate::watched::{Policy, Unfinished, Watched};

/// Carries out the command and writes what happened to `--json-result`.
pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<u8, Failure> {
    let file = args.json_result.as_deref().map(ResultFile::open).transpose()?;
    let mut story = ResultJson { version: json::VERSION, ..ResultJson::default() };
    let ended = begin(global, args, &mut story);
    if let Some(file) = file {
        file.write(story, &ended);
    }
    ended
}

fn begin(global: &Global, args: &RunArgs, story: &mut ResultJson) -> Result<u8, Failure> {
    let settings = Arc::new(Settings::read(global)?);
    let plan = Plan::new(&settings, args)?;
    story.job = Some(plan.job.as_str().to_owned());
    let (context, signals) = waiting::open(&settings, global)?;
    story.store = Some(context.place.store.clone());
    story.namespace = Some(context.place.namespace.clone());
    Errand { global, args, context, signals, story }.carry_out(plan)
}

/// A run in progress.
struct Errand<'a> {
    global: &'a Global,
    args: &'a RunArgs,
    context: Context,
    signals: Signals,
    story: &'a mut ResultJson,
}

impl Errand<'_> {
    fn carry_out(mut self, plan: Plan) -> Result<u8, Failure> {
        let lease = plan.lease.unwrap_or_else(|| self.context.flowlock.store().default_lease());
        let policy = Policy {
            on_lost: self.args.on_lost,
            on_unreachable: self.args.on_unreachable,
            kill_after: plan::kill_after(self.args.kill_after, lease, self.args.request.max_runtime)?,
            last_end: None,
        };
        let request = &self.args.request;
        let id = RunId::fresh(&plan.job);
        let job = request::job(&self.context.flowlock, &plan.job, plan.names, request)?.lease(lease);
        let wanted = waiting::Wanted { job: job.run_id(id.as_str()), name: plan.job, id };
        let begun = Instant::now();
        let granted = if request.is_a_try() {
            waiting::once(&wanted, &self.context, &mut self.signals, self.global)
        } else {
            waiting::acquire(&wanted, &self.context, &mut self.signals, self.global)
        };
        self.story.waited_ms = begun.elapsed().as_millis() as u64;
        let grant = match granted {
            Ok(grant) => grant,
            Err(failure) => return self.skip(failure),
        };
        self.context.pass_notices_on();
        self.story.run = Some(grant.run_id().as_str().to_owned());
        self.story.token = Some(json::token(grant.token()));
        let last_end = request.max_runtime.map(|most: Duration| boot_clock() + most);
        self.work(grant, &plan.command, plan.day, Policy { last_end, ..policy })
    }

    /// The run was not started: a failure, or a success because of `--if-locked skip` or `--if-written
    /// skip`.
    fn skip(self, failure: Failure) -> Result<u8, Failure> {
        let locked = failure.outcome == "busy" && self.args.if_locked == IfLocked::Skip;
        let written = failure.outcome == "output_exists" && self.args.request.if_written == IfWritten::Skip;
        if !locked && !written {
            return Err(failure);
        }
        if locked && !self.global.quiet || self.global.verbose > 0 {
            terminal::say(&format!("skipped: {}", failure.message));
        }
        self.story.outcome = "skipped";
        self.story.message = Some(failure.message);
        self.story.blockers = failure.blockers;
        Ok(exit::OK)
    }

    /// Runs the command and its check, while the names are held.
    fn work(
        mut self,
        grant: Grant,
        command: &[OsString],
        day: String,
        policy: Policy,
    ) -> Result<u8, Failure> {
        let prepared = Environment::new(&self.context.flowlock, &grant, day)
            .map_err(Unfinished::NotBegun)
            .and_then(|environment| Ok((self.command(&grant, command, &environment, policy)?, environment)));
        match prepared {
            Ok((ended, environment)) => self.finish(grant, ended, &environment),
            Err(Unfinished::NotBegun(failure)) => {
                grant.give_back();
                Err(failure)
            }
            Err(Unfinished::Broken(failure)) => {
                grant.fail();
                Err(failure)
            }
        }
    }

    fn command(
        &mut self,
        grant: &Grant,
        command: &[OsString],
        environment: &Environment,
        policy: Policy,
    ) -> Result<Ended, Unfinished> {
        let liveness_lock = self.context.flowlock.liveness_lock().filter(|_| !self.args.close);
        let descriptor = liveness_lock
            .as_ref()
            .and_then(|liveness_lock| liveness_lock.descriptor.as_ref())
            .map(|held| held.as_fd());
        let mut watched = Watched::new(grant, self.context.flowlock.store().as_ref(), policy)
            .map_err(Unfinished::NotBegun)?;
        let ended = watched.run(command, environment, descriptor, &mut self.signals)?;
        self.story.command_exit_code = Some(ended.code);
        let (Some(check), Ended { code: 0, killed: false }) = (&self.args.check, ended) else {
            return Ok(ended);
        };
        let shell = [OsString::from("sh"), OsString::from("-c"), check.clone()];
        let checked =
            watched.run(&shell, environment, descriptor, &mut self.signals).map_err(
                |problem| match problem {
                    // The command itself has run.
                    Unfinished::NotBegun(failure) | Unfinished::Broken(failure) => {
                        Unfinished::Broken(failure)
                    }
                },
            )?;
        if checked.code != 0 && !checked.killed {
            let code = checked.code;
            terminal::say(&format!(
                "--check failed with exit code {code}; outputs are not recorded as written"
            ));
        }
        Ok(checked)
    }

    fn finish(mut self, grant: Grant, ended: Ended, environment: &Environment) -> Result<u8, Failure> {
        if ended.killed {
            let by = grant.lost().map_or("its lease ended", |by| by.as_str());
            let run = grant.run_id();
            let unlocked = grant.lost() == Some(Lost::By(LostBy::Broken));
            let by_hand = if unlocked { self.context.by_hand(run) } else { None };
            let message = format!("{run} lost its names ({by}); its outputs are not recorded as written");
            grant.fail();
            let mut failure = Failure::new(exit::LOST, "lost", message).at(&self.context.place);
            failure.details.extend(by_hand);
            return Err(failure);
        }
        if ended.code != 0 {
            self.story.outcome = "failed";
            grant.fail();
            return Ok(ended.code);
        }
        self.signals.forget();
        let note = match environment.note() {
            Ok(note) => note.or_else(|| self.args.note.clone()),
            Err(failure) => {
                grant.fail();
                return Err(failure);
            }
        };
        let advice = what_to_ask(&grant);
        let committed = match &note {
            Some(note) => grant.commit_with(note),
            None => grant.commit(),
        };
        match committed {
            Ok(committed) => {
                self.story.outcome = if committed.late { "committed_late" } else { "committed" };
                Ok(exit::OK)
            }
            Err(error @ Error::InvalidRequest { .. }) => {
                Err(Failure::usage(format!("{error}; outputs are not recorded as written")))
            }
            Err(Error::Store(error)) if !error.is_unknown() => {
                let mut failure = self.context.failure(Error::Store(error));
                failure.message =
                    format!("the command succeeded, but its outputs are not recorded: {}", failure.message);
                Err(failure)
            }
            Err(error) => Err(self.context.unknown(error, &advice)),
        }
    }
}

/// Says how to find out what became of a commit that got no answer. The run cannot be asked to commit
/// again: its process is gone.
fn what_to_ask(grant: &Grant) -> String {
    match grant.spec().claims.outputs().next() {
        Some(output) => format!(
            "`flowlock outputs {}` shows which run wrote it last, and for 10 minutes `flowlock why {}` shows how this run ended",
            shell_argument(output.name.as_str()),
            shell_argument(grant.run_id().as_str())
        ),
        None => "it had nothing to record; its names are free when its lease ends, or before".to_owned(),
    }
}
