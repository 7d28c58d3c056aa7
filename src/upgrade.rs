//! The main job: decide, plan, carry out under a journal, undo.
//!
//! The functions here are what the command line, the daemon and frontends call.

mod analyse;
mod api;
mod change;
mod command;
pub mod compare;
mod edits;
mod effects;
mod envfile;
mod fingerprint;
mod installation;
pub mod journal;
pub mod plan;
pub mod pointers;
mod preview;
pub mod releases;
mod resolve;
pub mod runner;
pub mod step;
mod world;

pub use api::*;
pub use command::{check, plan, upgrade};
pub use installation::Installation;
