//! A step, or a view, as the arguments of a script.

use crate::bounds::MOST_EXPLAINED;
use crate::claim::{Mode, Space};
use crate::name::Name;
use crate::origin::{Holder, Origin};
use crate::spec::{IfWritten, OnFail};
use crate::step::{Acquire, Holders, Patience, Sent, Step, Unlock, Who};
use crate::store::View;
use crate::view::MOST_NAMES;

use super::rows::{NOTE, nonce_text, pack_spec, place_field, ticket_text};
use super::script::{Script, Scripts};

/// The largest answer that names ten runs, or says what became of five hundred, in bytes.
const PLAIN: usize = 1 << 20;
/// The same for a record.
const RECORD: usize = 64 << 10;

/// The arguments of a script.
pub(super) type Arguments = Vec<Vec<u8>>;

/// Returns the script that carries out a step.
pub(super) fn script_of<'s>(scripts: &'s Scripts, step: &Step) -> &'s Script {
    match step {
        Step::Acquire(_) => &scripts.acquire,
        Step::Create { .. } => &scripts.create,
        _ => &scripts.step,
    }
}

/// Returns the first arguments of every call: the operation, the epoch in case the namespace is new, and
/// the pause after another server took over.
pub(super) fn head(what: &str, epoch: [u8; 16], pause_ms: u64) -> Arguments {
    vec![what.into(), epoch.into(), pause_ms.to_string().into()]
}

/// Returns the word for a step.
pub(super) fn name_of(step: &Step) -> &'static str {
    match step {
        Step::Acquire(_) => "acquire",
        Step::Accept { .. } => "accept",
        Step::Refresh(_) => "refresh",
        Step::Commit { .. } => "commit",
        Step::Fail(_) => "fail",
        Step::Cancel { .. } => "cancel",
        Step::GiveBack(_) => "give_back",
        Step::Heartbeat { .. } => "heartbeat",
        Step::Bury(_) => "bury",
        Step::Detach(_) => "detach",
        Step::Create { .. } => "create",
        Step::Remove { .. } => "remove",
        Step::Unlock { .. } => "unlock",
        Step::RemoveNamespace { .. } => "remove_namespace",
    }
}

/// Adds the arguments of a step.
pub(super) fn add_step(arguments: &mut Arguments, step: &Step) {
    match step {
        Step::Acquire(request) => add_request(arguments, request),
        Step::Accept { attempt, holder } => {
            add_who(arguments, &Who::from(attempt));
            add_holder(arguments, holder);
        }
        Step::Refresh(runs) => {
            arguments.push((2 * runs.len()).to_string().into());
            for who in runs {
                add_who(arguments, who);
            }
        }
        Step::Commit { who, note } => {
            add_who(arguments, who);
            arguments.push(note_word(note.as_deref()));
        }
        Step::Fail(who) => add_who(arguments, who),
        Step::Cancel { attempt, latest_ms } => {
            add_who(arguments, &Who::from(attempt));
            arguments.push(latest_ms.to_string().into());
        }
        Step::Heartbeat { client, from, explain } => {
            arguments.extend([client.to_string().into(), ticket_text(*from).into()]);
            let explain = &explain[..explain.len().min(MOST_EXPLAINED)];
            arguments.push(explain.len().to_string().into());
            arguments.extend(explain.iter().map(|run| run.as_str().into()));
        }
        Step::Bury(tickets) => {
            arguments.push(tickets.len().to_string().into());
            arguments.extend(tickets.iter().map(|ticket| ticket_text(*ticket).into()));
        }
        Step::Detach(attempt) | Step::GiveBack(attempt) => add_who(arguments, &Who::from(attempt)),
        Step::Create { names, spec, run, note, holders, sent, .. } => {
            let liveness = spec.record_life_ms.map_or(String::new(), |ms| ms.to_string());
            arguments.push(holders_word(*holders));
            arguments.extend([run.as_str().into(), spec.job.as_str().into(), liveness.into()]);
            arguments.push(note_word(note.as_deref()));
            add_names(arguments, names);
            add_versions(arguments, sent);
        }
        Step::Remove { names, holders, sent, .. } => {
            arguments.push(holders_word(*holders));
            add_names(arguments, names);
            add_versions(arguments, sent);
        }
        Step::Unlock { run, token, how, .. } => {
            let how = match how {
                Unlock::Now => "now",
                Unlock::WhenAcknowledged => "when_acknowledged",
            };
            arguments.extend([run.as_str().into(), token.to_string().into(), how.into()]);
        }
        Step::RemoveNamespace { .. } => {}
    }
    if let Step::Commit { .. }
    | Step::Fail(_)
    | Step::Create { .. }
    | Step::Remove { .. }
    | Step::Unlock { .. }
    | Step::RemoveNamespace { .. } = step
    {
        arguments.push(step.actor().map(|origin| origin_word(origin)).unwrap_or_default());
    }
}

/// Returns the largest possible size of the answer, in bytes. A record takes up to 64 KiB: its versions
/// of inputs, its note, names and ids of 512 bytes.
pub(super) fn most_for(step: &Step) -> usize {
    match step {
        // The blockers, or the inputs.
        Step::Acquire(request) => PLAIN + RECORD * request.spec.claims.inputs().count(),
        Step::Accept { .. } => PLAIN + RECORD * 1_000,
        // A thousand runs, and why they wait for the first few.
        Step::Heartbeat { .. } => 32 * PLAIN,
        _ => PLAIN,
    }
}

