//! One integration binary: what a user would notice.

mod backup;
mod bad_input;
mod bundle;
mod cli;
mod cli_terminal;
mod crash;
mod layering;
mod support;
mod transfer;
