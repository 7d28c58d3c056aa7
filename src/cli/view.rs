//! What people read: pure functions from reports to text. Nothing here writes anywhere.

pub mod backup;
pub mod check;
pub mod doctor;
pub mod history;
pub mod outcome;
pub mod plan;
pub mod release;
pub mod status;

mod facts;
mod look;
mod table;
mod units;

pub use facts::Facts;
pub use look::{Look, Paint, clean};
pub use table::{Align, Table};
pub use units::{bytes, duration, instant};
