//! The bundle: one uncompressed tar that holds a release, and its sidecar index.
//!
//! ```text
//! release.json                                what the release is (see `release::info`)
//! stack/**                                    the files of the stack folder
//! images/oci-layout, index.json, manifest.json
//! images/blobs/sha256/<hex>[.zst]             configs, manifests and uncompressed layers
//! deltas/<hex of a layer>/<hex of an older>   from the older layer to that one (see `release::delta`)
//! ```
//!
//! The outer tar is not compressed so that every member can be fetched by HTTP Range and used alone; the
//! members that are worth it are compressed by themselves. Nothing read from a bundle is believed: paths,
//! types and totals are checked when it is opened, and every blob is cut off at its declared size and
//! compared with its digest before its last byte is handed out.

mod archive;
mod index;
mod pack;
mod reader;
mod select;
pub mod sparse;
mod verified;
mod writer;

pub use archive::ImageArchive;
pub use index::{Encoding, Index, Member, index_path};
pub use pack::{DeltaMaker, PackedDelta, pack, pack_with};
pub use reader::{Bundle, Entry, EntryKind};
pub use select::{Delta, Selection};
pub use sparse::Sparse;
pub use verified::{Verified, fault_of};
pub use writer::{BundleSummary, BundleWriter};

/// The member that describes the release.
pub const RELEASE_JSON: &str = "release.json";
/// The folder of the stack's files.
pub const STACK: &str = "stack";
/// The folder of the image layout.
pub const IMAGES: &str = "images";
/// The folder of deltas.
const DELTAS: &str = "deltas";
/// What compressed blobs end in.
const ZST: &str = ".zst";

/// What a package may grow to; beyond it, it is taken for a bomb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the archive.
    pub entries: usize,
    /// Decoded bytes of one member.
    pub member: u64,
    /// Decoded bytes of all members.
    pub total: u64,
    /// Bytes of a document that is read into memory (`release.json`, image configs and manifests).
    pub document: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 200_000, member: 64 << 30, total: 64 << 30, document: 16 << 20 }
    }
}

/// The member of an image blob.
pub fn blob(digest: &super::Digest) -> String {
    format!("{IMAGES}/{}", super::oci::blob_path(digest))
}

/// The member that makes the layer `new` of the layer `old`.
fn delta_path(new: &super::Digest, old: &super::Digest) -> String {
    format!("{DELTAS}/{}/{}", new.hex(), old.hex())
}

/// The layer that the member `path` makes and the one it makes it of; none where it is no delta.
pub fn delta_of(path: &str) -> Option<(super::Digest, super::Digest)> {
    let (new, old) = path.strip_prefix(DELTAS)?.strip_prefix('/')?.split_once('/')?;
    Some((new.parse().ok()?, old.parse().ok()?))
}

/// Whether a link with `target` that lies in a real folder stays inside the release wherever it is put:
/// upward steps only at its start and no more than `depth` (the number of folders it lies in).
///
/// An upward step after a name could leave through another link (`l -> ..`, then `l/..`), so it is refused.
pub(crate) fn link_stays_inside(target: &str, depth: usize) -> bool {
    let parts: Vec<&str> = target.split('/').collect();
    let ups = parts.iter().take_while(|part| **part == "..").count();
    ups <= depth
        && !target.contains('\0')
        && parts[ups..].iter().all(|part| !matches!(*part, "" | "." | ".."))
}
