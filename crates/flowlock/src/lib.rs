//! Locks the names that a job reads and writes, all in one atomic step, before the job starts.
//!
//! * Every **input** has been written by an earlier job, and nobody is writing it now.
//! * Every **output** belongs to this job alone: it has no other reader and no other writer.
//! * Outputs are recorded as written only if the job succeeds and still holds its names.
//!
//! ```
//! use flowlock::{Error, Flowlock};
//!
//! let flowlock = Flowlock::open("memory:")?; // or "sqlite:/var/lib/flowlock/flowlock.db"
//! flowlock.job("import").output("sales").acquire()?.commit()?;
//!
//! flowlock.job("report").input("sales").output("report").with(|grant| {
//!     println!("{} reads {:?}", grant.run_id(), grant.inputs());
//!     Ok::<_, Error>(()) // commits; an error or a panic would write nothing
//! })?;
//! # Ok::<(), Error>(())
//! ```
//!
//! # Overview
//! Open a store with [`Flowlock`]; describe a request with a [`Job`]; work while you hold a [`Grant`].
//! [`Pending`] is a run that waits in the queue. [`store`] has the stores and their contract, [`step`]
//! the changes that a store can make.

#[cfg(any(feature = "config", feature = "sqlite"))]
mod acl;
#[cfg(feature = "async")]
mod asynchronous;
mod at_exit;
mod blocker;
mod bounds;
mod claim;
mod commit;
#[cfg(feature = "config")]
pub mod config;
mod connection;
mod endings;
mod engine;
mod error;
mod flowlock;
mod grant;
mod handle;
#[doc(hidden)] // for the command line, which compares a store's clock with the machine's
pub mod host_clock;
mod id;
mod job;
mod keeper;
mod lease;
mod moment;
mod name;
#[doc(hidden)] // for the command line, which reads such files too
pub mod named_file;
mod operate;
mod origin;
mod parent;
#[cfg(any(feature = "config", feature = "redis", feature = "sqlite"))]
mod people;
mod record;
#[cfg(feature = "async")]
mod repeats;
mod rule;
mod run;
#[cfg(test)]
mod said;
mod spec;
mod spelling;
pub mod step;
pub mod store;
mod sync;
mod text;
#[cfg(feature = "async")]
mod timer;
mod view;
mod wait;
mod waiter;
mod waiters;
#[cfg(feature = "async")]
mod workers;
mod world;

pub use crate::blocker::{Blocked, Blocker, BlockerKind, By, RecordEvidence};
pub use crate::bounds::{Bounds, MOST_BLOCKERS, MOST_MADE_FROM};
pub use crate::claim::{
    Claim, Claims, ClaimsBuilder, InvalidClaims, LARGEST_CAPACITY, LARGEST_REQUEST, MOST_CLAIMS, Mode, Space,
};
pub use crate::error::{Error, Lost};
pub use crate::flowlock::{Builder, COMMIT_WAIT, Flowlock, STORE_TIMEOUT};
pub use crate::grant::{Committed, Grant, Renewed};
pub use crate::id::{Attempt, ClientId, Nonce, Ticket, Token};
pub use crate::job::{Acquired, Job, KEEP_LAPSED, LEASES, LONGEST_PLACE};
pub use crate::moment::{show_time_in, shown_time};
pub use crate::name::{JobName, Name, NameBuilder, Namespace, RunId};
pub use crate::operate::Creation;
pub use crate::origin::{Actor, Holder, Origin};
pub use crate::parent::{InvalidProof, Parent};
pub use crate::record::{Failure, Input, LONGEST_NOTE, MadeFrom, Record, RecordState};
pub use crate::run::{LostBy, Outcome, Resource, Run, State};
pub use crate::spec::{IfWritten, OnFail, Spec};
pub use crate::spelling::{InvalidText, LONGEST_NAME};
pub use crate::text::escape;
#[doc(hidden)] // for the command line, which suggests commands too
pub use crate::text::shell_argument;
pub use crate::wait::{Begun, Interrupter, Pending, Progress};
pub use crate::world::{LivenessId, Now, World};

/// Runs a function while its claims are held: a thin form of [`Job::with`].
///
/// `Ok` commits; an error or a panic fails the run. The first parameter must be a `&Flowlock`; the
/// variable `grant` is in scope.
///
/// ```
/// use flowlock::{Error, Flowlock};
///
/// #[flowlock::job(inputs = [format!("sales.{day}")], outputs = [format!("report.{day}")])]
/// fn report(flowlock: &Flowlock, day: &str) -> Result<usize, Error> {
///     Ok(grant.inputs().len())
/// }
///
/// let flowlock = Flowlock::open("memory:")?;
/// flowlock.create(&["sales.2026-11-24"], Default::default())?;
/// assert_eq!(report(&flowlock, "2026-11-24")?, 1);
/// # Ok::<(), Error>(())
/// ```
#[cfg(feature = "macros")]
pub use flowlock_macros::job;
