//! Opens a bundle: everything that can be checked without reading its data is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::info::{ImageInfo, is_safe_relative};
use super::super::tarball::{self, Section, TarEntry, TarKind};
use super::super::{Digest, ReleaseInfo};
use super::{
    Encoding, IMAGES, Limits, RELEASE_JSON, STACK, Verified, ZST, blob, fault_of, link_stays_inside, sparse,
};
use crate::fault::{Code, Fault, IoContext, Result};

/// Compressed members may need this much memory (2^27 bytes) to decode, no more.
const WINDOW_LOG: u32 = 27;

/// What a bundle entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Where its bytes begin in the bundle.
        offset: u64,
        /// How many there are.
        length: u64,
        /// How they are stored.
        encoding: Encoding,
    },
    /// A folder.
    Directory,
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: String,
    },
}

/// An entry of a bundle, under its decoded path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Unix permission bits.
    pub mode: u32,
}

/// An open bundle. Cheap to clone; all clones read the same open file.
#[derive(Clone)]
pub struct Bundle {
    file: Arc<File>,
    contents: Arc<Contents>,
}

pub(super) struct Contents {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) limits: Limits,
    pub(super) info: ReleaseInfo,
    pub(super) entries: BTreeMap<String, Entry>,
    /// Of a sparse bundle: what is in the bundle and not here.
    pub(super) absent: Option<BTreeSet<String>>,
}

impl Bundle {
    /// Opens the bundle `path` with the default [`Limits`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Limits::default())
    }

    /// Opens the bundle `path`.
    pub fn open_with(path: impl AsRef<Path>, limits: Limits) -> Result<Self> {
        let path = path.as_ref();
        if sparse::is_sparse_path(path) {
            return sparse::open(path, limits);
        }
        let name = path.display().to_string();
        let file = Arc::new(File::open(path).at(path)?);
        let size = file.metadata().at(path)?.len();
        let mut entries = BTreeMap::new();
        for raw in tarball::scan(&file, &name, limits.entries)? {
            let (entry_path, entry) = admit(raw, &name)?;
            if entries.insert(entry_path.clone(), entry).is_some() {
                return Err(Fault::new(Code::BundleInvalid, &name, format!("{entry_path} is in twice")));
            }
        }
        refuse_paths_through_links(&entries)?;
        let document = read_document(&file, &entries, RELEASE_JSON, &limits, &name)?;
        let info = ReleaseInfo::from_json(&document, &name)?;
        check_totals(&entries, &info, &limits, &name)?;
        Ok(Self::of(file, Contents { path: path.to_owned(), size, limits, info, entries, absent: None }))
    }

    pub(super) fn of(file: Arc<File>, contents: Contents) -> Self {
        Self { file, contents: Arc::new(contents) }
    }

    /// Whether only some of its members are here; see [`sparse`].
    pub fn is_sparse(&self) -> bool {
        self.contents.absent.is_some()
    }

    /// What the release is.
    pub fn info(&self) -> &ReleaseInfo {
        &self.contents.info
    }

    /// The file it was opened from.
    pub fn path(&self) -> &Path {
        &self.contents.path
    }

    /// The length of the file.
    pub fn size(&self) -> u64 {
        self.contents.size
    }

    /// The limits it was opened with.
    pub fn limits(&self) -> Limits {
        self.contents.limits
    }

    /// The entry at `path`.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.contents.entries.get(path)
    }

    /// All entries by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.contents.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The entries below `stack/`, by their path in the stack folder.
    pub fn stack(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries().filter_map(|(path, entry)| {
            let inner = path.strip_prefix(STACK)?.strip_prefix('/')?;
            Some((inner, entry))
        })
    }

    /// Whether the image blob `digest` is in the bundle.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.entry(&blob(digest)).is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. }))
    }

    /// Whether the image is in the bundle with all its blobs; a patch leaves out those the version before has.
    pub fn has_image(&self, image: &ImageInfo) -> bool {
        self.has_image_without(image, &BTreeSet::new())
    }

    /// Whether the bundle says what the image consists of; its layers may be elsewhere.
    pub fn describes(&self, image: &ImageInfo) -> bool {
        self.has_blob(&image.digest) && self.has_blob(&image.id)
    }

    /// The same where the layers in `present` need not be there.
    pub fn has_image_without(&self, image: &ImageInfo, present: &BTreeSet<Digest>) -> bool {
        let layers = image.layers.iter().map(|layer| &layer.digest).filter(|layer| !present.contains(layer));
        [&image.digest, &image.id].into_iter().chain(layers).all(|digest| self.has_blob(digest))
    }

    /// Reads the file `path`, decoded and verified: it must have `size` bytes and the digest `digest`.
    pub fn read(&self, path: &str, size: u64, digest: Digest) -> Result<impl Read + Send + use<>> {
        Ok(Verified::new(self.decoded(path)?, path, size, digest))
    }

    /// The image blob `digest` of `size` bytes, decoded and verified on the way.
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<impl Read + Send + use<>> {
        self.read(&blob(digest), size, *digest)
    }

    /// A small image blob (a config or manifest), verified.
    pub fn small_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = blob(digest);
        let bytes = read_capped(self.decoded(&path)?, &path, self.contents.limits.document)?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(Fault::new(Code::HashMismatch, path, format!("found {found}"))),
        }
    }

    /// Why there is no `path`: it is no member, or it was not fetched.
    pub(super) fn lacking(&self, path: &str) -> Fault {
        let fetched = self.contents.absent.as_ref().is_none_or(|absent| !absent.contains(path));
        let (code, cause) = match fetched {
            true => (Code::BundleInvalid, format!("{path} is missing")),
            false => (Code::MemberNotFetched, format!("{path} was not fetched")),
        };
        Fault::new(code, self.path().display(), cause)
    }

    pub(super) fn decoded(&self, path: &str) -> Result<Box<dyn Read + Send>> {
        match self.entry(path).map(|entry| &entry.kind) {
            Some(EntryKind::File { offset, length, encoding }) => {
                decode(Section::new(self.file.clone(), *offset, *length), *encoding)
            }
            _ => Err(self.lacking(path)),
        }
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("path", &self.contents.path).finish_non_exhaustive()
    }
}

