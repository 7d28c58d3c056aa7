//! `client`: the upgrade agent on a device, and the publisher's tool.

use std::process::ExitCode;

fn main() -> ExitCode {
    compose_upgrade::cli::run()
}
