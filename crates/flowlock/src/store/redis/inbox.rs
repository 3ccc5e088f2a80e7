//! A client's inbox: a channel on the primary of its namespace, and a thread that listens to it.
//!
//! A message that is published while no thread listens is lost; waiting runs ask the store every few
//! seconds anyway.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ServerError, Value};

use super::connection::Connection;
use super::failure::{self, Failure, Trouble};
use super::pack;
use super::primary::Primary;
use super::socket::Cutter;
use super::topology::{MOST_REDIRECTIONS, Manner, Topology};
use crate::name::RunId;
use crate::store::signal::{Raised, Signal, SignalInbox};
use crate::store::{Inbox, InboxInterrupter, Limits, News, StoreError, StoreErrorKind};
use crate::sync::lock;

/// The pause after the first lost connection; it doubles with every further loss that comes soon.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a listener without messages checks whether the namespace has moved. It asks no server for
/// that.
const GLANCE: Duration = Duration::from_secs(5);

/// An inbox whose thread ends soon after it is dropped.
#[derive(Debug)]
pub(super) struct RedisInbox {
    inbox: SignalInbox,
    state: Arc<State>,
    /// The process whose thread listens: a child that drops its copy must leave the connection alone.
    pid: u32,
}

impl RedisInbox {
    /// Listens to two channels from now on: the client's own, and the one on which all clients are told
    /// that they may have missed something. Waits until the server has subscribed it, so that nothing
    /// published afterwards is missed. A server that is unreachable is tried again in the background.
    pub(super) fn open(
        topology: Arc<Topology>,
        patience: Duration,
        tag: &str,
        channels: [String; 2],
    ) -> Result<Self, StoreError> {
        let (signal, state) = (Arc::new(Signal::default()), Arc::new(State::default()));
        let listener = Listener {
            topology,
            patience,
            tag: tag.to_owned(),
            channels,
            signal: signal.clone(),
            state: state.clone(),
        };
        let inbox = Self { inbox: SignalInbox::new(signal), state, pid: std::process::id() };
        std::thread::Builder::new().name("flowlock-inbox".into()).spawn(move || listener.attend()).map_err(
            |error| {
                let message =
                    format!("cannot start a thread for wake-ups: {error}; raise the limit of processes");
                StoreError::new(StoreErrorKind::Unreachable, message).caused_by(error)
            },
        )?;
        match inbox.state.wait_for_first_try(patience) {
            Some(failure) if !StoreError::from(failure.clone()).is_transient() => Err(failure.into()),
            _ => Ok(inbox),
        }
    }
}

impl Inbox for RedisInbox {
    fn wait(&mut self, at_most: Duration) -> News {
        self.inbox.wait(at_most)
    }

    fn interrupter(&self) -> Box<dyn InboxInterrupter> {
        self.inbox.interrupter()
    }
}

impl Drop for RedisInbox {
    fn drop(&mut self) {
        if std::process::id() != self.pid {
            return;
        }
        let mut now = lock(&self.state.now);
        now.is_over = true;
        if let Some(cutter) = now.cutter.take() {
            cutter.cut();
        }
        drop(now);
        self.state.changed.notify_all();
    }
}

/// What the inbox and its thread share.
#[derive(Debug, Default)]
struct State {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    /// Whether the inbox was dropped.
    is_over: bool,
    /// Ends the thread's wait for the server.
    cutter: Option<Cutter>,
    first_try: Option<Result<(), Failure>>,
}

impl State {
    fn wait_for_first_try(&self, at_most: Duration) -> Option<Failure> {
        let waited = self.changed.wait_timeout_while(lock(&self.now), at_most, |now| now.first_try.is_none());
        let (now, _) = waited.unwrap_or_else(PoisonError::into_inner);
        now.first_try.clone().and_then(Result::err)
    }

    fn note_try(&self, result: Result<(), Failure>) {
        lock(&self.now).first_try.get_or_insert(result);
        self.changed.notify_all();
    }

    /// Returns whether the inbox is dropped before the pause ends.
    fn wait_until_over(&self, pause: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.now), pause, |now| !now.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    /// Lets the inbox cut this connection; returns false if the inbox was dropped.
    fn expose(&self, cutter: Cutter) -> bool {
        let mut now = lock(&self.now);
        now.cutter = Some(cutter);
        !now.is_over
    }
}

