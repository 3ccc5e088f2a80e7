//! flowlock on the command line.
mod args;
mod dates;
mod terminal;
fn main() {
    let cli = <args::Cli as clap::Parser>::parse();
    println!("{cli:?}");
}
