//! One integration binary: what a user would notice.

mod support;
mod transfer;