/// The same for a view.
pub(super) fn most_to_see(view: &View) -> usize {
    match view {
        // With their claims of up to 256 KiB.
        View::Runs { limit, .. } => (*limit).min(1_000) * (PLAIN / 2) + PLAIN,
        View::Run(_) | View::Attempt(_) => 2 * PLAIN,
        View::Namespace => PLAIN,
        View::Records { limit, .. } => limit.saturating_mul(RECORD).saturating_add(PLAIN),
        // With the runs that hold them and wait for them.
        View::Names(names) => names.len() * PLAIN + PLAIN,
    }
}

fn add_request(arguments: &mut Arguments, request: &Acquire) {
    add_who(arguments, &Who::from(&request.attempt));
    arguments.push(pack_spec(&request.spec));
    add_holder(arguments, &request.holder);
    let patience = match request.patience {
        Patience::Try => "t".to_owned(),
        Patience::HoldPlace(ms) => format!("p{ms}"),
        Patience::Wait(Some(ms)) => format!("w{ms}"),
        Patience::Wait(None) => "f".to_owned(),
    };
    arguments.extend([patience.into(), request.latest_ms.to_string().into()]);
    add_short_way(arguments, request);
}

/// The most claims of a request that may take the fast path.
const MOST_ORDINARY: usize = 50;

/// Adds what `lua/short/acquire.lua` needs: fields of the namespace's hash, so that the script reads
/// them at once.
fn add_short_way(arguments: &mut Arguments, request: &Acquire) {
    let spec = &request.spec;
    let is_ordinary = spec.claims.len() <= MOST_ORDINARY
        && spec.if_written == IfWritten::Overwrite
        && spec.on_fail == OnFail::Keep
        && spec.parent.is_none()
        && !spec.claims.iter().any(|claim| claim.space == Space::Slot);
    if !is_ordinary {
        arguments.push(Vec::new());
        return;
    }
    let (shared, exclusive): (Vec<_>, Vec<_>) =
        spec.claims.iter().partition(|claim| claim.mode == Mode::Shared);
    let inputs = spec.claims.inputs().count();
    let (id, nonce) = (request.attempt.id.as_str(), nonce_text(request.attempt.nonce));
    arguments.extend([shared.len(), exclusive.len(), inputs].map(|n| n.to_string().into()));
    arguments.extend([spec.job.as_str().into(), spec.lease_ms.to_string().into()]);
    arguments.push(spec.max_runtime_ms.map_or(String::new(), |ms| ms.to_string()).into());
    arguments.extend([["n", &nonce, id].concat().into(), ["i", id].concat().into()]);
    arguments.extend(shared.iter().chain(&exclusive).map(|claim| place_field('h', claim).into()));
    arguments.extend(spec.claims.inputs().map(|claim| ["o", claim.name.as_str()].concat().into()));
}

/// Adds a run's id and its nonce; an empty nonce for a run that is operated by its id alone.
fn add_who(arguments: &mut Arguments, who: &Who) {
    arguments.push(who.run.as_str().into());
    arguments.push(who.nonce.map(nonce_text).unwrap_or_default().into());
}

fn add_holder(arguments: &mut Arguments, holder: &Holder) {
    arguments.push(holder.client.to_string().into());
    arguments.push(holder.liveness.map_or(String::new(), |liveness| liveness.0.to_string()).into());
    arguments.push(origin_word(&holder.origin));
}

fn origin_word(origin: &Origin) -> Vec<u8> {
    // A host, two numbers and two texts: this cannot fail.
    serde_json::to_vec(origin).unwrap_or_default()
}

fn add_names(arguments: &mut Arguments, names: &[Name]) {
    arguments.push(names.len().to_string().into());
    arguments.extend(names.iter().map(|name| name.as_str().into()));
}

/// Adds the number of versions, then each; none if the step is sent for the first time.
fn add_versions(arguments: &mut Arguments, sent: &Sent) {
    let versions = match sent {
        Sent::First => &[][..],
        Sent::Again(versions) => versions,
    };
    arguments.push(versions.len().to_string().into());
    arguments.extend(versions.iter().map(|version| version.to_string().into()));
}

fn holders_word(holders: Holders) -> Vec<u8> {
    match holders {
        Holders::Respect => "respect".into(),
        Holders::Break => "break".into(),
    }
}

fn note_word(note: Option<&str>) -> Vec<u8> {
    note.map_or_else(|| "-".into(), |note| [&[NOTE], note.as_bytes()].concat())
}

/// Returns the word for a view, and its arguments.
pub(super) fn view_arguments(view: &View) -> (&'static str, Arguments) {
    let number = |n: usize| n.to_string().into_bytes();
    match view {
        View::Runs { job, from, limit } => {
            let job = job.as_ref().map_or("", |job| job.as_str());
            ("runs", vec![job.into(), ticket_text(*from).into(), number(*limit)])
        }
        View::Run(id) => ("run", vec![format!("i{}", id.as_str()).into()]),
        View::Attempt(attempt) => {
            ("run", vec![format!("n{}{}", nonce_text(attempt.nonce), attempt.id.as_str()).into()])
        }
        View::Records { prefix, after, limit } => {
            let begin = match after {
                Some(after) if after.as_str() >= prefix.as_str() => format!("({}", after.as_str()),
                _ => format!("[{prefix}"),
            };
            ("records", vec![prefix.as_str().into(), begin.into(), number(*limit)])
        }
        View::Namespace => ("namespace", Vec::new()),
        View::Names(names) => {
            let mut arguments = Vec::new();
            add_names(&mut arguments, &names[..names.len().min(MOST_NAMES)]);
            ("names", arguments)
        }
    }
}
