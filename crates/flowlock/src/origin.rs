//! Who a run belongs to, and who did what by hand.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ClientId;
use crate::world::LivenessId;

/// The process that a run belongs to. It changes when another process comes back for a held place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The client that gets its wake-ups.
    pub client: ClientId,
    /// The liveness lock of its process, whose death ends the run; `None` for a run that lives only by
    /// its lease.
    pub liveness: Option<LivenessId>,
    /// What people want to know about it.
    pub origin: Arc<Origin>,
}

/// Where a run was started: evidence for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// Host name.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// User name, or its number.
    pub user: String,
    /// Link to the build that runs it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci: Option<String>,
}

/// The longest host or user of an [`Origin`], in bytes.
pub(crate) const LONGEST_ORIGIN: usize = 512;
/// The longest link of one.
pub(crate) const LONGEST_LINK: usize = 2_048;

impl Origin {
    /// Returns the same within the limits that stores accept: host and user are cut, a link that is too
    /// long is left out.
    pub(crate) fn within_its_limits(mut self) -> Self {
        for text in [&mut self.host, &mut self.user] {
            text.truncate(text.floor_char_boundary(LONGEST_ORIGIN));
        }
        self.ci = self.ci.filter(|link| link.len() <= LONGEST_LINK);
        self
    }
}

/// Who changed a run, a record or a namespace by hand, and when: evidence for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Actor {
    /// The process that did it.
    #[serde(flatten)]
    pub origin: Arc<Origin>,
    /// When, in microseconds since 1970.
    pub at_us: i64,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { host, pid, user, .. } = self.origin.as_ref();
        let (user, host) = (crate::text::escape(user), crate::text::escape(host));
        write!(f, "{user}@{host} pid {pid} at {}", crate::shown_time(self.at_us))
    }
}

impl Origin {
    /// Returns host, process id and user of this process.
    pub fn of_this_process() -> Self {
        let host =
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let uid = nix::unistd::getuid();
        let user =
            nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        Self { host, pid: std::process::id(), user, ci: None }
    }
}
