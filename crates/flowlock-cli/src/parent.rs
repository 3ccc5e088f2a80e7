//! The run on whose behalf a command asks: a `flowlock run` inside another one is its child.

use flowlock::store::{Content, View};
use flowlock::{Parent, RunId, State};

use crate::context::Context;
use crate::exit::Failure;

/// The id of the run that a command is part of.
pub(crate) const RUN_ID: &str = "FLOWLOCK_RUN_ID";
/// The proof of it. Everybody can read run ids, so an id alone makes no process a child.
pub(crate) const PROOF: &str = "FLOWLOCK_PARENT_PROOF";

/// Returns the parent that the environment names and proves. A missing or wrong proof makes no parent.
pub(crate) fn from_environment() -> Result<Option<Parent>, Failure> {
    let Some(run) = named()? else { return Ok(None) };
    let proof = std::env::var(PROOF).ok();
    Ok(proof.and_then(|proof| Parent::with_proof(run, &proof).ok()))
}

/// Returns the warning for a waiting command whose environment names a living run without a valid proof.
/// If that run is in its way, the command would wait for ever.
pub(crate) fn doubt(context: &Context) -> Option<String> {
    let run = named().ok()??;
    let Content::Run(Some(found)) = context.flowlock.view(&View::Run(run.clone())).ok()?.content else {
        return None;
    };
    let is_parent = || from_environment().ok().flatten() == Some(Parent::from(&found.run.attempt));
    if found.run.state != State::Running || is_parent() {
        return None;
    }
    let proof = if std::env::var_os(PROOF).is_some() { "does not prove it" } else { "is missing" };
    Some(format!("waits independently, not as part of {run}: {RUN_ID} names that run, but {PROOF} {proof}"))
}

fn named() -> Result<Option<RunId>, Failure> {
    let Some(run) = std::env::var_os(RUN_ID).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let run = run.to_str().and_then(|id| RunId::parse(id).ok());
    run.map(Some)
        .ok_or_else(|| Failure::usage(format!("{RUN_ID} in the environment is not a run id; unset it")))
}
