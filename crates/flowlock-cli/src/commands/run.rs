//! `flowlock run`: wait for the names, run the command, mark its outputs as written.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use flowlock::{Error, Grant, Job, JobName};

use crate::args::{Global, IfLocked, IfWritten, Run, values};
use crate::child;
use crate::dates::Dates;
use crate::door::{Door, Settings};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::held::{Policy, Watched};
use crate::json::{self, ResultJson};
use crate::request::{self, Names};
use crate::signals::Signals;
use crate::supervise::{Ended, boot_clock};
use crate::talk::Talk;
use crate::terminal::{self, Screen, shown};
use crate::waiting;

/// The time between TERM and KILL if nothing is said and the lease is long enough.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// Carries out the command and writes what happened to `--json-result`.
pub(crate) fn run(global: &Global, args: Run) -> Result<u8, Failure> {
    let mut file = args.json_result.as_deref().map(result_file).transpose()?;
    let mut story = ResultJson {
        version: json::VERSION,
        ..ResultJson::default()
    };
    let ended = tell(global, args, &mut story);
    if let Some(file) = &mut file {
        write_result(file, story, &ended)?;
    }
    ended
}

/// Opened first: a place that cannot be written is no reason to fail after the work is done.
fn result_file(path: &std::path::Path) -> Result<File, Failure> {
    let cannot = |error| {
        Failure::usage(format!(
            "--json-result {}: {error}",
            shown(&path.display().to_string())
        ))
    };
    File::create(path).map_err(cannot)
}

fn write_result(file: &mut File, mut story: ResultJson, ended: &Result<u8, Failure>) -> Result<(), Failure> {
    match ended {
        Ok(code) => story.exit_code = *code,
        Err(failure) => {
            story.exit_code = failure.code;
            story.outcome = failure.outcome;
            story.message = Some(failure.message.clone());
        }
    }
    if let Err(Failure { blockers, .. }) = ended {
        story.blockers.clone_from(blockers);
    }
    serde_json::to_writer(&mut *file, &story).map_err(std::io::Error::from)?;
    Ok(file.write_all(b"\n")?)
}

/// What is decided before the store is asked.
struct Plan {
    job: JobName,
    names: Names,
    dates: Dates,
    command: Vec<OsString>,
    lease: Option<Duration>,
}

impl Plan {
    fn new(settings: &Settings, args: &Run) -> Result<Self, Failure> {
        let zone = args.dates.tz.as_deref().or(settings.get("tz"));
        let dates = Dates::new(jiff::Timestamp::now(), args.dates.date.as_deref(), zone)?;
        let command = if args.expand {
            expanded(&args.command, &dates)?
        } else {
            args.command.clone()
        };
        let job = match &args.name {
            Some(name) => JobName::parse(name)?,
            None => request::name_of(&command)?,
        };
        let names = Names::new(&args.claims, &dates, &job)?;
        if names.is_empty() {
            return Err(Failure::usage(
                "nothing is claimed, so this would only run the command; give -i, -o, -l, --lock-shared, --slot or --single",
            ));
        }
        child::find(&command[0]).map_err(|problem| Failure::cannot_start(&command[0], &problem))?;
        let lease = args.duration.map_or_else(
            || settings.duration("duration", values::lease),
            |lease| Ok(Some(lease)),
        )?;
        Ok(Self {
            job,
            names,
            dates,
            command,
            lease,
        })
    }
}

fn expanded(command: &[OsString], dates: &Dates) -> Result<Vec<OsString>, Failure> {
    let mut full = Vec::with_capacity(command.len());
    for word in command {
        match word.to_str() {
            Some(text) => full.extend(dates.fill(text)?.into_iter().map(OsString::from)),
            None => full.push(word.clone()),
        }
    }
    Ok(full)
}

fn tell(global: &Global, args: Run, story: &mut ResultJson) -> Result<u8, Failure> {
    let settings = Settings::read(global)?;
    let plan = Plan::new(&settings, &args)?;
    story.job = Some(plan.job.as_str().to_owned());
    // Handlers stand before anything waits.
    let mut signals = Signals::install().map_err(|error| Failure::internal("handle signals", &error))?;
    let door = settings.open()?;
    story.store = Some(door.place.store.clone());
    story.namespace = Some(door.place.namespace.clone());
    let lease = plan
        .lease
        .unwrap_or_else(|| door.flowlock.store().default_lease());
    let kill_after = kill_after(args.kill_after, lease)?;
    let job = request::job(&door.flowlock, &plan.job, plan.names, &args.request)?.lease(lease);
    let grant = match granted(&job, &door, &mut signals, &args, global, story) {
        Ok(grant) => grant,
        Err(failure) => return skipped(failure, &args, global, story),
    };
    story.run = Some(grant.run_id().as_str().to_owned());
    story.token = Some(json::token(grant.token()));
    let policy = Policy {
        on_lost: args.on_lost,
        on_unreachable: args.on_unreachable,
        kill_after,
        last_end: args.request.max_runtime.map(|most| boot_clock() + most),
    };
    work(
        grant,
        &door,
        &plan.command,
        plan.dates.day(),
        policy,
        &args,
        &mut signals,
        story,
    )
}

