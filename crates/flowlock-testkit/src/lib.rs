//! Shared tools for the tests of flowlock. Not published, Linux only.
//!
//! * [`Cli`] runs the real `flowlock` binary in a home of its own, in the foreground, in the background
//!   or on a pseudo-terminal, and leaves no process behind.
//! * [`Fault`] preloads a hostile machine into such a process: it dies or is refused at its Nth write,
//!   loses power, has its clock moved, sees another file system or a reboot.
//! * [`Witness`] checks from outside whether two workers were ever where only one may be.
//! * [`conformance!`] makes a test of every promise that a store gives.
//! * [`history`] plays random histories on several stores at once and asks a second opinion at every
//!   step.
//! * [`Gate`] keeps a worker inside until the test lets it out.
//! * [`RedisServer`] is a Redis or Valkey server for one test; [`Clock`] moves its time of day.
//! * [`Proxy`] is a bad connection to it; [`Sentinels`] and [`Cluster`] are several servers that replace
//!   each other.
//! * [`Bent`] makes inputs for fuzzing from good ones.
//! * [`until`] waits for a condition with a deadline, instead of a sleep.

// Everything here asserts: a panic fails the test, and `# Panics` on each item would add nothing.
#![allow(clippy::missing_panics_doc)]

mod bent;
mod cli;
pub mod conformance;
mod fault;
mod finished;
mod gate;
mod hand;
pub mod history;
mod job;
mod oracle;
mod redis;
mod shim;
mod sql;
mod subject;
mod terminal;
mod wait;
mod witness;

pub use self::redis::{
    Certificates, Clock, Cluster, CommandCount, Direction, Persistence, Promotion, Proxy, RedisServer,
    RedisSetup, Sentinels, SentinelsSetup, SlowCommand, Then, documented_rule, fresh_namespace,
    redis_program,
};
pub use bent::Bent;
pub use cli::Cli;
pub use fault::{Call, Fault, FileSystem, Injected, Journal, Luck};
pub use finished::Finished;
pub use gate::Gate;
pub(crate) use hand::{by_hand, nothing_by_hand};
pub use job::Job;
pub use sql::sql;
pub use subject::Subject;
pub use terminal::Terminal;
pub use wait::{Over, PATIENCE, effort, until, until_or};
pub use witness::{Inside, Mode, Overlap, Stay, Witness};
