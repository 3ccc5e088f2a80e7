//! The test kit's own tests: each fault bites, and each check fails where it must.

mod faults;
mod harness;
mod power;
mod redis;
mod witness;
