//! `fleet`: the server that decides which device may take which release. It only names itself so far.

use clap::Parser;

/// Decides which device may take which release, and when.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, arg_required_else_help = true)]
struct Fleet {}

fn main() {
    let Fleet {} = Fleet::parse();
}
