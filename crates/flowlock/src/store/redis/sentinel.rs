//! Sentinels, which know which server is the primary.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::Value;

use super::dial::{Dialler, Part};
use super::failure::{self, Failure};
use super::pack;
use super::primary::Primary;
use super::url::Address;
use crate::store::{Limits, StoreErrorKind};
use crate::sync::lock;
use crate::world::later;

/// The sentinels, and the primary that they named last.
#[derive(Debug)]
pub(super) struct Sentinels {
    dialler: Arc<Dialler>,
    /// The one that answered last comes first.
    addresses: Mutex<Vec<Address>>,
    master: String,
    patience: Duration,
    elected: Mutex<Elected>,
}

#[derive(Debug, Default)]
struct Elected {
    primary: Option<Arc<Primary>>,
    /// Whether it failed or is not the primary any more, so that the sentinels must be asked again.
    is_doubted: bool,
}

impl Sentinels {
    pub(super) fn new(
        dialler: &Arc<Dialler>,
        sentinels: &[Address],
        master: &str,
        patience: Duration,
    ) -> Self {
        Self {
            dialler: dialler.clone(),
            addresses: Mutex::new(sentinels.to_vec()),
            master: master.to_owned(),
            patience,
            elected: Mutex::default(),
        }
    }

    pub(super) fn open(&self, limits: &Limits) -> Result<(), Failure> {
        let primary = self.primary(limits)?;
        primary.shared().open(limits).inspect_err(|_| self.note_lost(&primary))
    }

    /// Returns the primary; asks the sentinels if it is not known.
    pub(super) fn primary(&self, limits: &Limits) -> Result<Arc<Primary>, Failure> {
        {
            let elected = lock(&self.elected);
            if let (Some(primary), false) = (&elected.primary, elected.is_doubted) {
                return Ok(primary.clone());
            }
        }
        // Several threads may ask at once: that is rare, and cheaper than to wait for each other.
        let address = self.look_up(limits)?;
        let mut elected = lock(&self.elected);
        let primary = match elected.primary.take() {
            Some(known) if *known.address() == address => known,
            _ => Arc::new(Primary::new(&self.dialler, &address, Part::Elected, self.patience)),
        };
        *elected = Elected { primary: Some(primary.clone()), is_doubted: false };
        Ok(primary)
    }

    /// Returns the primary that they named last.
    pub(super) fn known(&self) -> Option<Address> {
        lock(&self.elected).primary.as_ref().map(|primary| primary.address().clone())
    }

    pub(super) fn note_lost(&self, primary: &Arc<Primary>) {
        let mut elected = lock(&self.elected);
        if elected.primary.as_ref().is_some_and(|known| Arc::ptr_eq(known, primary)) {
            elected.is_doubted = true;
        }
    }

    fn look_up(&self, limits: &Limits) -> Result<Address, Failure> {
        let sentinels = lock(&self.addresses).clone();
        let mut worst: Option<Failure> = None;
        for (at, sentinel) in sentinels.iter().enumerate() {
            let patience = limits.clone().no_later_than(later(Instant::now(), self.patience));
            // The last ones must have time to answer as well, and so must the primary itself.
            match self.ask(sentinel, &patience.share(sentinels.len() - at + 1)) {
                Ok(address) => {
                    let mut sentinels = lock(&self.addresses);
                    sentinels.retain(|other| other != sentinel);
                    sentinels.insert(0, sentinel.clone());
                    return Ok(address);
                }
                Err(failure)
                    if worst.as_ref().is_none_or(|worst| worst.kind == StoreErrorKind::Unreachable) =>
                {
                    worst = Some(failure);
                }
                Err(_) => {}
            }
        }
        Err(self.nobody_knows(&sentinels, worst))
    }

    fn nobody_knows(&self, sentinels: &[Address], worst: Option<Failure>) -> Failure {
        let all: Vec<_> = sentinels.iter().map(Address::to_string).collect();
        let master = crate::text::escape(&self.master);
        let (kind, why) = match worst {
            Some(failure) => (failure.kind, failure.message),
            None => (StoreErrorKind::Unreachable, "none was asked in time".into()),
        };
        Failure::new(
            kind,
            format!("no sentinel of {} names the primary of \"{master}\": {why}", all.join(", ")),
        )
        .of_a_connection()
    }

    fn ask(&self, sentinel: &Address, limits: &Limits) -> Result<Address, Failure> {
        let mut connection = self.dialler.dial(sentinel, Part::Sentinel, limits)?;
        let question = pack::arguments(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.master.as_bytes()]);
        let answer = connection.send(&question, limits).and_then(|()| connection.receive(limits));
        match answer.map_err(|trouble| failure::not_set_up(sentinel, &trouble, connection.transport()))? {
            Value::Array(arguments) => match arguments.as_slice() {
                [Value::BulkString(host), Value::BulkString(port)] => named(sentinel, host, port),
                _ => Err(Failure::unusable(format!("{sentinel} answered something other than an address"))),
            },
            Value::ServerError(error) => Err(failure::refused(sentinel, &error)),
            _ => Err(Failure::unusable(format!(
                "{sentinel} does not watch such a primary; see SENTINEL MASTERS for the names it knows"
            ))),
        }
    }
}

fn named(sentinel: &Address, host: &[u8], port: &[u8]) -> Result<Address, Failure> {
    let host = String::from_utf8(host.to_vec()).ok();
    let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    match host.zip(port) {
        Some((host, port)) => Ok(Address::Tcp { host, port }),
        None => Err(Failure::unusable(format!("{sentinel} answered something other than an address"))),
    }
}
