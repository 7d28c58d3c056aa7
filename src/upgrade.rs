//! The main job: decide, plan, carry out under a journal, undo.
//!
//! The functions here are what the command line, the daemon and frontends call.

mod analyse;
mod api;
pub mod compare;
mod edits;
mod effects;
mod envfile;
mod fingerprint;
mod installation;
pub mod journal;
pub mod plan;
pub mod pointers;
pub mod releases;
pub mod runner;
pub mod step;
mod world;

pub use api::*;
pub use installation::Installation;
