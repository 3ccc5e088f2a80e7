//! The connection to Redis or Valkey: one server, Sentinel or Cluster.
#![allow(dead_code)] // until the store above it is written

mod cluster;
mod dial;
mod failure;
mod inbox;
mod line;
mod link;
mod pack;
mod probe;
mod sentinel;
mod socket;
mod tls;
mod topology;
mod url;
mod wire;

#[cfg(test)]
mod tests;
