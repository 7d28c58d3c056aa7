//! One integration binary: what a user would notice.

mod bundle;
mod support;
mod transfer;
