//! The main job: decide, plan, carry out under a journal, undo.
//!
//! The functions here are what the command line, the daemon and frontends call.

mod api;
mod installation;

pub use api::*;
pub use installation::Installation;
