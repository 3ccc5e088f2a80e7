//! What can happen in a history, as data that proptest can draw and shrink.

use flowlock::Bounds;
use proptest::prelude::*;

/// One event. Numbers choose among what exists at that moment.
#[derive(Debug, Clone)]
pub enum Op {
    /// A process asks for claims.
    Arrive(Arrival),
    /// Many ask at once for what one missing name blocks; then that name is written.
    Crowd(Vec<Arrival>),
    /// Readers of a name die, all but one; then the name is written or removed by hand.
    Graveyard(Vec<u8>, bool, bool),
    /// Another server takes over, with everything the old one had.
    Takeover,
    /// A parent shares a name that another run waits to write, and its child wants to share it too.
    Family(u8, bool, Fate),
    /// A chain of nested runs; each wants units of the slot, and states its own capacity.
    Nest(u8, bool, Vec<(u32, u32)>),
    /// Time passes until just after a running run's deadline, and its own step (refresh or commit) comes first.
    Late(u16, bool),
    /// A request is cancelled before the store has seen it; it arrives this much later.
    CancelFirst(Arrival, u16),
    /// A living run does what a run in its state may do: accept, refresh, commit, fail, cancel, come
    /// back.
    Act(u16, u8),
    /// An ended run is operated again, or its id is used again.
    Disturb(u16, u8),
    /// Time passes, in milliseconds; clients that are awake send their heartbeats.
    Pass(u32),
    /// The machine sleeps for this many milliseconds: time passes without any request.
    Sleep(u32),
    /// Names are marked written by hand.
    Create(Names, bool),
    /// Records are removed by hand.
    Remove(Names, bool),
    /// A namespace is cleared of records, perhaps left alone for a while, and removed if it is empty.
    Leave(bool, bool),
    /// A holder is unlocked; at once if the flag is set.
    Unlock(u16, bool),
    /// A running run is detached from its process.
    Detach(u16),
    /// A process stops (or continues).
    Pause(u8, bool),
    /// A process dies; another takes its place.
    Kill(u8),
    /// The dead are reported.
    Bury,
    /// The store is closed without notice and opened again.
    Reopen,
    /// The server forgets its scripts.
    Forget,
    /// The machine restarts.
    Reboot,
    /// Steps are made until nothing is left over; then everything must be in order.
    Settle,
}

/// What becomes of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Whatever happens next.
    Open,
    /// Its lease ends.
    Lapsed,
    /// It is unlocked, and has not acknowledged that.
    Revoked,
}

/// Which namespace, and which of the data names, as bits.
pub type Names = (bool, u8);

/// How many data names and slots there are.
pub(super) const NAMES: usize = 5;
pub(super) const SLOTS: usize = 2;
/// The most processes there are.
const CROWDED: u8 = 24;
const DAY_MS: u32 = 24 * 3_600_000;

/// A request.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // drawn one by one
pub struct Arrival {
    /// Which process asks.
    pub client: u8,
    /// Whether in the second namespace.
    pub elsewhere: bool,
    /// Per data name: nothing, read, write, or both.
    pub data: [Use; NAMES],
    /// Whether the lock is wanted, exclusive or shared.
    pub lock: Option<bool>,
    /// Units and capacity, per slot.
    pub slots: [Option<(u32, u32)>; SLOTS],
    /// How long it waits.
    pub patience: Wish,
    /// Whether it is a child of a running run of the same process.
    pub nested: bool,
    /// Whether it refuses to overwrite.
    pub keeps_old: bool,
    /// Whether a failure leaves the old records incomplete.
    pub spoils_old: bool,
    /// Its lease, in seconds.
    pub lease: u8,
    /// The life of its records, in seconds.
    pub record_life: Option<u32>,
    /// Its longest run time, in seconds.
    pub max_runtime: Option<u8>,
    /// How long it is kept once it lapsed, in seconds.
    pub keep_lapsed: u32,
}

/// What a request wants with a data name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    No,
    /// To read it.
    Read,
    /// To write it.
    Write,
    /// To read and rewrite it.
    Rewrite,
}

