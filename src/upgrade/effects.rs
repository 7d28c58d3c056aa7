//! What each step of a plan does, and how it is undone. One module per kind of thing that is changed.

pub mod archiving;
pub mod back;
pub mod backup;
pub mod besides;
pub mod containers;
pub mod data;
pub mod dump;
pub mod edits;
pub mod finish;
pub mod host;
pub mod images;
pub mod outage;
pub mod prepare;
pub mod quiet;
pub mod restore;
pub mod swap;
pub mod volume;
