//! A server that has namespaces, with its connections.

use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use super::dial::{Dialler, Part};
use super::failure::Failure;
use super::pipeline::Pipeline;
use super::url::Address;
use crate::store::Limits;

/// A server with its two connections.
#[derive(Debug)]
pub(super) struct Primary {
    shared: Pipeline,
    /// WAIT blocks its connection, and waits only for what was written on it.
    waiting: Pipeline,
}

impl Primary {
    pub(super) fn new(dialler: &Arc<Dialler>, address: &Address, part: Part, patience: Duration) -> Self {
        let line = || Pipeline::new(dialler.clone(), address.clone(), part, patience);
        Self { shared: line(), waiting: line() }
    }

    pub(super) fn address(&self) -> &Address {
        self.shared.address()
    }

    /// Returns the number of its newest connection for commands; no two connections have the same.
    pub(super) fn dials(&self) -> u64 {
        self.shared.dials().max(self.waiting.dials())
    }

    /// Makes a connection for a listener.
    pub(super) fn dial(&self, limits: &Limits) -> Result<Connection, Failure> {
        self.shared.dial(limits)
    }

    pub(super) fn shared(&self) -> &Pipeline {
        &self.shared
    }

    pub(super) fn waiting(&self) -> &Pipeline {
        &self.waiting
    }
}
