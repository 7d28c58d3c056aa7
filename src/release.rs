//! What a release is: versions, manifests, the strategy, the bundle and what is in it.

pub mod arch;
pub mod bundle;
pub mod compose_files;
pub mod delta;
pub mod digest;
pub mod dockersave;
pub mod globs;
pub mod info;
pub mod legacy;
pub mod manifest;
pub mod oci;
pub mod operations;
pub mod strategy;
pub(crate) mod tarball;
pub mod tree;
pub mod unpack;
pub mod version;

pub use arch::Arch;
pub use bundle::Bundle;
pub use digest::Digest;
pub use info::ReleaseInfo;
pub use manifest::Manifest;
pub use version::Version;
