//! The client's end of the connection: scripts out, replies in, whatever happens to the servers
//! meanwhile.

use std::sync::Arc;
use std::time::Duration;

use redis::{ServerError, Value};

use super::dial::Dialler;
use super::failure::{self, Failure};
use super::pack::{self, Named};
use super::pipeline::{Job, Replies};
use super::primary::Primary;
use super::script::Call;
use super::topology::{MOST_REDIRECTIONS, Manner, Topology};
use super::url::{Address, Durability, Options};
use crate::store::{Limits, StoreError, StoreErrorKind};

/// The largest reply to any one command, in bytes.
const LARGEST: usize = 16 << 20;

/// The result of running a script.
#[derive(Debug)]
pub(super) struct Evaluated {
    pub reply: Value,
    /// How many replicas have it; `None` if that was not asked.
    pub replicas: Option<u32>,
    /// The boot clock before it was sent.
    pub sent_ms: i64,
    pub from: Source,
}

/// Where an answer came from. Another server, or the same one restarted, means another connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub at: Address,
    /// The number of the newest connection at that time.
    pub dials: u64,
}

/// The connection of a process to its store: one for all threads, made again when it is lost.
#[derive(Debug)]
pub(super) struct Client {
    dialler: Arc<Dialler>,
    topology: Arc<Topology>,
    patience: Duration,
    /// The process that opened it: a child must not use its sockets.
    pid: u32,
}

impl Client {
    /// Connects once and checks the server. `patience` is how long one attempt to connect may take.
    pub(super) fn open(options: Options, patience: Duration, limits: &Limits) -> Result<Self, StoreError> {
        let dialler = Arc::new(Dialler::new(options));
        let topology = Arc::new(Topology::new(&dialler, patience));
        topology.open(limits)?;
        let client = Self { dialler, topology, patience, pid: std::process::id() };
        if matches!(client.options().durability, Durability::Replicas { .. }) {
            // It is better to learn now whether this is allowed than after a step that took effect.
            client.command("", redis::cmd("WAIT").arg(0).arg(1), limits)?;
        }
        Ok(client)
    }

    pub(super) fn options(&self) -> &Options {
        self.dialler.options()
    }

    pub(super) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// Runs a script on the primary of the namespace.
    pub(super) fn eval(&self, call: &Call<'_>, limits: &Limits) -> Result<Evaluated, StoreError> {
        self.same_process()?;
        let mut named = Named::BySha;
        let mut sent_ms = 0;
        let asked = self.routed(call.tag, limits, |primary, manner| {
            sent_ms = crate::world::boot_now_ms();
            let job =
                |named| job(pack::eval(call.script, named, call), call.most, manner, call.replicas, limits);
            let line = if call.replicas.is_some() { primary.waiting() } else { primary.shared() };
            let replies = line.ask(job(named), limits)?;
            if named == Named::BySha && is_error(&replies.head, "NOSCRIPT") {
                named = Named::BySource;
                return line.ask(job(named), limits);
            }
            Ok(replies)
        })?;
        let (from, replies) = asked;
        let replicas = replies.tail.map(|tail| acknowledged(&from.at, tail)).transpose()?;
        Ok(Evaluated { reply: replies.head, replicas, sent_ms, from })
    }

    /// Sends any one command to the primary of the namespace.
    pub(super) fn command(
        &self,
        tag: &str,
        command: &redis::Cmd,
        limits: &Limits,
    ) -> Result<Value, StoreError> {
        self.same_process()?;
        let (_, replies) = self.routed(tag, limits, |primary, manner| {
            primary.shared().ask(job(command.get_packed_command(), LARGEST, manner, None, limits), limits)
        })?;
        Ok(replies.head)
    }

    /// Returns all servers that have namespaces: the one, or every primary of a cluster.
    pub(super) fn primaries(&self, limits: &Limits) -> Result<Vec<Arc<Primary>>, StoreError> {
        self.same_process()?;
        Ok(self.topology.primaries(limits)?)
    }

    /// Sends any one command to one server. A refusal by the server is returned as the answer.
    pub(super) fn command_at(
        &self,
        primary: &Arc<Primary>,
        command: &redis::Cmd,
        limits: &Limits,
    ) -> Result<Value, StoreError> {
        let asked = primary
            .shared()
            .ask(job(command.get_packed_command(), LARGEST, Manner::Plain, None, limits), limits);
        let replies = asked.inspect_err(|_| self.topology.note_lost("", primary))?;
        Ok(replies.head)
    }

