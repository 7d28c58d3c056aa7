//! What the tests share.

pub mod engine;
pub mod http;
pub mod own;
pub mod proxy;
pub mod s3;
pub mod stack;
pub mod tiny;
pub mod tls;
