//! What a release is: versions, manifests, the strategy, the bundle and what is in it.

pub mod digest;
pub mod info;
pub mod operations;
pub mod version;

pub use digest::Digest;
pub use info::ReleaseInfo;
pub use version::Version;