/// The thread's side.
struct Listener {
    topology: Arc<Topology>,
    patience: Duration,
    tag: String,
    channels: [String; 2],
    signal: Arc<Signal>,
    state: Arc<State>,
}

impl Listener {
    fn attend(&self) {
        let mut pause = FIRST_PAUSE;
        // Whether a message may have been published, or another server may have taken over, while no
        // thread listened.
        let mut missed = false;
        loop {
            match self.subscribe() {
                Ok((mut connection, primary)) => {
                    self.state.note_try(Ok(()));
                    if missed {
                        self.signal.raise(Raised::Missed);
                    }
                    let begun = Instant::now();
                    self.listen(&mut connection, &primary);
                    if begun.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(failure) => {
                    tracing::debug!(error = %failure.message, "cannot listen for wake-ups; trying again");
                    self.state.note_try(Err(failure));
                }
            }
            missed = true;
            if self.state.wait_until_over(pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Subscribes on the server that has the namespace.
    fn subscribe(&self) -> Result<(Connection, Arc<Primary>), Failure> {
        let limits = Limits::within(self.patience);
        let mut primary = self.topology.primary(&self.tag, &limits)?;
        let mut manner = Manner::Plain;
        for _ in 0..=MOST_REDIRECTIONS {
            let (connection, refused) = self.subscribe_at(&primary, manner, &limits).inspect_err(|_| {
                self.topology.note_lost(&self.tag, &primary);
            })?;
            let Some(error) = refused else {
                return Ok((connection, primary));
            };
            match self.topology.redirect(&self.tag, &primary, &error)? {
                Some(elsewhere) => primary = elsewhere,
                None => return Err(failure::refused_in(&self.tag, primary.address(), &error)),
            }
            manner = Manner::after(&error);
        }
        Err(Failure::unreachable("the nodes of the cluster redirect from one to the next"))
    }

    fn subscribe_at(
        &self,
        primary: &Primary,
        manner: Manner,
        limits: &Limits,
    ) -> Result<(Connection, Option<ServerError>), Failure> {
        let at = primary.address();
        let mut connection = primary.dial(limits)?;
        let cutter = connection.cutter().map_err(|error| failure::not_reached(at, &error))?;
        if !self.state.expose(cutter) {
            return Err(Failure::unreachable("the inbox is closed"));
        }
        let mut commands = manner.prelude();
        let [own, all] = &self.channels;
        commands.extend(pack::arguments(&[b"SSUBSCRIBE", own.as_bytes(), all.as_bytes()]));
        let transport = connection.transport();
        let failed = |trouble| failure::not_set_up(at, &trouble, transport);
        connection.send(&commands, limits).map_err(failed)?;
        if manner == Manner::Asking {
            connection.receive(limits).map_err(failed)?;
        }
        match connection.receive(limits).map_err(failed)? {
            Value::ServerError(error) => Ok((connection, Some(error))),
            _ => Ok((connection, None)),
        }
    }

    /// Delivers messages until the connection is lost or the namespace has moved.
    fn listen(&self, connection: &mut Connection, primary: &Primary) {
        loop {
            match connection.receive(&Limits::within(GLANCE)) {
                Ok(Value::Array(arguments)) => match arguments.as_slice() {
                    [Value::BulkString(kind), _, Value::BulkString(run)] if kind == b"smessage" => {
                        self.deliver(run);
                    }
                    [Value::BulkString(kind), ..] if kind == b"sunsubscribe" => return,
                    _ => {}
                },
                Err(Trouble::Io(error)) if failure::is_timeout(&error) => {
                    let known = self.topology.known(&self.tag);
                    if known.is_some_and(|known| known != *primary.address()) {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Delivers a run's id, or the news to all that something may have been missed if it is empty.
    fn deliver(&self, run: &[u8]) {
        match std::str::from_utf8(run).ok().and_then(|text| RunId::parse(text).ok()) {
            Some(run) => self.signal.raise(Raised::Run(run)),
            None => self.signal.raise(Raised::Missed),
        }
    }
}
