//! One integration binary: what a user would notice.

mod bundle;
mod cli;
mod cli_terminal;
mod layering;
mod support;
mod transfer;
