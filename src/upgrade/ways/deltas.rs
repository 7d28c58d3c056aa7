//! Layers of a sparse bundle that need not be fetched: those that other bundles here have are copied, and those that a
//! delta makes of an older layer are made. What fails here is fetched after all.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::Keeper;
use super::images::{blocking, candidates};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::bundle::{Delta, Encoding, Index, Member, Verified, fault_of};
use crate::release::delta::{Applied, Layer};
use crate::release::digest::Hashing;
use crate::release::dockersave::layer_in;
use crate::release::tarball::Section;
use crate::release::{Bundle, Digest};
use crate::transfer::{Seed, SeedPiece};

/// What is made here is read once or twice: it need not be small.
const LEVEL: i32 = 1;

impl Keeper<'_> {
    /// Of the deltas in `index`, those that make a `wanted` layer of one that is here; the shortest for each.
    pub(super) async fn usable_deltas(&self, index: &Index, wanted: &BTreeSet<Digest>) -> Result<Vec<Delta>> {
        let mut offered = Delta::all(index);
        offered.retain(|delta| wanted.contains(&delta.new));
        if offered.is_empty() {
            return Ok(offered);
        }
        let folder = self.bundles();
        let olds: BTreeSet<Digest> = offered.iter().map(|delta| delta.old).collect();
        let mut here: BTreeSet<Digest> = blocking(move || in_bundles(&folder, &olds)).await?;
        // The engine is asked image by image: only where that can help.
        let engine = if offered.iter().all(|delta| here.contains(&delta.old)) {
            Vec::new()
        } else {
            self.chains().await?
        };
        for (_, chain) in engine {
            here.extend(chain.iter().filter_map(|id| id.parse::<Digest>().ok()));
        }
        offered.retain(|delta| here.contains(&delta.old));
        offered.sort_by_key(|delta| delta.member.length);
        let mut chosen = BTreeSet::new();
        offered.retain(|delta| chosen.insert(delta.new));
        Ok(offered)
    }

    /// Makes the layers of `deltas`, whose own bytes are in the file `part`, behind its first `end` bytes, durably; where
    /// they are then.
    pub(super) async fn make_layers(&self, part: &Path, end: u64, deltas: &[Delta]) -> Result<Vec<Member>> {
        let mut made: Vec<Member> = Vec::new();
        for delta in deltas {
            let at = made.last().map_or(end, |member| member.span().end);
            let old = self.older_layer(&delta.old).await?;
            let (part, delta) = (part.to_owned(), delta.clone());
            made.push(blocking(move || make(&part, at, &delta, old)).await?);
        }
        Ok(made)
    }

    /// The layer `digest`, uncompressed, out of any bundle or image here.
    async fn older_layer(&self, digest: &Digest) -> Result<Layer> {
        let (folder, wanted) = (self.bundles(), *digest);
        if let Some(layer) = blocking(move || from_bundles(&folder, &wanted)).await? {
            return Ok(layer);
        }
        let id = digest.to_string();
        for (image, chain) in self.chains().await? {
            if !chain.contains(&id) {
                continue;
            }
            let saved = self.engine.save_images(&[image]).await?;
            let folder = self.bundles();
            if let Some(layer) = blocking(move || layer_in(saved, &wanted, &folder)).await? {
                return Ok(layer);
            }
        }
        Err(Fault::new(Code::ImageMissing, digest, "neither a bundle nor an image here has this layer"))
    }
}

/// Which of the layers `wanted` bundles in `folder` have.
fn in_bundles(folder: &Path, wanted: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>> {
    let mut found = BTreeSet::new();
    for path in candidates(folder, None)? {
        let Ok(bundle) = Bundle::open(&path) else { continue };
        found.extend(wanted.iter().filter(|digest| bundle.has_blob(digest)));
    }
    Ok(found)
}

/// The layer `digest` out of the first bundle in `folder` that has it whole.
fn from_bundles(folder: &Path, digest: &Digest) -> Result<Option<Layer>> {
    for path in candidates(folder, None)? {
        let Ok(bundle) = Bundle::open(&path) else { continue };
        let mut layers = bundle.info().images.iter().flat_map(|image| &image.layers);
        let Some(size) = layers.find(|layer| layer.digest == *digest).map(|layer| layer.size) else {
            continue;
        };
        let Ok(content) = bundle.blob(digest, size) else { continue };
        match Layer::spooled(folder, content, &digest.to_string()) {
            // The next bundle may have it undamaged.
            Err(fault) if super::speaks_against_bundle(fault.code()) => {}
            spooled => return spooled.map(Some),
        }
    }
    Ok(None)
}

fn make(part: &Path, at: u64, delta: &Delta, old: Layer) -> Result<Member> {
    let name = delta.new.to_string();
    let wrong = |error: io::Error| fault_of(error, &name);
    let mut out = File::options().read(true).write(true).open(part).at(part)?;
    out.seek(SeekFrom::Start(at)).at(part)?;
    let stored = Section::new(Arc::new(File::open(part).at(part)?), delta.member.offset, delta.member.length);
    let applied = Applied::new(old, BufReader::new(stored)).map_err(wrong)?;
    let size = delta.layer.size;
    let mut layer = Verified::new(applied, &name, size, delta.new);
    let mut encoder = zstd::Encoder::new(Hashing::new(out), LEVEL).map_err(wrong)?;
    encoder.set_pledged_src_size(Some(size)).map_err(wrong)?;
    encoder.include_contentsize(true).map_err(wrong)?;
    io::copy(&mut layer, &mut encoder).map_err(wrong)?;
    let (file, encoded_hash, length) = encoder.finish().map_err(wrong)?.finish();
    file.sync_all().at(part)?;
    let (path, encoding, hash) = (delta.layer.path.clone(), Encoding::Zstd, delta.new);
    Ok(Member { path, offset: at, length, encoding, size, hash, encoded_hash })
}

/// Copies into the file `part` what `seed` has of `members`, each to its place; those that are there then, durably. Who
/// wants one that is not has to get it elsewhere.
pub(super) fn copy_members(part: &Path, seed: &Seed, members: &[Member]) -> Result<Vec<Member>> {
    let file = File::options().write(true).open(part).at(part)?;
    let mut copied = Vec::new();
    for member in members {
        let Some(piece) = seed.pieces.iter().find(|piece| piece.range == member.span()) else { continue };
        if copy(piece, member, &file).at(part)? {
            copied.push(member.clone());
        }
    }
    file.sync_all().at(part)?;
    Ok(copied)
}

/// Whether what was copied is what it should be.
fn copy(piece: &SeedPiece, member: &Member, to: &File) -> io::Result<bool> {
    let Ok(from) = File::open(&piece.path) else { return Ok(false) };
    let mut from = Hashing::new(Section::new(Arc::new(from), piece.at, member.length));
    let mut buffer = vec![0; 256 * 1024];
    let mut at = member.offset;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                to.write_all_at(&buffer[..count], at)?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(false),
        }
    }
    let (_, found, length) = from.finish();
    Ok((found, length) == (member.encoded_hash, member.length))
}
