//! The main job: decide, plan, carry out under a journal, undo.
//!
//! The functions here are what the command line, the daemon and frontends call.

mod api;
mod edits;
mod envfile;
mod installation;
pub mod journal;
pub mod pointers;

pub use api::*;
pub use installation::Installation;