fn granted(
    job: &Job,
    door: &Door,
    signals: &mut Signals,
    args: &Run,
    global: &Global,
    story: &mut ResultJson,
) -> Result<Grant, Failure> {
    let begun = Instant::now();
    let granted = if args.request.is_a_try() {
        waiting::once(job, door)
    } else {
        let mut talk = Talk::for_wait(global, Screen::detect());
        waiting::acquire(job, door, signals, &mut talk)
    };
    story.waited_ms = begun.elapsed().as_millis() as u64;
    granted
}

/// A third of the lease at most, so that there is time for renewing before anything must be ended.
fn kill_after(given: Option<Duration>, lease: Duration) -> Result<Duration, Failure> {
    let most = lease / 3;
    match given {
        None => Ok(KILL_AFTER.min(most)),
        Some(given) if given <= most => Ok(given),
        Some(given) => Err(Failure::usage(format!(
            "--kill-after {given:?} is more than a third of the lease; with --duration {lease:?} give at most {most:?}"
        ))),
    }
}

/// Not started: a failure, or just what `--if-locked skip` and `--if-written skip` are for.
fn skipped(failure: Failure, args: &Run, global: &Global, story: &mut ResultJson) -> Result<u8, Failure> {
    let locked = failure.outcome == "busy" && args.if_locked == IfLocked::Skip;
    let written = failure.outcome == "output_exists" && args.request.if_written == IfWritten::Skip;
    if !locked && !written {
        return Err(failure);
    }
    if locked && !global.quiet || global.verbose > 0 {
        terminal::say(&format!("skipped: {}", failure.message));
    }
    story.outcome = "skipped";
    story.message = Some(failure.message);
    story.blockers = failure.blockers;
    Ok(exit::OK)
}

#[allow(
    clippy::too_many_arguments,
    reason = "all of it is decided by now, and each is used once"
)]
fn work(
    grant: Grant,
    door: &Door,
    command: &[OsString],
    day: String,
    policy: Policy,
    args: &Run,
    signals: &mut Signals,
    story: &mut ResultJson,
) -> Result<u8, Failure> {
    let environment = Environment::new(&door.flowlock, &grant, &door.place, day)?;
    let pulse = door.flowlock.pulse().filter(|_| !args.close);
    let descriptor = pulse
        .as_ref()
        .and_then(|pulse| pulse.descriptor.as_ref())
        .map(|d| d.as_fd());
    let mut watched = Watched::new(&grant, policy)?;
    let started = watched.run(command, &environment, descriptor, signals);
    let mut ended = match started {
        Ok(ended) => ended,
        Err(failure) => {
            drop(watched);
            grant.fail();
            return Err(failure);
        }
    };
    story.command_exit_code = Some(ended.code);
    if let (
        Some(check),
        Ended {
            code: 0,
            killed: false,
        },
    ) = (&args.check, ended)
    {
        let shell = [OsString::from("sh"), OsString::from("-c"), check.clone()];
        ended = watched.run(&shell, &environment, descriptor, signals)?;
        if ended.code != 0 && !ended.killed {
            terminal::say(&format!(
                "--check failed with exit code {}; outputs are not recorded as written",
                ended.code
            ));
        }
    }
    drop(watched);
    finish(grant, door, ended, &environment, args, story)
}

fn finish(
    grant: Grant,
    door: &Door,
    ended: Ended,
    environment: &Environment,
    args: &Run,
    story: &mut ResultJson,
) -> Result<u8, Failure> {
    if ended.killed {
        let by = grant.lost().map_or("its lease ended", |by| by.as_str());
        let message = format!(
            "{} lost its names ({by}); its outputs are not recorded as written",
            grant.run_id()
        );
        grant.fail();
        return Err(Failure::new(exit::LOST, "lost", message).at(&door.place));
    }
    if ended.code != 0 {
        story.outcome = "failed";
        grant.fail();
        return Ok(ended.code);
    }
    let note = environment.note()?.or_else(|| args.note.clone());
    let committed = match &note {
        Some(note) => grant.commit_with(note),
        None => grant.commit(),
    };
    match committed {
        Ok(committed) => {
            story.outcome = if committed.late {
                "committed_late"
            } else {
                "committed"
            };
            Ok(exit::OK)
        }
        Err(error @ Error::InvalidRequest { .. }) => Err(Failure::usage(format!(
            "{error}; outputs are not recorded as written"
        ))),
        Err(error) => Err(door.failure(error)),
    }
}
