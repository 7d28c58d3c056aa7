//! A bundle of which only some members are here: `<hash>.sparse`, every byte at the place it has in the bundle, holes
//! where nothing was fetched, and beside it `<hash>.sparse.json`, which says what is there.
//!
//! What the sidecar names was verified before it got its name, by the hashes of the index, which the manifest vouches
//! for; it is read again only through those hashes. The bundle's own hash cannot be compared, so such a file never passes
//! for the whole one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::tarball::Section;
use super::super::{Digest, ReleaseInfo};
use super::link_stays_inside;
use super::reader::{Contents, check_totals, read_document, refuse_paths_through_links};
use super::{Bundle, Encoding, Entry, EntryKind, Index, Limits, Member, RELEASE_JSON, STACK, Selection};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};

const EXTENSION: &str = "sparse";
/// The largest sidecar, and the largest index, that is read.
pub const MOST_INDEX_BYTES: u64 = 64 << 20;

/// What is here of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparse {
    /// Always 1.
    schema: u32,
    /// The hash of the whole bundle.
    bundle: Digest,
    /// Its length.
    size: u64,
    /// The hash of its index.
    index: Digest,
    /// The members that are here, as the index describes them.
    members: Vec<Member>,
    /// The paths of those that are not.
    absent: Vec<String>,
    /// Layers that were made here of older ones, in an encoding of their own, behind where the bundle would end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    made: Vec<Member>,
}

/// `<hash>.sparse` for `<hash>.bundle`.
pub fn sparse_path(bundle: &Path) -> PathBuf {
    bundle.with_extension(EXTENSION)
}

/// Whether `path` is where a sparse bundle would be.
pub fn is_sparse_path(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// Where what is here of the sparse bundle `path` is said.
pub fn sidecar_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

impl Sparse {
    /// Of the bundle with this hash, length and index, what was selected.
    pub fn new(bundle: Digest, size: u64, index: Digest, selection: &Selection) -> Self {
        let absent = selection.absent.iter().map(|member| member.path.clone()).collect();
        Self { schema: 1, bundle, size, index, members: selection.there.clone(), absent, made: Vec::new() }
    }

    /// Where the layers belong that were made here.
    pub fn end(&self) -> u64 {
        self.size
    }

    /// These members of the bundle are here as well.
    pub fn has_also(&mut self, members: Vec<Member>) {
        self.absent.retain(|path| members.iter().all(|member| member.path != *path));
        self.members.extend(members);
        self.members.sort_by_key(|member| member.offset);
    }

    /// These layers were made, and are where they say.
    pub fn was_made(&mut self, members: Vec<Member>) {
        self.absent.retain(|path| members.iter().all(|member| member.path != *path));
        self.made = members;
    }

    /// Whether the member `path` is here.
    pub fn has(&self, path: &str) -> bool {
        self.members.iter().chain(&self.made).any(|member| member.path == path)
    }

    /// How long the file is.
    fn length(&self) -> u64 {
        self.made.iter().map(|member| member.span().end).fold(self.size, u64::max)
    }

    /// What is here of the sparse bundle `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let sidecar = sidecar_path(path);
        let name = sidecar.display();
        let length = std::fs::metadata(&sidecar).at(&sidecar)?.len();
        if length > MOST_INDEX_BYTES {
            return Err(Fault::new(Code::IndexInvalid, name, format!("{length} bytes")));
        }
        let bytes = std::fs::read(&sidecar).at(&sidecar)?;
        let sparse: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Fault::from_error(Code::IndexInvalid, &name, error))?;
        let index = Index { schema: sparse.schema, members: sparse.members.clone() };
        index.validate(sparse.size, &name.to_string())?;
        let all = [&sparse.members[..], &sparse.made[..]].concat();
        Index { schema: sparse.schema, members: all }.validate(sparse.length(), &name.to_string())?;
        Ok(sparse)
    }

    /// Says so beside the sparse bundle `path`, durably. This comes before the bundle gets its name, and the bundle goes
    /// before this does.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec(self).expect("a sidecar is always valid JSON");
        bytes.push(b'\n');
        durable::write_atomic(&sidecar_path(path), &bytes)
    }

    /// Removes the sparse bundle `path`; it need not be there.
    pub fn remove(path: &Path) -> Result<()> {
        durable::remove_file(path)?;
        durable::remove_file(&sidecar_path(path))
    }

    /// The bytes of the members in `file`, also of those that were made here, that are not what they must be.
    pub fn wrong(&self, file: &Path) -> Result<Vec<Range<u64>>> {
        let open = Arc::new(File::open(file).at(file)?);
        let mut wrong = Vec::new();
        for member in self.members.iter().chain(&self.made) {
            let stored = Section::new(open.clone(), member.offset, member.length);
            let (found, length) = Digest::of_reader(stored).at(file)?;
            if (found, length) != (member.encoded_hash, member.length) {
                wrong.push(member.span());
            }
        }
        Ok(wrong)
    }

    /// The members that are here.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many bytes of the bundle are not here.
    pub fn lacking(&self) -> u64 {
        self.members.iter().fold(self.size, |left, member| left.saturating_sub(member.length))
    }

    /// The hash of the whole bundle.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }
}

