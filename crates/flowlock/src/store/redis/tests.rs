//! The connection against real servers, started for each test and ended with it.

mod basics;
mod inbox;
mod server;