/// How long a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Not at all.
    Try,
    /// It holds its place, in seconds.
    Resource(u8),
    /// It waits, in seconds.
    Wait(u8),
    /// It waits for ever.
    WaitForEver,
}

/// How a history is to be played.
#[derive(Debug, Clone)]
pub struct Script {
    /// How much a step may do, and an answer say.
    pub bounds: Bounds,
    /// How many processes there are.
    pub clients: u8,
    /// Which names are written before anything happens.
    pub written: u8,
    /// What happens.
    pub ops: Vec<Op>,
}

/// All scripts of up to `longest` events.
///
/// Only where a server can take over from another, `takeovers` happen.
pub fn scripts(longest: usize, takeovers: Takeovers) -> impl Strategy<Value = Script> {
    let clients = prop_oneof![6 => Just(4_u8), 2 => Just(8), 1 => 20..=CROWDED];
    let ops = prop::collection::vec(ops(takeovers), 1..longest);
    (bounds(), clients, 0..1_u8 << NAMES, ops).prop_map(|(bounds, clients, written, ops)| Script {
        bounds,
        clients,
        written,
        ops,
    })
}

/// Whether another server takes over now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeovers {
    /// No.
    Never,
    /// Yes.
    Happen,
}

/// The usual limits, or some of them so small that a few runs are enough to leave work over, to fill
/// pages and to be cut in an answer.
fn bounds() -> impl Strategy<Value = Bounds> {
    let usual = Bounds::default();
    let work = prop_oneof![
        2 => Just(usual),
        3 => (1..=2_u32, prop_oneof![Just(1_usize), Just(2), Just(64)])
            .prop_map(move |(looks, due)| Bounds { looks, due, ends: due, ..usual }),
        1 => Just(Bounds { claims: 2, ..usual }),
        1 => Just(Bounds { due: 1, ..usual }),
        1 => (1..=2_usize, 1..=3_usize).prop_map(move |(ends, hints)| Bounds { ends, hints, ..usual }),
    ];
    let said = prop::option::of((1..=3_usize, 1..=2_usize, 0..=2_usize, 1..=3_usize, 0..=2_usize));
    let read = prop::option::of((1..=3_usize, 1..=3_usize, 1..=2_usize, 1..=3_usize));
    (work, said, read).prop_map(|(mut bounds, said, read)| {
        if let Some((blockers, probes, explained, heard, made_from)) = said {
            bounds = Bounds { blockers, probes, explained, heard, made_from, ..bounds };
        }
        if let Some((page, forgets, examined, ancestors)) = read {
            bounds = Bounds { page, forgets, examined, ancestors, ..bounds };
        }
        bounds
    })
}

fn ops(takeovers: Takeovers) -> BoxedStrategy<Op> {
    match takeovers {
        Takeovers::Never => usual_ops().boxed(),
        Takeovers::Happen => prop_oneof![20 => usual_ops(), 1 => Just(Op::Takeover)].boxed(),
    }
}