/// Turns a tar entry into one of ours, or says why it may not be in a bundle.
fn admit(raw: TarEntry, name: &str) -> Result<(String, Entry)> {
    let TarEntry { path, kind, mode, offset, length } = raw;
    let unsafe_entry = |cause: &str| Err(Fault::new(Code::BundleUnsafe, &path, format!("{name}: {cause}")));
    let bare = match kind {
        TarKind::Directory => path.strip_suffix('/').unwrap_or(&path),
        _ => &path,
    };
    if !is_safe_relative(bare) {
        return unsafe_entry("the path is not allowed");
    }
    let mut bare = bare.to_owned();
    let kind = match kind {
        TarKind::File => {
            let in_blobs = bare.strip_prefix(IMAGES).is_some_and(|rest| rest.starts_with("/blobs/"));
            let encoding = match bare.strip_suffix(ZST).filter(|_| in_blobs) {
                Some(decoded) => {
                    bare = decoded.to_owned();
                    Encoding::Zstd
                }
                None => Encoding::None,
            };
            EntryKind::File { offset, length, encoding }
        }
        TarKind::Directory => EntryKind::Directory,
        TarKind::Link(target) => {
            let inner = bare.strip_prefix(STACK).and_then(|rest| rest.strip_prefix('/'));
            let Some(inner) = inner else { return unsafe_entry("a link outside the stack folder") };
            if !link_stays_inside(&target, inner.matches('/').count()) {
                return unsafe_entry(&format!("it links to {target}"));
            }
            EntryKind::Link { target }
        }
        TarKind::HardLink(target) => return unsafe_entry(&format!("a hard link to {target}")),
        TarKind::Other(byte) => {
            return unsafe_entry(&format!("neither file, folder nor link (type {:?})", char::from(byte)));
        }
    };
    Ok((bare, Entry { kind, mode: mode & 0o777 }))
}

/// Nothing may lie below a file or a link: it would be written to where the link leads.
pub(super) fn refuse_paths_through_links(entries: &BTreeMap<String, Entry>) -> Result<()> {
    for path in entries.keys() {
        let mut parent = path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            parent = above;
            if entries.get(parent).is_some_and(|entry| entry.kind != EntryKind::Directory) {
                return Err(Fault::new(Code::BundleUnsafe, path, format!("{parent} is not a folder")));
            }
        }
    }
    Ok(())
}

pub(super) fn check_totals(
    entries: &BTreeMap<String, Entry>,
    info: &ReleaseInfo,
    limits: &Limits,
    name: &str,
) -> Result<()> {
    let mut total: u64 = 0;
    let mut count = |what: &str, size: u64| {
        total = total.saturating_add(size);
        if size > limits.member {
            let cause = format!("{size} bytes; {} are allowed", limits.member);
            return Err(Fault::new(Code::BundleTooLarge, what, cause));
        }
        if total > limits.total {
            let cause = format!("more than {} bytes in all", limits.total);
            return Err(Fault::new(Code::BundleTooLarge, name, cause));
        }
        Ok(())
    };
    for (path, entry) in entries {
        if let EntryKind::File { length, encoding: Encoding::None, .. } = entry.kind {
            count(path, length)?;
        }
    }
    let layers = info.images.iter().flat_map(|image| &image.layers);
    let mut seen = BTreeSet::new();
    for layer in layers.filter(|layer| seen.insert(layer.digest)) {
        let path = blob(&layer.digest);
        if let Some(EntryKind::File { encoding: Encoding::Zstd, .. }) = entries.get(&path).map(|e| &e.kind) {
            count(&path, layer.size)?;
        }
    }
    Ok(())
}

pub(super) fn read_document(
    file: &Arc<File>,
    entries: &BTreeMap<String, Entry>,
    path: &str,
    limits: &Limits,
    name: &str,
) -> Result<Vec<u8>> {
    match entries.get(path).map(|entry| &entry.kind) {
        Some(EntryKind::File { offset, length, encoding }) => {
            let reader = decode(Section::new(file.clone(), *offset, *length), *encoding)?;
            read_capped(reader, path, limits.document)
        }
        _ => Err(Fault::new(Code::BundleInvalid, name, format!("it has no {path}"))),
    }
}

fn decode(section: Section, encoding: Encoding) -> Result<Box<dyn Read + Send>> {
    if encoding == Encoding::None {
        return Ok(Box::new(section));
    }
    let wrong = |error| fault_of(error, "zstd");
    let mut decoder = zstd::Decoder::new(section).map_err(wrong)?;
    decoder.window_log_max(WINDOW_LOG).map_err(wrong)?;
    Ok(Box::new(decoder))
}

fn read_capped(reader: impl Read, name: &str, cap: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(cap + 1).read_to_end(&mut bytes).map_err(|error| fault_of(error, name))?;
    match bytes.len() as u64 > cap {
        true => Err(Fault::new(Code::BundleTooLarge, name, format!("more than {cap} bytes"))),
        false => Ok(bytes),
    }
}
