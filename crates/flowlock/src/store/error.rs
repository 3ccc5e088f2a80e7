//! Why a store could not do its part.

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    /// Whether this try used up all the time, so that another one could only begin again.
    out_of_time: bool,
    about: About,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The step, or the store.
    Step,
    /// An answer came that could not be read.
    Answer,
    /// One row could not be read; the rest of the store may be intact.
    Row,
    /// No connection was made, or the file was not opened, so that the store was not asked.
    Connection,
}

/// What kind of trouble a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It could not be reached, or did not answer in time.
    Unreachable,
    /// The step may or may not have taken effect; ask again to find out.
    Unknown,
    /// No space is left, or writing failed.
    Full,
    /// Its content contradicts itself, or is not what it was.
    Damaged,
    /// The store holds other or older content than this process has seen: what was held is lost.
    Replaced,
    /// Fewer replicas had a grant in time than the durability requires; it was given back.
    NotReplicated,
    /// It is not a flowlock store, is of a newer kind, is on a network file system, is shared by two
    /// hosts, or may not be opened.
    Unusable,
}

impl StoreError {
    /// Creates an error of a kind, with a message that names the thing, the limit and what to do.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), out_of_time: false, about: About::Step, source: None }
    }

    /// Marks that the caller's time ended before anything was done.
    #[must_use]
    pub(crate) fn out_of_time(mut self) -> Self {
        self.out_of_time = true;
        self
    }

    /// Returns whether the caller's time ended before anything was done.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.out_of_time
    }

    /// Marks that the answer could not be read.
    #[must_use]
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "other stores answer in this process"))]
    pub(crate) fn garbled(mut self) -> Self {
        self.about = About::Answer;
        self
    }

    /// For a step that was sent, turns an unreadable answer into an unknown outcome: it may have been
    /// the answer to another question.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "other stores answer in this process"))]
    pub(crate) fn unknown_if_garbled(self) -> Self {
        if self.about != About::Answer {
            return self;
        }
        let message =
            format!("{self}; whether the step took effect is unknown until the store is asked again");
        Self::new(StoreErrorKind::Unknown, message).caused_by(self)
    }

    /// Marks that one row could not be read; the rest of the store may be intact.
    #[must_use]
    #[cfg_attr(
        not(feature = "sqlite"),
        allow(dead_code, reason = "other stores read no rows in this process")
    )]
    pub(crate) fn of_a_row(mut self) -> Self {
        self.about = About::Row;
        self
    }

    /// Returns whether one row could not be read, rather than the store.
    pub(crate) fn is_of_a_row(&self) -> bool {
        self.about == About::Row
    }

    /// Marks that no connection was made, or the file was not opened, so that the store was not asked.
    #[must_use]
    #[cfg_attr(
        not(any(feature = "redis", feature = "sqlite")),
        allow(dead_code, reason = "a store in memory is not opened")
    )]
    pub(crate) fn of_a_connection(mut self) -> Self {
        self.about = About::Connection;
        self
    }

    /// Returns whether the store was not asked: the connection or the file could not be opened.
    pub(crate) fn is_of_a_connection(&self) -> bool {
        self.about == About::Connection
    }

    /// Returns whether the store has not refused the step itself: it did not answer, or was not asked.
    /// What a run has begun is not given up for that: a password or a certificate may be changed right
    /// now, and whoever can cut connections may answer the next one.
    pub fn is_no_refusal(&self) -> bool {
        self.is_transient() || self.is_of_a_connection()
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of trouble.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns whether the step may have taken effect nevertheless.
    pub fn is_unknown(&self) -> bool {
        self.kind == StoreErrorKind::Unknown
    }

    /// Returns whether the same step may succeed if it is tried again later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unreachable | StoreErrorKind::Unknown | StoreErrorKind::Full)
    }

    /// Returns the same error for a step whose earlier try may have taken effect.
    pub(crate) fn into_unknown(self) -> Self {
        if self.is_unknown() {
            return self;
        }
        let message = format!("{self}; whether an earlier attempt of the same step took effect is unknown");
        Self::new(StoreErrorKind::Unknown, message).caused_by(self)
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        let what = what.into();
        Self::new(
            StoreErrorKind::Damaged,
            format!("the store contradicts itself: {what}; see `flowlock doctor`"),
        )
    }

    /// Returns the error for a clock that is out of range; `whose` is `the server's` or `this
    /// machine's`.
    pub(crate) fn wrong_clock(whose: &str, wall_us: i64) -> Self {
        let said = crate::shown_time(wall_us);
        let message = format!(
            "{whose} clock says {said}, but only times from 1970 to 2199 are accepted; set it (NTP does) and try again; \
             nothing was changed"
        );
        Self::new(StoreErrorKind::Unusable, message)
    }

    pub(crate) fn two_hosts(last_wall_us: i64, booted_us: i64) -> Self {
        let ago = (last_wall_us - booted_us) / 1_000_000;
        Self::new(
            StoreErrorKind::Unusable,
            format!(
                "the store was written by another boot of a machine {ago} s after this machine booted: two hosts share \
                 the file, which the embedded store does not support; give each host its own file, or use one server for all"
            ),
        )
    }
}
