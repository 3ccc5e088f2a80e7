//! Which server is asked: the one, the elected one, or the one that has the namespace.

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

/// How often a step follows from node to node.
pub(super) const MOST_REDIRECTIONS: usize = 5;

/// How the servers are arranged, and what is known of them by now.
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
    /// After an ASK: it has the namespace in part, and answers who says that they know.
    Asking,
}

impl Manner {
    /// How the node that a redirection leads to is asked.
    pub(super) fn after(redirection: &ServerError) -> Self {
        if redirection.code() == "ASK" { Self::Asking } else { Self::Plain }
    }

    /// What is sent before the command; it is answered.
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

    /// Connects once, to see that it can be done.
    pub(super) fn open(&self, limits: &Limits) -> Result<(), Failure> {
        match self {
            Self::One(primary) => primary.shared().open(limits),
            Self::Sentinel(sentinels) => sentinels.open(limits),
            Self::Cluster(cluster) => cluster.open(limits),
        }
    }

    /// Who is to be asked about a namespace.
    pub(super) fn primary(&self, tag: &str, limits: &Limits) -> Result<Arc<Primary>, Failure> {
        match self {
            Self::One(primary) => Ok(primary.clone()),
            Self::Sentinel(sentinels) => sentinels.primary(limits),
            Self::Cluster(cluster) => cluster.primary(tag),
        }
    }

    /// All servers that have namespaces.
    pub(super) fn primaries(&self, limits: &Limits) -> Result<Vec<Arc<Primary>>, Failure> {
        match self {
            Self::Cluster(cluster) => cluster.primaries(limits),
            _ => Ok(vec![self.primary("", limits)?]),
        }
    }

    /// Where the namespace is by what is known now; nobody is asked.
    pub(super) fn known(&self, tag: &str) -> Option<Address> {
        match self {
            Self::One(primary) => Some(primary.address().clone()),
            Self::Sentinel(sentinels) => sentinels.known(),
            Self::Cluster(cluster) => cluster.known(tag),
        }
    }

    /// It did not answer, or is not the primary any more.
    pub(super) fn lost(&self, tag: &str, primary: &Arc<Primary>) {
        match self {
            Self::One(_) => {}
            Self::Sentinel(sentinels) => sentinels.lost(primary),
            Self::Cluster(cluster) => cluster.lost(tag, primary),
        }
    }

    /// Whom to ask instead, if that is what the error says.
    pub(super) fn redirected(
        &self,
        tag: &str,
        from: &Primary,
        error: &ServerError,
    ) -> Result<Option<Arc<Primary>>, Failure> {
        if !matches!(error.code(), "MOVED" | "ASK") {
            return Ok(None);
        }
        match self {
            Self::Cluster(cluster) => cluster.redirected(tag, from.address(), error).map(Some),
            _ => Err(Failure::unusable(format!(
                "{} is a node of a cluster; use redis+cluster://HOST,HOST",
                from.address()
            ))),
        }
    }
}
