//! The main job: decide, plan, carry out under a journal, undo.
//!
//! The functions here are what the command line, the daemon and frontends call.

mod api;
pub mod compare;
mod edits;
mod envfile;
mod installation;
pub mod journal;
pub mod plan;
pub mod pointers;
pub mod releases;
pub mod runner;
pub mod step;

pub use api::*;
pub use installation::Installation;
