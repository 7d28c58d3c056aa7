//! What the tests share.

pub mod engine;
pub mod http;
pub mod stack;
pub mod tiny;
