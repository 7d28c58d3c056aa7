//! What a release is: versions, manifests, the strategy, the bundle and what is in it.

pub mod arch;
pub mod digest;
pub mod info;
pub mod manifest;
pub mod strategy;
pub mod version;

pub use arch::Arch;
pub use digest::Digest;
pub use info::ReleaseInfo;
pub use manifest::Manifest;
pub use version::Version;
