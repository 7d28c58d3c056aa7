//! One integration binary: what a user would notice.
mod cli;
mod cli_terminal;
