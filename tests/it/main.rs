//! One integration binary: what a user would notice.

mod backup;
mod bundle;
mod layering;
mod support;
mod transfer;
