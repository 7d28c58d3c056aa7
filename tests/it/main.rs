//! One integration binary: what a user would notice.

mod backup;
mod bundle;
mod support;
mod transfer;
