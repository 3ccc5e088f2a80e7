//! flowlock on the command line.
mod args;
mod child;
mod dates;
mod signals;
mod supervise;
mod terminal;
mod times;
fn main() {
    let cli = <args::Cli as clap::Parser>::parse();
    println!("{cli:?}");
}
