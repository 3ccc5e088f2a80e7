//! Answers and blockers as words, so that a case can compare them whole.

use flowlock::step::{Answer, Cancelled, Finished, InUse, Invalid, Refreshed, Standing};
use flowlock::{Blocker, Outcome};

pub(super) fn blocker(blocker: &Blocker) -> String {
    let by = blocker.by.as_ref().map(|by| format!(" by {}", by.run)).unwrap_or_default();
    format!("{} {}{by}", blocker.kind.as_str(), blocker.name)
}

/// Returns an answer in one word.
pub(super) fn word(answer: &Answer) -> String {
    match answer {
        Answer::Standing(Standing::Waiting(waiting)) if waiting.present => waiting.state.as_str().into(),
        Answer::Standing(Standing::Waiting(waiting)) => format!("{}, absent", waiting.state.as_str()),
        Answer::Standing(Standing::StillWaiting { state, present: true }) => state.as_str().into(),
        Answer::Standing(Standing::StillWaiting { state, .. }) => format!("{}, absent", state.as_str()),
        Answer::Standing(Standing::Granted { .. }) => "granted".into(),
        Answer::Standing(Standing::Running(_)) => "running".into(),
        Answer::Standing(Standing::AskAgain) | Answer::Finished(Finished::AskAgain) => "ask_again".into(),
        Answer::Refreshed(all) => all.iter().map(refreshed).collect::<Vec<_>>().join(", "),
        Answer::Finished(Finished::Ended { outcome: Outcome::Committed, late: true }) => {
            "committed late".into()
        }
        Answer::Finished(Finished::Ended { outcome, .. })
        | Answer::Standing(Standing::Ended { outcome, .. }) => outcome.as_str().into(),
        Answer::Finished(Finished::NotAccepted) => "not_claimed".into(),
        Answer::Finished(Finished::NotFound) | Answer::NotFound => "not_found".into(),
        Answer::Cancelled(Cancelled::Withdrawn) => "withdrawn".into(),
        Answer::Cancelled(Cancelled::TooLate(state)) => format!("too late: {}", state.as_str()),
        Answer::Done => "done".into(),
        Answer::InUse(InUse::Runs) => "in use: runs".into(),
        Answer::InUse(InUse::Records) => "in use: records".into(),
        Answer::InUse(InUse::Outcomes { remembered_ms }) => format!("in use: outcomes, {remembered_ms} ms"),
        Answer::Refused(blocked) if blocked.by.is_empty() => {
            format!("refused, again in {:?}", blocked.retry_after_ms)
        }
        Answer::Refused(blocked) => blocked.by.iter().map(blocker).collect::<Vec<_>>().join(", "),
        Answer::Invalid(Invalid::RunIdInUse) => "run_id_in_use".into(),
        Answer::Invalid(Invalid::RunIdReused) => "run_id_reused".into(),
        Answer::Invalid(Invalid::ArrivedTooLate) => "arrived_too_late".into(),
        Answer::Invalid(Invalid::LatestTooFar) => "latest_too_far".into(),
        other => format!("{other:?}"),
    }
}

fn refreshed(answer: &Refreshed) -> String {
    match answer {
        Refreshed::Held { late: true, .. } => "held late".into(),
        Refreshed::Held { .. } => "held".into(),
        Refreshed::MaxRuntime { .. } => "max_runtime".into(),
        Refreshed::AskAgain => "ask_again".into(),
        Refreshed::Over(outcome) => outcome.as_str().into(),
        Refreshed::NotRunning => "not_running".into(),
        Refreshed::NotFound => "not_found".into(),
    }
}
