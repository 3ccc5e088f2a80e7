//! The connection against real servers, started for each test and ended with it.

mod basics;
mod cluster;
mod fuzz;
mod hostile;
mod inbox;
pub(super) mod interrupted;
mod loss;
mod sentinel;
pub(super) mod server;
mod store;
mod tls;
mod wrong;
