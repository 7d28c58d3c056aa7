//! The main job: decide, plan, carry out under a journal, undo.
//!
//! The functions here are what the command line, the daemon and frontends call.

mod adopt;
mod ahead;
mod analyse;
mod api;
mod backups;
mod change;
mod command;
pub mod compare;
mod doctor;
mod edits;
mod effects;
mod ending;
mod envfile;
mod factory;
mod fingerprint;
mod inspect;
mod install;
mod installation;
pub mod journal;
mod killpoint;
mod needed;
mod origin;
pub mod plan;
pub mod pointers;
mod preview;
mod quarantine;
pub mod rebuild;
pub mod releases;
mod renew;
mod repair;
pub mod report;
mod resolve;
mod rollback;
pub mod runner;
mod running;
mod shipped;
mod soak;
mod standing;
pub mod step;
mod unarchived;
mod ways;
mod world;

pub use crate::backup::{exchange_inside, send_inside};
pub use api::*;
pub use backups::{
    RestoreOptions, backup_copy, backup_create, backup_delete, backup_extract, backup_import, backup_list,
    backup_prune, backup_restore, backup_show, backup_verify, newer_data, thaw,
};
pub use command::{check, download, plan, upgrade};
pub use doctor::doctor;
pub use effects::volume::{INSIDE, SEND};
pub use inspect::{history, history_entry, status};
pub use install::init;
pub use installation::Installation;
pub use rollback::{rollback, rollback_plan};
