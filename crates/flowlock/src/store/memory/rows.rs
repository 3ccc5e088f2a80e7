//! A namespace's tables as ordered maps.

use std::collections::{BTreeMap, BTreeSet};

use crate::claim::{Mode, Space};
use crate::engine::tables::{
    BacklogRows, Census, ClientRows, Hint, Meta, Part, PlaceRows, RecordRows, Result, RunRows, Stake, Tables,
    Vitals, Which,
};
use crate::id::{Attempt, ClientId, Ticket};
use crate::name::{Name, RunId};
use crate::record::Record;
use crate::rule::Crowd;
use crate::run::{Resource, RowKind, Run, State};
use crate::step::Wake;

/// The tables. Searches are plain scans: this is the reference, not the fast store.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    meta: Meta,
    runs: BTreeMap<Ticket, Run>,
    attempts: BTreeMap<Attempt, Ticket>,
    standing: BTreeMap<Resource, BTreeMap<Ticket, Mode>>,
    lapsed: BTreeMap<Resource, BTreeMap<Ticket, Mode>>,
    line: BTreeMap<Resource, BTreeMap<Ticket, Mode>>,
    parked: BTreeMap<Resource, BTreeSet<Ticket>>,
    hints: BTreeSet<Hint>,
    dirty: BTreeSet<Resource>,
    records: BTreeMap<Name, Record>,
    guards: BTreeMap<Name, BTreeSet<Ticket>>,
    heard: BTreeMap<ClientId, i64>,
    of_client: BTreeMap<ClientId, BTreeSet<Ticket>>,
}

impl Rows {
    fn which(&mut self, which: Which) -> &mut BTreeMap<Resource, BTreeMap<Ticket, Mode>> {
        match which {
            Which::Standing => &mut self.standing,
            Which::Lapsed => &mut self.lapsed,
        }
    }

    fn stakes(&self, place: &Resource, part: Part) -> impl DoubleEndedIterator<Item = Stake> {
        let line = self.line.get(place).into_iter();
        line.flat_map(move |line| line.range(part.from..part.before))
            .map(|(&ticket, &mode)| Stake { ticket, mode })
            .filter(move |stake| !part.exclusive_only || stake.mode == Mode::Exclusive)
    }
}

/// Returns the earliest `limit` of those that are due.
fn earliest<K: Ord>(due: impl Iterator<Item = (i64, K)>, upto: i64, limit: usize) -> Vec<(i64, K)> {
    let mut due: Vec<_> = due.filter(|(at, _)| *at <= upto).collect();
    due.sort();
    due.truncate(limit);
    due
}

/// Removes `value` from the set at `key`, and the set with its last value.
fn remove_from<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

fn remove_stake(lines: &mut BTreeMap<Resource, BTreeMap<Ticket, Mode>>, place: &Resource, ticket: Ticket) {
    if let Some(line) = lines.get_mut(place) {
        line.remove(&ticket);
        if line.is_empty() {
            lines.remove(place);
        }
    }
}

impl Tables for Rows {
    fn meta(&mut self) -> Result<Meta> {
        Ok(self.meta.clone())
    }
    fn set_meta(&mut self, meta: &Meta) -> Result<()> {
        self.meta = meta.clone();
        Ok(())
    }
    fn next_due(&mut self, silence_ms: i64) -> Result<Option<i64>> {
        let runs = self.runs.values().filter_map(Run::due_ms);
        Ok(runs.chain(self.heard.values().map(|at| at + silence_ms)).min())
    }
    fn census(&mut self) -> Result<Census> {
        let living = self.runs.values().filter(|run| run.forget_ms.is_none()).count();
        let records = self.records.values().filter(|record| record.state.is_written()).count();
        let outcomes = self.runs.len() - living;
        Ok(Census { living: living as u64, outcomes: outcomes as u64, records: records as u64 })
    }
}

