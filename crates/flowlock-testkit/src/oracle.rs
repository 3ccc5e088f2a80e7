//! A second opinion on who may run, computed only from the list of runs and records.
//!
//! It is deliberately slow and simple, and shares no code with the engine or its rule: no indexes, no
//! parking, no remembered answers. If the two differ, one of them is wrong.

use std::collections::{BTreeMap, HashMap};

use flowlock::{
    Attempt, Claim, Claims, ClientId, IfWritten, Mode, Name, Now, Record, RecordState, Run, State, Ticket,
};

/// How long a waiting run's process may be silent, in milliseconds.
pub(crate) const SILENCE_MS: i64 = 10_000;

/// How long a run without a sign of life is kept, in milliseconds.
const ABANDONED_AFTER_MS: i64 = 600_000;

/// The content of a namespace at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Every run that has not ended, by ticket.
    pub(crate) runs: Vec<Run>,
    /// Every written record.
    pub(crate) records: BTreeMap<Name, Record>,
}

/// What a test knows without asking the store: when each client was last heard, and how long each run
/// may wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Knowledge {
    pub(crate) heard: HashMap<ClientId, i64>,
    pub(crate) patience: HashMap<Attempt, Patience>,
}

/// Until when a run waits, and until when it holds its place (boot clock).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    pub(crate) wait_end: Option<i64>,
    pub(crate) place_end: Option<i64>,
}

/// A namespace at one moment, to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'s> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) knowledge: &'s Knowledge,
    pub(crate) now: Now,
}

impl<'s> Scene<'s> {
    pub(crate) fn run(&self, ticket: Ticket) -> Option<&'s Run> {
        self.snapshot.runs.iter().find(|run| run.ticket == ticket)
    }

    /// Returns whether the name has a live record that has not expired.
    pub(crate) fn is_live(&self, name: &Name) -> bool {
        self.snapshot.records.get(name).is_some_and(|record| {
            record.state == RecordState::Live && record.expires_at_us.is_none_or(|end| end > self.now.wall_us)
        })
    }

    pub(crate) fn inputs_are_live(&self, claims: &Claims) -> bool {
        claims.iter().filter(|claim| claim.must_exist).all(|claim| self.is_live(&claim.name))
    }

    pub(crate) fn output_exists(&self, claims: &Claims, if_written: IfWritten) -> bool {
        let is_output = |claim: &Claim| claim.mode == Mode::Exclusive && claim.space == flowlock::Space::Data;
        if_written != IfWritten::Overwrite
            && claims.iter().any(|claim| is_output(claim) && self.is_live(&claim.name))
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &'s Run> + use<'s> {
        self.snapshot.runs.iter().filter(|run| holds(run))
    }

    /// Returns whether its deadline has passed, whether or not the store has noticed.
    pub(crate) fn is_lapsed(&self, run: &Run) -> bool {
        run.deadline_ms.is_some_and(|deadline| deadline <= self.now.boot_ms)
    }

    /// Returns the holders that can be in another's way.
    fn in_force(&self) -> impl Iterator<Item = &'s Run> + use<'s, '_> {
        self.holders().filter(|run| !self.is_lapsed(run))
    }

    pub(crate) fn patience(&self, run: &Run) -> Patience {
        self.knowledge.patience.get(&run.attempt).copied().unwrap_or_default()
    }

    pub(crate) fn is_over(&self, run: &Run) -> bool {
        let patience = self.patience(run);
        [patience.wait_end, patience.place_end].into_iter().flatten().any(|end| end <= self.now.boot_ms)
    }

    /// Returns whether no process has asked for it for so long that it is given up; a run with a limit
    /// is kept until then.
    pub(crate) fn is_abandoned(&self, run: &Run) -> bool {
        self.patience(run).wait_end.is_none()
            && run.absent_since_ms.is_some_and(|since| since + ABANDONED_AFTER_MS <= self.now.boot_ms)
    }

    /// Returns whether its process was silent for too long. A held place is kept until its end.
    pub(crate) fn is_silent(&self, run: &Run) -> bool {
        let heard = self.knowledge.heard.get(&run.holder.client);
        self.patience(run).place_end.is_none()
            && heard.is_none_or(|heard| heard + SILENCE_MS <= self.now.boot_ms)
    }

    /// Returns the runs that are queued by definition: they wait, are present, may go on waiting, and
    /// only other runs are in the way.
    pub(crate) fn truly_queued(&self) -> Vec<&'s Run> {
        let queued = |run: &&Run| {
            waits(run)
                && run.present
                && !self.is_over(run)
                && !self.is_silent(run)
                && self.inputs_are_live(&run.spec.claims)
                && !self.output_exists(&run.spec.claims, run.spec.if_written)
        };
        self.snapshot.runs.iter().filter(queued).collect()
    }

    /// Returns whether an ancestor holds the claimed name shared, and the claim is shared too.
    pub(crate) fn is_exempt(&self, ancestors: &[Ticket], claim: &Claim) -> bool {
        let shares = |ticket: &Ticket| {
            self.run(*ticket).is_some_and(|ancestor| {
                holds(ancestor)
                    && !ancestor.revoked
                    && on_same_name(ancestor, claim).any(|held| held.mode == Mode::Shared)
            })
        };
        claim.mode == Mode::Shared && ancestors.iter().any(shares)
    }

    /// Returns a claim that holders block.
    pub(crate) fn blocked_by_holders(&self, asker: &Asker<'_>) -> Option<&'s Claim> {
        asker.claims.iter().find_map(|claim| {
            let held: Vec<&'s Claim> = self
                .in_force()
                .filter(|run| run.ticket != asker.ticket)
                .flat_map(|run| on_same_name(run, claim))
                .collect();
            match claim.mode {
                Mode::Units { .. } if fits(claim, &held) => None,
                Mode::Units { .. } => held.first().copied(),
                _ => held.into_iter().find(|held| clash(claim.mode, held.mode)),
            }
        })
    }

    /// Returns a claim that a queued run ahead blocks.
    pub(crate) fn blocked_by_queue(&self, asker: &Asker<'_>, queued: &[&'s Run]) -> Option<&'s Claim> {
        asker.claims.iter().find_map(|claim| {
            let ahead: Vec<&'s Claim> = queued
                .iter()
                .filter(|run| run.ticket < asker.ticket)
                .flat_map(|run| on_same_name(run, claim))
                .collect();
            match claim.mode {
                Mode::Units { .. } if ahead.is_empty() => None,
                Mode::Units { .. } => {
                    let held = self.in_force().filter(|run| run.ticket != asker.ticket);
                    let all: Vec<&Claim> =
                        held.flat_map(|run| on_same_name(run, claim)).chain(ahead.iter().copied()).collect();
                    (!fits(claim, &all)).then_some(ahead[0])
                }
                _ if self.is_exempt(asker.ancestors, claim) => None,
                _ => ahead.into_iter().find(|ahead| clash(claim.mode, ahead.mode)),
            }
        })
    }

    /// Returns the queued runs with nothing in the way: by L1 there are none once a step is done.
    pub(crate) fn eligible(&self) -> Vec<&'s Run> {
        let queued = self.truly_queued();
        let free = |run: &&&Run| {
            let asker = Asker::of(run);
            self.blocked_by_holders(&asker).is_none() && self.blocked_by_queue(&asker, &queued).is_none()
        };
        queued.iter().filter(free).copied().collect()
    }

    /// Returns whether a new request would wait for its own ancestors: they must write a missing input,
    /// or their claims together exclude one of its own, alone or with those of the runs ahead that they
    /// also exclude.
    pub(crate) fn is_deadlock(&self, asker: &Asker<'_>) -> bool {
        let holding =
            || asker.ancestors.iter().filter_map(|ticket| self.run(*ticket)).filter(|run| holds(run));
        let writes = |name: &Name| {
            holding().flat_map(|run| run.spec.claims.iter()).any(|claim| {
                claim.space == flowlock::Space::Data && claim.mode == Mode::Exclusive && claim.name == *name
            })
        };
        let mut inputs = asker.claims.iter().filter(|claim| claim.must_exist);
        if inputs.any(|claim| !self.is_live(&claim.name) && writes(&claim.name)) {
            return true;
        }
        let standing: Vec<&Run> = holding().filter(|run| !self.is_lapsed(run)).collect();
        let queued = self.truly_queued();
        let is_ahead = |run: &&&Run| run.ticket < asker.ticket;
        let waits_for_them = |run: &&&Run| run.spec.claims.iter().any(|claim| refuses(&standing, &[], claim));
        let stuck: Vec<&Run> = queued.iter().filter(is_ahead).filter(waits_for_them).copied().collect();
        asker.claims.iter().any(|claim| {
            let behind: &[&Run] = if self.is_exempt(asker.ancestors, claim) { &[] } else { &stuck };
            refuses(&standing, behind, claim)
        })
    }
}

