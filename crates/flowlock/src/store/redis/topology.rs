//! Which server is asked: the only one, the elected one, or the one that has the namespace.

use std::sync::Arc;
use std::time::Duration;

use redis::ServerError;

use super::cluster::Cluster;
use super::dial::{Dialler, Part};
use super::failure::Failure;
use super::pack;
use super::primary::Primary;
use super::sentinel::Sentinels;
use super::url::{Address, Deployment};
use crate::store::Limits;

/// How many redirections a step follows.
pub(super) const MOST_REDIRECTIONS: usize = 5;

/// How the servers are arranged, and what is known of them.
#[derive(Debug)]
pub(super) enum Topology {
    One(Arc<Primary>),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

/// How a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    /// After an ASK: the node has the namespace in part, and answers clients that know this.
    Asking,
}

impl Manner {
    /// Returns how to ask the node that a redirection leads to.
    pub(super) fn after(redirection: &ServerError) -> Self {
        if redirection.code() == "ASK" { Self::Asking } else { Self::Plain }
    }

    /// Returns what is sent before the command; it has an answer.
    pub(super) fn prelude(self) -> Vec<u8> {
        match self {
            Self::Plain => Vec::new(),
            Self::Asking => pack::arguments(&[b"ASKING"]),
        }
    }
}

impl Topology {
    pub(super) fn new(dialler: &Arc<Dialler>, patience: Duration) -> Self {
        match &dialler.options().deployment {
            Deployment::One(address) => {
                Self::One(Arc::new(Primary::new(dialler, address, Part::Alone, patience)))
            }
            Deployment::Sentinel { sentinels, master } => {
                Self::Sentinel(Sentinels::new(dialler, sentinels, master, patience))
            }
            Deployment::Cluster(seeds) => Self::Cluster(Cluster::new(dialler, seeds, patience)),
        }
    }

    /// Connects once, to see whether it is possible.
    pub(super) fn open(&self, limits: &Limits) -> Result<(), Failure> {
        match self {
            Self::One(primary) => primary.shared().open(limits),
            Self::Sentinel(sentinels) => sentinels.open(limits),
            Self::Cluster(cluster) => cluster.open(limits),
        }
    }

    /// Returns the server to ask about a namespace.
    pub(super) fn primary(&self, tag: &str, limits: &Limits) -> Result<Arc<Primary>, Failure> {
        match self {
            Self::One(primary) => Ok(primary.clone()),
            Self::Sentinel(sentinels) => sentinels.primary(limits),
            Self::Cluster(cluster) => cluster.primary(tag),
        }
    }

    /// Returns all servers that have namespaces.
    pub(super) fn primaries(&self, limits: &Limits) -> Result<Vec<Arc<Primary>>, Failure> {
        match self {
            Self::Cluster(cluster) => cluster.primaries(limits),
            _ => Ok(vec![self.primary("", limits)?]),
        }
    }

    /// Returns where the namespace is, as far as is known; asks no server.
    pub(super) fn known(&self, tag: &str) -> Option<Address> {
        match self {
            Self::One(primary) => Some(primary.address().clone()),
            Self::Sentinel(sentinels) => sentinels.known(),
            Self::Cluster(cluster) => cluster.known(tag),
        }
    }

    /// Notes that it did not answer, or is not the primary any more.
    pub(super) fn note_lost(&self, tag: &str, primary: &Arc<Primary>) {
        match self {
            Self::One(_) => {}
            Self::Sentinel(sentinels) => sentinels.note_lost(primary),
            Self::Cluster(cluster) => cluster.note_lost(tag, primary),
        }
    }

    /// Returns the server to ask instead, if the error names one.
    pub(super) fn redirect(
        &self,
        tag: &str,
        from: &Primary,
        error: &ServerError,
    ) -> Result<Option<Arc<Primary>>, Failure> {
        if !matches!(error.code(), "MOVED" | "ASK") {
            return Ok(None);
        }
        match self {
            Self::Cluster(cluster) => cluster.redirect(tag, from.address(), error).map(Some),
            _ => Err(Failure::unusable(format!(
                "{} is a node of a cluster; use redis+cluster://HOST,HOST",
                from.address()
            ))
            .of_a_connection()),
        }
    }
}