impl RunRows for Rows {
    fn run(&mut self, ticket: Ticket) -> Result<Option<Run>> {
        Ok(self.runs.get(&ticket).cloned())
    }
    fn vitals(&mut self, ticket: Ticket) -> Result<Option<Vitals>> {
        let vitals = |run: &Run| Vitals {
            liveness: run.holder.liveness,
            deadline_ms: run.deadline_ms,
            revoked: run.revoked,
        };
        Ok(self.runs.get(&ticket).map(vitals))
    }
    fn wake(&mut self, ticket: Ticket) -> Result<Option<Wake>> {
        Ok(self.runs.get(&ticket).map(Wake::for_run))
    }
    fn by_attempt(&mut self, attempt: &Attempt) -> Result<Option<Run>> {
        Ok(self.attempts.get(attempt).and_then(|ticket| self.runs.get(ticket)).cloned())
    }
    fn living(&mut self, id: &RunId) -> Result<Option<Run>> {
        Ok(self
            .runs
            .values()
            .find(|run| run.attempt.id == *id && !matches!(run.state, State::Ended(_)))
            .cloned())
    }
    fn insert_run(&mut self, run: &Run) -> Result<()> {
        self.attempts.insert(run.attempt.clone(), run.ticket);
        self.update_run(run)
    }
    fn update_run(&mut self, run: &Run) -> Result<()> {
        self.runs.insert(run.ticket, run.clone());
        Ok(())
    }
    fn delete_run(&mut self, ticket: Ticket) -> Result<()> {
        if let Some(run) = self.runs.remove(&ticket) {
            self.attempts.remove(&run.attempt);
        }
        Ok(())
    }
    fn living_runs(&mut self, from: Ticket, limit: usize) -> Result<Vec<Run>> {
        let living =
            self.runs.range(from..).map(|(_, run)| run).filter(|run| !matches!(run.state, State::Ended(_)));
        Ok(living.take(limit).cloned().collect())
    }
    fn latest_run(&mut self, id: &RunId) -> Result<Option<Run>> {
        Ok(self.runs.values().rev().find(|run| run.attempt.id == *id && run.kind == RowKind::Run).cloned())
    }
    fn due_runs(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>> {
        let due = self.runs.values().filter_map(|run| Some((run.due_ms()?, run.ticket)));
        Ok(earliest(due, upto_ms, limit))
    }
    fn forgettable(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>> {
        let due = self.runs.values().filter_map(|run| Some((run.forget_ms?, run.ticket)));
        Ok(earliest(due, upto_ms, limit))
    }
    fn next_forget(&mut self) -> Result<Option<i64>> {
        Ok(self.runs.values().filter_map(|run| run.forget_ms).min())
    }
    fn last_forget(&mut self) -> Result<Option<i64>> {
        Ok(self.runs.values().filter_map(|run| run.forget_ms).max())
    }
}

impl PlaceRows for Rows {
    fn hold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()> {
        self.which(which).entry(place.clone()).or_default().insert(stake.ticket, stake.mode);
        Ok(())
    }
    fn unhold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()> {
        remove_stake(self.which(which), place, stake.ticket);
        Ok(())
    }
    fn holds(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<bool> {
        let mode = self.which(which).get(place).and_then(|holders| holders.get(&stake.ticket));
        Ok(mode == Some(&stake.mode))
    }
    fn held(&mut self, space: Space, name: &Name, which: Which) -> Result<Crowd> {
        let holders =
            self.which(which).get(&Resource::of(space, name)).into_iter().flat_map(BTreeMap::values);
        Ok(holders.fold(Crowd::NOBODY, |crowd, &mode| crowd.with(mode)))
    }
    fn holders(&mut self, place: &Resource, which: Which, limit: usize) -> Result<Vec<Stake>> {
        let holders = self.which(which).get(place).into_iter().flatten();
        Ok(holders.map(|(&ticket, &mode)| Stake { ticket, mode }).take(limit).collect())
    }
    fn enqueue(&mut self, place: &Resource, stake: Stake) -> Result<()> {
        self.line.entry(place.clone()).or_default().insert(stake.ticket, stake.mode);
        Ok(())
    }
    fn dequeue(&mut self, place: &Resource, stake: Stake) -> Result<()> {
        remove_stake(&mut self.line, place, stake.ticket);
        Ok(())
    }
    fn ahead(&mut self, space: Space, name: &Name, before: Ticket, enough: u64) -> Result<Crowd> {
        let mut crowd = Crowd::NOBODY;
        for stake in
            self.stakes(&Resource::of(space, name), Part { from: Ticket(0), before, exclusive_only: false })
        {
            crowd = crowd.with(stake.mode);
            if space == Space::Slot && crowd.units > enough {
                break;
            }
        }
        Ok(crowd)
    }
    fn line(&mut self, place: &Resource, part: Part, limit: usize) -> Result<Vec<Stake>> {
        Ok(self.stakes(place, part).take(limit).collect())
    }
    fn last_in_line(&mut self, place: &Resource, part: Part) -> Result<Option<Ticket>> {
        Ok(self.stakes(place, part).next_back().map(|stake| stake.ticket))
    }
    fn park(&mut self, place: &Resource, ticket: Ticket) -> Result<()> {
        self.parked.entry(place.clone()).or_default().insert(ticket);
        Ok(())
    }
    fn unpark(&mut self, place: &Resource, ticket: Ticket) -> Result<()> {
        remove_from(&mut self.parked, place, &ticket);
        Ok(())
    }
    fn first_parked(&mut self, place: &Resource) -> Result<Option<Ticket>> {
        Ok(self.parked.get(place).and_then(BTreeSet::first).copied())
    }
}

impl BacklogRows for Rows {
    fn hints(&mut self, after: Option<&Hint>, limit: usize) -> Result<Vec<Hint>> {
        let behind = self.hints.iter().filter(|hint| after.is_none_or(|after| *hint > after));
        Ok(behind.take(limit).cloned().collect())
    }
    fn add_hint(&mut self, hint: &Hint) -> Result<()> {
        self.hints.insert(hint.clone());
        Ok(())
    }
    fn remove_hint(&mut self, hint: &Hint) -> Result<()> {
        self.hints.remove(hint);
        Ok(())
    }
    fn is_dirty(&mut self, place: &Resource) -> Result<bool> {
        Ok(self.dirty.contains(place))
    }
    fn set_dirty(&mut self, place: &Resource, is_dirty: bool) -> Result<()> {
        if is_dirty {
            self.dirty.insert(place.clone());
        } else {
            self.dirty.remove(place);
        }
        Ok(())
    }
}

impl RecordRows for Rows {
    fn record(&mut self, name: &Name) -> Result<Option<Record>> {
        Ok(self.records.get(name).cloned())
    }
    fn put_record(&mut self, record: &Record) -> Result<()> {
        self.records.insert(record.name.clone(), record.clone());
        Ok(())
    }
    fn delete_record(&mut self, name: &Name) -> Result<()> {
        self.records.remove(name);
        Ok(())
    }
    fn due_records(&mut self, upto_us: i64, limit: usize) -> Result<Vec<(i64, Name)>> {
        let due =
            self.records.values().filter_map(|record| Some((record.expires_at_us?, record.name.clone())));
        Ok(earliest(due, upto_us, limit))
    }
    fn next_expiry(&mut self) -> Result<Option<i64>> {
        Ok(self.records.values().filter_map(|record| record.expires_at_us).min())
    }
    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Record>> {
        let all = self.records.values().filter(|record| record.state.is_written());
        let page =
            all.filter(|record| record.name.as_str().starts_with(prefix) && Some(&record.name) > after);
        Ok(page.take(limit).cloned().collect())
    }
    fn guard(&mut self, name: &Name, ticket: Ticket) -> Result<()> {
        self.guards.entry(name.clone()).or_default().insert(ticket);
        Ok(())
    }
    fn unguard(&mut self, name: &Name, ticket: Ticket) -> Result<()> {
        remove_from(&mut self.guards, name, &ticket);
        Ok(())
    }
    fn next_guard(&mut self, name: &Name, from: Ticket) -> Result<Option<Ticket>> {
        Ok(self.guards.get(name).and_then(|tickets| tickets.range(from..).next()).copied())
    }
}

impl ClientRows for Rows {
    fn heard(&mut self, client: ClientId) -> Result<Option<i64>> {
        Ok(self.heard.get(&client).copied())
    }
    fn set_heard(&mut self, client: ClientId, at_ms: i64) -> Result<()> {
        self.heard.insert(client, at_ms);
        Ok(())
    }
    fn forget_client(&mut self, client: ClientId) -> Result<()> {
        self.heard.remove(&client);
        Ok(())
    }
    fn silent_clients(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, ClientId)>> {
        Ok(earliest(self.heard.iter().map(|(&client, &at)| (at, client)), upto_ms, limit))
    }
    fn add_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()> {
        self.of_client.entry(client).or_default().insert(ticket);
        Ok(())
    }
    fn remove_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()> {
        remove_from(&mut self.of_client, &client, &ticket);
        Ok(())
    }
    fn of_client(&mut self, client: ClientId, from: Ticket, limit: usize) -> Result<Vec<Ticket>> {
        let tickets = self.of_client.get(&client).into_iter().flat_map(|tickets| tickets.range(from..));
        Ok(tickets.take(limit).copied().collect())
    }
    fn reserving(&mut self, client: ClientId, limit: usize) -> Result<Vec<Ticket>> {
        let tickets = self.of_client.get(&client).into_iter().flatten();
        let runs = tickets.filter_map(|ticket| self.runs.get(ticket));
        let reserve = runs.filter(|run| run.state.is_waiting() && run.present && run.place_end_ms.is_none());
        Ok(reserve.take(limit).map(|run| run.ticket).collect())
    }
}
