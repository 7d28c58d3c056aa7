//! Deltas from the layers of older releases: which older layer a new one is most like, and what lies between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::patch::bundle_of;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::bundle::{PackedDelta, fault_of};
use crate::release::delta::{self, Layer, Sketch};
use crate::release::digest::Hashing;
use crate::release::dockersave::SavedImages;
use crate::release::info::LayerInfo;
use crate::release::{Bundle, Digest, ReleaseInfo, Version};

/// A layer that takes fewer bytes is fetched as it is.
const LEAST_STORED: u64 = 256 * 1024;
/// A delta is worth it where it takes at most this part (in percent) of what the layer takes: it makes the bundle longer
/// for those who fetch all of it.
const WORTH: u64 = 75;

/// A delta that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeltaReport {
    /// The new layer.
    pub layer: Digest,
    /// Bytes that it takes in the bundle.
    pub stored: u64,
    /// The older release it can be made of.
    pub from: Version,
    /// The older layer.
    pub old: Digest,
    /// Bytes of the delta.
    pub size: u64,
}

/// An older layer that a new one is like.
struct Base {
    version: Version,
    bundle: Bundle,
    layer: LayerInfo,
}

/// The deltas to the layers of some saved images. A new layer that is like none of the older ones gets none.
pub(super) struct Deltas<'a> {
    images: &'a SavedImages,
    /// Where there is room for layers while they are read.
    room: &'a Path,
    /// By the new layer.
    bases: BTreeMap<Digest, Vec<Base>>,
    /// Of the new layers that were looked at.
    sketches: BTreeMap<Digest, Sketch>,
    /// What was made, by the new layer: a full package and a patch have the same.
    made: RefCell<BTreeMap<Digest, Vec<(PackedDelta, DeltaReport)>>>,
}

impl<'a> Deltas<'a> {
    /// For the layers of `images`; the folder `room` holds some of them for a time.
    pub(super) fn new(images: &'a SavedImages, room: &'a Path) -> Self {
        let (bases, sketches, made) = Default::default();
        Self { images, room, bases, sketches, made }
    }

    /// Finds the layer of the release `version` that each new layer of `info` is most like.
    pub(super) fn compare(&mut self, version: &Version, info: &ReleaseInfo) -> Result<()> {
        if *version >= info.version {
            let cause = format!("it is not older than {}", info.version);
            return Err(Fault::new(Code::Usage, format!("--delta-from {version}"), cause));
        }
        let bundle = bundle_of(version, self.room, info)?;
        let old = layers(bundle.info());
        let known: BTreeSet<Digest> = old.iter().map(|layer| layer.digest).collect();
        let fresh: Vec<LayerInfo> =
            layers(info).into_iter().filter(|layer| !known.contains(&layer.digest)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let mut of_old = Vec::new();
        for layer in old.into_iter().filter(|layer| bundle.has_blob(&layer.digest)) {
            let content = bundle.blob(&layer.digest, layer.size)?;
            of_old.push((sketch(content, &layer.digest)?, layer));
        }
        for layer in fresh {
            if !self.sketches.contains_key(&layer.digest) {
                let sketch = sketch(self.images.open_layer(&layer.digest)?, &layer.digest)?;
                self.sketches.insert(layer.digest, sketch);
            }
            let Some(own) = self.sketches.get(&layer.digest) else { continue };
            let alike = of_old.iter().map(|(sketch, old)| (own.in_common(sketch), old));
            let most = alike.max_by_key(|(common, old)| (*common, std::cmp::Reverse(old.digest)));
            if let Some((_, old)) = most.filter(|(common, _)| *common > 0) {
                let (version, bundle, old) = (version.clone(), bundle.clone(), old.clone());
                self.bases.entry(layer.digest).or_default().push(Base { version, bundle, layer: old });
            }
        }
        Ok(())
    }

    /// The deltas to `layer`, which takes `stored` bytes in the bundle.
    pub(super) fn to(&self, layer: &Digest, stored: u64) -> Result<Vec<PackedDelta>> {
        let mut made = self.made.borrow_mut();
        if !made.contains_key(layer) {
            made.insert(*layer, self.make(layer, stored)?);
        }
        Ok(made.get(layer).into_iter().flatten().map(|(delta, _)| delta.clone()).collect())
    }

    /// What was made.
    pub(super) fn made(self) -> Vec<DeltaReport> {
        self.made.into_inner().into_values().flatten().map(|(_, report)| report).collect()
    }

    fn make(&self, layer: &Digest, stored: u64) -> Result<Vec<(PackedDelta, DeltaReport)>> {
        let bases = self.bases.get(layer).filter(|_| stored >= LEAST_STORED);
        let Some(bases) = bases else { return Ok(Vec::new()) };
        let new = Layer::spooled(self.room, self.images.open_layer(layer)?, &layer.to_string())?;
        let mut made: Vec<(PackedDelta, DeltaReport)> = Vec::new();
        for Base { version, bundle, layer: base } in bases {
            // Two older releases may have the same layer.
            if made.iter().any(|(delta, _)| delta.old == base.digest) {
                continue;
            }
            let old =
                Layer::spooled(self.room, bundle.blob(&base.digest, base.size)?, &base.digest.to_string())?;
            let mut out = Hashing::new(tempfile::tempfile_in(self.room).at(self.room)?);
            let wrong = |error| fault_of(error, &layer.to_string());
            let most = stored.saturating_mul(WORTH) / 100;
            let Some(size) = delta::encode(&old, &new, &mut out, most).map_err(wrong)? else { continue };
            let (file, hash, _) = out.finish();
            let content = Layer::new(Arc::new(file), 0, size);
            let report = DeltaReport { layer: *layer, stored, from: version.clone(), old: base.digest, size };
            made.push((PackedDelta { old: base.digest, hash, content }, report));
        }
        Ok(made)
    }
}

/// All layers of a release, each once.
fn layers(info: &ReleaseInfo) -> Vec<LayerInfo> {
    let mut seen = BTreeSet::new();
    let layers = info.images.iter().flat_map(|image| &image.layers);
    layers.filter(|layer| seen.insert(layer.digest)).cloned().collect()
}

fn sketch(layer: impl Read, digest: &Digest) -> Result<Sketch> {
    Sketch::of(layer).map_err(|error| fault_of(error, &digest.to_string()))
}