/// Opens the sparse bundle `path`. Its links are in no index; `release.json` declares them.
pub(super) fn open(path: &Path, limits: Limits) -> Result<Bundle> {
    let name = path.display().to_string();
    let sparse = Sparse::read(path)?;
    let file = Arc::new(File::open(path).at(path)?);
    let found = file.metadata().at(path)?.len();
    if found != sparse.length() {
        let cause = format!("{found} bytes instead of {}", sparse.length());
        return Err(Fault::new(Code::BundleTruncated, &name, cause));
    }
    if sparse.members.len() + sparse.made.len() > limits.entries {
        let cause = format!("more than {} entries", limits.entries);
        return Err(Fault::new(Code::BundleTooLarge, &name, cause));
    }
    let described = sparse.members.iter().find(|member| member.path == RELEASE_JSON);
    let described = described.map(|member| member.hash);
    let mut entries: BTreeMap<String, Entry> =
        sparse.members.into_iter().chain(sparse.made).map(entry).collect();
    let document = read_document(&file, &entries, RELEASE_JSON, &limits, &name)?;
    if described != Some(Digest::of(&document)) {
        return Err(Fault::new(Code::HashMismatch, &name, format!("{RELEASE_JSON} is not what it was")));
    }
    let info = ReleaseInfo::from_json(&document, &name)?;
    for (link, target) in links(&info, &name)? {
        entries.entry(link).or_insert(Entry { kind: EntryKind::Link { target }, mode: 0o777 });
    }
    refuse_paths_through_links(&entries)?;
    check_totals(&entries, &info, &limits, &name)?;
    let absent: BTreeSet<String> = sparse.absent.into_iter().collect();
    Ok(Bundle::of(
        file,
        Contents { path: path.to_owned(), size: found, limits, info, entries, absent: Some(absent) },
    ))
}

fn entry(member: Member) -> (String, Entry) {
    let Member { path, offset, length, encoding, .. } = member;
    (path, Entry { kind: EntryKind::File { offset, length, encoding }, mode: 0o644 })
}

fn links(info: &ReleaseInfo, name: &str) -> Result<Vec<(String, String)>> {
    let mut links = Vec::new();
    for file in &info.files {
        let Some(target) = &file.link else { continue };
        if !link_stays_inside(target, file.path.matches('/').count()) {
            let cause = format!("{name}: it links to {target}");
            return Err(Fault::new(Code::BundleUnsafe, &file.path, cause));
        }
        links.push((format!("{STACK}/{}", file.path), target.clone()));
    }
    Ok(links)
}

/// What `release.json`, fetched alone as `member` of a bundle, says.
pub fn info_of_member(member: &Member, bytes: &[u8], name: &str) -> Result<ReleaseInfo> {
    if member.encoding != Encoding::None || Digest::of(bytes) != member.encoded_hash {
        return Err(Fault::new(
            Code::HashMismatch,
            name,
            format!("{RELEASE_JSON} is not what the index says"),
        ));
    }
    ReleaseInfo::from_json(bytes, name)
}
