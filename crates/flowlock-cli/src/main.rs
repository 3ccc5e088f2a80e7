//! flowlock on the command line.
fn main() {}