fn usual_ops() -> impl Strategy<Value = Op> {
    let pick = any::<u16>;
    let names = || (prop::bool::weighted(0.2), 1..1_u8 << NAMES);
    let alive = prop::bool::weighted(0.3);
    let time = prop_oneof![20 => silences(), 1 => Just(700_000_u32), 1 => (1..20_u32).prop_map(|days| days * DAY_MS)];
    prop_oneof![
        1 => (prop::collection::vec(0..CROWDED, 1..6), alive, any::<bool>())
            .prop_map(|(readers, elsewhere, creates)| Op::Graveyard(readers, elsewhere, creates)),
        24 => arrivals().prop_map(Op::Arrive),
        3 => prop::collection::vec(arrivals(), 3..7).prop_map(Op::Crowd),
        2 => (0..CROWDED, any::<bool>(), fates()).prop_map(|(first, elsewhere, fate)| Op::Family(first, elsewhere, fate)),
        2 => (0..CROWDED, any::<bool>(), prop::collection::vec(units(), 2..5))
            .prop_map(|(client, elsewhere, chain)| Op::Nest(client, elsewhere, chain)),
        4 => (pick(), any::<bool>()).prop_map(|(run, commits)| Op::Late(run, commits)),
        1 => (arrivals(), 0..4_000_u16).prop_map(|(arrival, delay)| Op::CancelFirst(arrival, delay)),
        40 => (pick(), any::<u8>()).prop_map(|(run, dice)| Op::Act(run, dice)),
        4 => (pick(), any::<u8>()).prop_map(|(run, dice)| Op::Disturb(run, dice)),
        14 => prop_oneof![Just(0), Just(500), Just(1_000), Just(2_000), Just(5_000), 2_000..12_000_u32, Just(25_000)]
            .prop_map(Op::Pass),
        4 => time.prop_map(Op::Sleep),
        2 => (names(), prop::bool::weighted(0.2)).prop_map(|(names, by_force)| Op::Create(names, by_force)),
        2 => (names(), prop::bool::weighted(0.2)).prop_map(|(names, by_force)| Op::Remove(names, by_force)),
        1 => (prop::bool::weighted(0.7), prop::bool::weighted(0.7)).prop_map(|(elsewhere, waits)| Op::Leave(elsewhere, waits)),
        2 => (pick(), any::<bool>()).prop_map(|(run, now)| Op::Unlock(run, now)),
        1 => pick().prop_map(Op::Detach),
        3 => (0..CROWDED, any::<bool>()).prop_map(|(client, awake)| Op::Pause(client, awake)),
        1 => (0..CROWDED).prop_map(Op::Kill),
        1 => Just(Op::Bury),
        1 => Just(Op::Reopen),
        2 => Just(Op::Forget),
        1 => prop::bool::weighted(0.15).prop_map(|reboot| if reboot { Op::Reboot } else { Op::Settle }),
        3 => Just(Op::Settle),
    ]
}

/// Units of a slot, and how many it has.
fn units() -> impl Strategy<Value = (u32, u32)> {
    (1..=3_u32, 1..=5_u32).prop_map(|(units, capacity)| (units.min(capacity), capacity))
}

fn silences() -> impl Strategy<Value = u32> {
    prop_oneof![1_000..6_000_u32, Just(9_000), 9_000..30_000_u32]
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Open), Just(Fate::Lapsed), Just(Fate::Revoked)]
}

fn arrivals() -> impl Strategy<Value = Arrival> {
    let uses = || prop_oneof![6 => Just(Use::No), 5 => Just(Use::Read), 6 => Just(Use::Write), 1 => Just(Use::Rewrite)];
    let rarely = || prop_oneof![16 => Just(Use::No), 2 => Just(Use::Read), 2 => Just(Use::Write), 1 => Just(Use::Rewrite)];
    let slot = |weight| prop::option::weighted(weight, units());
    let patience = prop_oneof![
        1 => Just(Wish::Try),
        2 => prop_oneof![Just(5), Just(30), Just(60)].prop_map(Wish::Resource),
        3 => prop_oneof![Just(8), Just(30), Just(60)].prop_map(Wish::Wait),
        3 => Just(Wish::WaitForEver),
    ];
    let who = (0..CROWDED, prop::bool::weighted(0.15), prop::bool::weighted(0.4));
    let data = (uses(), uses(), uses(), rarely(), rarely());
    let what = (data, prop::option::weighted(0.2, any::<bool>()), (slot(0.4), slot(0.1)));
    let how = (patience, prop::bool::weighted(0.25), prop::bool::weighted(0.3));
    let times = (
        prop_oneof![Just(3_u8), Just(20)],
        prop::option::weighted(0.4, prop_oneof![Just(15_u32), Just(60), Just(3 * 86_400)]),
        prop::option::weighted(0.1, prop_oneof![Just(4_u8), Just(30)]),
        prop_oneof![2 => Just(86_400_u32), 1 => Just(8), 1 => 1..=20_u32],
    );
    (who, what, how, times).prop_map(|(who, what, how, times)| Arrival {
        client: who.0,
        elsewhere: who.1,
        nested: who.2,
        data: what.0.into(),
        lock: what.1,
        slots: what.2.into(),
        patience: how.0,
        keeps_old: how.1,
        spoils_old: how.2,
        lease: times.0,
        record_life: times.1,
        max_runtime: times.2,
        keep_lapsed: times.3,
    })
}
