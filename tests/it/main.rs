//! One integration binary: what a user would notice.

mod backup;
