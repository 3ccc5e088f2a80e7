//! How far a namespace had come when it was last seen, so that a store that went back is noticed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::{StoreError, StoreErrorKind};
use crate::name::Namespace;
use crate::sync::lock;

/// Identifies one life of a namespace in a store: a random number made when the namespace is created
/// there.
///
/// ```
/// use flowlock::store::Epoch;
///
/// let epoch = Epoch(0xabc);
/// assert_eq!(epoch.to_string(), "00000000000000000000000000000abc");
/// assert_eq!(epoch.to_string().parse(), Ok(epoch));
/// assert!("abc".parse::<Epoch>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch(pub u128);

/// A text that is not an [`Epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 32 hexadecimal digits")]
pub struct InvalidEpoch;

impl Epoch {
    /// Returns a new random epoch.
    pub(crate) fn fresh() -> Self {
        Self(crate::world::random_u128())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidEpoch);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidEpoch)
    }
}

impl TryFrom<String> for Epoch {
    type Error = InvalidEpoch;

    fn try_from(text: String) -> Result<Self, InvalidEpoch> {
        text.parse()
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> Self {
        epoch.to_string()
    }
}

/// A state of a namespace: its epoch, and how many steps that epoch had seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The epoch.
    pub epoch: Epoch,
    /// The namespace's sequence number, as in [`Page::sequence`](super::Page).
    pub sequence: u64,
}

impl Watermark {
    /// Returns the later state of the same epoch; of two epochs, that of `other`.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        if self.epoch == other.epoch && self.sequence > other.sequence { self } else { other }
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} of epoch {}", self.sequence, self.epoch)
    }
}

/// Evidence that a namespace went back or was replaced: how far it had come, and where it continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// How far it had come.
    pub was: Watermark,
    /// The state that was found then; `None` if there was nothing.
    pub is: Option<Watermark>,
}

/// What a process has seen of the namespaces of one store, or was told of.
#[derive(Debug, Default)]
pub(crate) struct Watermarks {
    by_namespace: Mutex<BTreeMap<Namespace, Marks>>,
    notices: Mutex<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    newest: Option<Watermark>,
    #[cfg(feature = "sqlite")]
    durable: Option<Watermark>,
    /// An earlier process saw it; this one has not seen anything yet.
    is_hearsay: bool,
    /// Set if it went back and this process continued from there.
    loss: Option<Loss>,
}

impl Marks {
    fn take_in(&mut self, found: Watermark) {
        self.newest = Some(self.newest.map_or(found, |known| known.or_later(found)));
    }
}

impl Watermarks {
    /// Notes a state that an earlier process saw.
    pub(crate) fn expect(&self, namespace: &Namespace, watermark: Watermark) {
        let mut all = lock(&self.by_namespace);
        let marks = all.entry(namespace.clone()).or_default();
        marks.is_hearsay |= marks.newest.is_none();
        marks.take_in(watermark);
    }

    pub(crate) fn newest(&self, namespace: &Namespace) -> Option<Watermark> {
        lock(&self.by_namespace).get(namespace)?.newest
    }

    pub(crate) fn loss(&self, namespace: &Namespace) -> Option<Loss> {
        lock(&self.by_namespace).get(namespace)?.loss
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn durable(&self, namespace: &Namespace) -> Option<Watermark> {
        lock(&self.by_namespace).get(namespace)?.durable
    }

    /// Notes a state that was found good.
    pub(crate) fn note_seen(&self, namespace: &Namespace, found: Watermark) {
        let mut all = lock(&self.by_namespace);
        let marks = all.entry(namespace.clone()).or_default();
        marks.is_hearsay = false;
        marks.take_in(found);
    }

    /// Takes the messages; each is returned once.
    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notices))
    }

    /// Notes that the namespace went back to this state, and continues from there.
    #[cfg(feature = "redis")]
    pub(crate) fn go_back_to(&self, namespace: &Namespace, found: Watermark) {
        let mut all = lock(&self.by_namespace);
        let marks = all.entry(namespace.clone()).or_default();
        marks.loss = marks.loss.or(marks.newest.map(|was| Loss { was, is: Some(found) }));
        marks.newest = Some(found);
    }

    /// Notes that nothing of the namespace is left.
    #[cfg(feature = "redis")]
    pub(crate) fn forget(&self, namespace: &Namespace) {
        if let Some(marks) = lock(&self.by_namespace).get_mut(namespace) {
            let loss = marks.loss.or(marks.newest.map(|was| Loss { was, is: None }));
            *marks = Marks { loss, ..Marks::default() };
        }
    }

    #[cfg(feature = "sqlite")]
    /// Notes a state that survives a power loss.
    pub(crate) fn note_durable(&self, namespace: &Namespace, found: Watermark) {
        lock(&self.by_namespace).entry(namespace.clone()).or_default().durable = Some(found);
    }

    /// Refuses a state that is older than one that this process saw, or has another epoch. If only an
    /// earlier process saw it, nothing of this process is lost: it continues from what is there, and
    /// reports that. A namespace that was never given an epoch has none.
    pub(crate) fn check(
        &self,
        namespace: &Namespace,
        epoch: Option<Epoch>,
        sequence: u64,
    ) -> Result<(), StoreError> {
        let mut all = lock(&self.by_namespace);
        let Some(marks) = all.get_mut(namespace) else { return Ok(()) };
        let message = match marks.newest {
            Some(known) if epoch != Some(known.epoch) => replaced(namespace, known, epoch, sequence),
            Some(known) if sequence < known.sequence => went_back(namespace, known.sequence, sequence),
            _ => return Ok(()),
        };
        if !marks.is_hearsay {
            return Err(StoreError::new(StoreErrorKind::Replaced, message));
        }
        let is = epoch.map(|epoch| Watermark { epoch, sequence });
        *marks = Marks { newest: is, loss: marks.newest.map(|was| Loss { was, is }), ..Marks::default() };
        lock(&self.notices).push(message);
        Ok(())
    }
}

const REMEDY: &str = "`flowlock doctor` shows it until `flowlock doctor --accept-restore`";

fn went_back(namespace: &Namespace, known: u64, found: u64) -> String {
    format!(
        "the store went back: namespace {namespace} was at step {known} and is at step {found}; an older copy was put in \
         its place, and what happened since is lost; {REMEDY}"
    )
}

fn replaced(namespace: &Namespace, known: Watermark, epoch: Option<Epoch>, sequence: u64) -> String {
    let found = match epoch {
        Some(epoch) => Watermark { epoch, sequence }.to_string(),
        None if sequence == 0 => "nothing".to_owned(),
        None => format!("step {sequence} without an epoch"),
    };
    format!(
        "the store was replaced by another one: in namespace {namespace} there was {known}, now there is \
         {found}; what it held is lost; {REMEDY}"
    )
}