/// A run that asks: a waiting run, or a new request behind all others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) ticket: Ticket,
    pub(crate) claims: &'a Claims,
    pub(crate) ancestors: &'a [Ticket],
}

impl<'a> Asker<'a> {
    pub(crate) fn of(run: &'a Run) -> Self {
        Asker { ticket: run.ticket, claims: &run.spec.claims, ancestors: &run.ancestors }
    }
}

pub(crate) fn holds(run: &Run) -> bool {
    matches!(run.state, State::Granted | State::Running)
}

pub(crate) fn waits(run: &Run) -> bool {
    matches!(run.state, State::AwaitingInput | State::Queued)
}

pub(crate) fn on_same_name<'r>(run: &'r Run, claim: &Claim) -> impl Iterator<Item = &'r Claim> + use<'r> {
    on_name_of(&run.spec.claims, claim)
}

/// Returns the claims on the same name as another one.
pub(crate) fn on_name_of<'c>(claims: &'c Claims, claim: &Claim) -> impl Iterator<Item = &'c Claim> + use<'c> {
    let (space, name) = (claim.space, claim.name.clone());
    claims.iter().filter(move |other| other.space == space && other.name == name)
}

/// Returns whether two claims on one name exclude each other. Units are counted elsewhere.
pub(crate) fn clash(a: Mode, b: Mode) -> bool {
    match (a, b) {
        (Mode::Units { .. }, Mode::Units { .. }) => false,
        (a, b) => a != Mode::Shared || b != Mode::Shared,
    }
}

/// Returns whether the wanted units fit beside all the others, with the smallest stated capacity.
pub(crate) fn fits(wanted: &Claim, others: &[&Claim]) -> bool {
    let claims = others.iter().copied().chain([wanted]);
    let (units, capacity) = claims.fold((0_u64, u64::MAX), |(sum, least), claim| match claim.mode {
        Mode::Units { units, capacity } => (sum + u64::from(units), least.min(u64::from(capacity))),
        _ => (sum, least),
    });
    units <= capacity
}

/// Returns whether what these runs hold, and those ahead want, is enough to block what is wanted.
fn refuses(holders: &[&Run], ahead: &[&Run], wanted: &Claim) -> bool {
    let all: Vec<&Claim> = holders.iter().chain(ahead).flat_map(|run| on_same_name(run, wanted)).collect();
    !fits(wanted, &all) || all.iter().any(|other| clash(other.mode, wanted.mode))
}
