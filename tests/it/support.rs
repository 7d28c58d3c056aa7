//! What the tests share.

pub mod engine;
pub mod http;
pub mod s3;
pub mod stack;
pub mod tiny;
