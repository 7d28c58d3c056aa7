//! The technical log on stderr, for those who ask for it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::args::Global;

/// Begins to log as `-v`, `-q` or RUST_LOG say. Does nothing when a log runs already.
pub fn start(global: &Global) {
    let wanted = filter(global.verbose, global.quiet);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(wanted));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    // Only a log that was set up before can make this fail, and that one goes on.
    let _ = log.try_init();
}

fn filter(verbose: u8, quiet: bool) -> &'static str {
    match (quiet, verbose) {
        (true, _) => "off",
        (false, 0) => "error",
        (false, 1) => "warn,compose_upgrade=info",
        (false, 2) => "info,compose_upgrade=debug",
        (false, _) => "debug,compose_upgrade=trace",
    }
}