    /// Returns the known servers, for a listener with a connection of its own.
    pub(super) fn topology(&self) -> Result<Arc<Topology>, StoreError> {
        self.same_process()?;
        Ok(self.topology.clone())
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Asks the primary of the namespace, following redirections. Returns an error if the reply is one.
    fn routed(
        &self,
        tag: &str,
        limits: &Limits,
        mut ask: impl FnMut(&Arc<Primary>, Manner) -> Result<Replies, Failure>,
    ) -> Result<(Source, Replies), Failure> {
        let mut primary = self.topology.primary(tag, limits)?;
        let mut manner = Manner::Plain;
        for _ in 0..=MOST_REDIRECTIONS {
            let replies = match ask(&primary, manner) {
                Ok(replies) => replies,
                Err(failure) => {
                    self.topology.note_lost(tag, &primary);
                    return Err(failure);
                }
            };
            let Value::ServerError(error) = &replies.head else {
                return Ok((Source { at: primary.address().clone(), dials: primary.dials() }, replies));
            };
            match self.topology.redirect(tag, &primary, error)? {
                Some(elsewhere) => {
                    manner = Manner::after(error);
                    primary = elsewhere;
                }
                None => return Err(self.refused(tag, &primary, error)),
            }
        }
        Err(Failure::unreachable(format!(
            "{}: more than {MOST_REDIRECTIONS} redirections from node to node; nothing was changed; see CLUSTER NODES",
            primary.address()
        )))
    }

    fn refused(&self, tag: &str, primary: &Arc<Primary>, error: &ServerError) -> Failure {
        if matches!(error.code(), "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "NOREPLICAS") {
            // It is not the primary, or will not be for a while, or was cut off and another one has
            // taken over: look again at the next call.
            // again at the next call.
            self.topology.note_lost(tag, primary);
        }
        failure::refused_in(tag, primary.address(), error)
    }

    /// Acts as if another process had opened it.
    #[cfg(test)]
    pub(super) fn opened_by(mut self, pid: u32) -> Self {
        self.pid = pid;
        self
    }

    /// If two processes use the same socket, the answers get mixed up.
    fn same_process(&self) -> Result<(), StoreError> {
        if std::process::id() == self.pid {
            return Ok(());
        }
        let message = format!(
            "the store was opened by process {}, before a fork; open it again in this process",
            self.pid
        );
        Err(StoreError::new(StoreErrorKind::Unusable, message))
    }
}

/// Returns a command, with what must come before and after it.
fn job(
    command: Vec<u8>,
    most: usize,
    manner: Manner,
    replicas: Option<(u32, Duration)>,
    limits: &Limits,
) -> Job {
    let head = match manner {
        Manner::Plain => command,
        Manner::Asking => [manner.prelude(), command].concat(),
    };
    let tail = replicas.map(|(count, within)| wait(count, within, limits));
    Job { head, skip: usize::from(manner == Manner::Asking), most, tail }
}

/// WAIT with 0 ms would wait for ever; with more than the time left, no caller would get the answer.
fn wait(count: u32, within: Duration, limits: &Limits) -> Vec<u8> {
    let within_ms = within.min(limits.left() / 4 * 3).as_millis().max(1);
    pack::arguments(&[b"WAIT", count.to_string().as_bytes(), within_ms.to_string().as_bytes()])
}

fn acknowledged(at: &Address, reply: Value) -> Result<u32, Failure> {
    match reply {
        Value::Int(count) => Ok(u32::try_from(count).unwrap_or(0)),
        // The script has run: this must not be mistaken for a refusal without an effect.
        other => {
            let why = match other {
                Value::ServerError(error) => failure::refused(at, &error).message,
                _ => format!("{at} answered WAIT with something other than a number"),
            };
            let message = format!("the step took effect, but whether replicas have it is unknown: {why}");
            Err(Failure::new(StoreErrorKind::Unknown, message))
        }
    }
}

fn is_error(value: &Value, code: &str) -> bool {
    matches!(value, Value::ServerError(error) if error.code() == code)
}
