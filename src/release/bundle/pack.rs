//! Puts a whole release into a bundle, in the one order that makes bundles reproducible.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::super::delta::Layer;
use super::super::dockersave::SavedImages;
use super::super::info::FileInfo;
use super::super::oci::{self, ImageRow};
use super::super::{Digest, ReleaseInfo, info::ImageInfo};
use super::{BundleSummary, BundleWriter, IMAGES, RELEASE_JSON, STACK, blob, delta_path};
use crate::fault::{Code, Fault, IoContext, Result};

/// From what an older layer becomes one of a bundle.
#[derive(Debug, Clone)]
pub struct PackedDelta {
    /// The older layer.
    pub old: Digest,
    /// The delta's own digest.
    pub hash: Digest,
    /// The delta.
    pub content: Layer,
}

/// Whoever makes the deltas to the layer with this digest, which takes so many bytes in the bundle.
pub type DeltaMaker<'a> = dyn FnMut(&Digest, u64) -> Result<Vec<PackedDelta>> + 'a;

/// Writes the bundle `out`: `info` as its `release.json`, of its files those `keep` wants (read from
/// `stack`), and of its images those that `images` holds. A full bundle keeps all; a patch keeps what is new.
pub fn pack(
    out: &Path,
    info: &ReleaseInfo,
    stack: &Path,
    keep: impl Fn(&FileInfo) -> bool,
    images: &SavedImages,
) -> Result<BundleSummary> {
    pack_with(out, info, stack, keep, images, &mut |_, _| Ok(Vec::new()))
}

/// The same with the deltas that `make` gives for the layers that are in it.
pub fn pack_with(
    out: &Path,
    info: &ReleaseInfo,
    stack: &Path,
    keep: impl Fn(&FileInfo) -> bool,
    images: &SavedImages,
    make: &mut DeltaMaker<'_>,
) -> Result<BundleSummary> {
    let mut writer = BundleWriter::create(out)?;
    writer.add_bytes(RELEASE_JSON, 0o644, &info.to_json())?;
    let mut files: Vec<&FileInfo> = info.files.iter().filter(|file| keep(file)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        let member = format!("{STACK}/{}", file.path);
        if let Some(target) = &file.link {
            writer.add_link(&member, target)?;
            continue;
        }
        let source = stack.join(&file.path);
        let reader = File::open(&source).at(&source)?;
        let size = reader.metadata().at(&source)?.len();
        writer.add_file(&member, file.mode, size, file.hash, reader)?;
    }
    if !images.is_empty() {
        add_images(&mut writer, info, images)?;
        add_deltas(&mut writer, info, make)?;
    }
    writer.finish()
}

/// They come last: who fetches the whole bundle in order has everything else before them.
fn add_deltas(writer: &mut BundleWriter, info: &ReleaseInfo, make: &mut DeltaMaker<'_>) -> Result<()> {
    let layers: BTreeSet<Digest> =
        info.images.iter().flat_map(|image| &image.layers).map(|layer| layer.digest).collect();
    for layer in layers {
        let Some(stored) = writer.stored(&blob(&layer)) else { continue };
        for delta in make(&layer, stored)? {
            let path = delta_path(&layer, &delta.old);
            writer.add_file(&path, 0o644, delta.content.length(), delta.hash, delta.content.reader())?;
        }
    }
    Ok(())
}

fn add_images(writer: &mut BundleWriter, info: &ReleaseInfo, images: &SavedImages) -> Result<()> {
    let mut rows: Vec<ImageRow> = Vec::new();
    let held = |image: &&ImageInfo| images.contains(&image.id);
    let mut wanted: Vec<&ImageInfo> = info.images.iter().filter(held).collect();
    wanted.sort_by(|a, b| (a.digest, &a.reference).cmp(&(b.digest, &b.reference)));
    for image in &wanted {
        let tag = oci::ImageName::parse(&image.reference)?;
        match rows.last_mut().filter(|row| row.manifest == image.digest) {
            Some(row) => row.tags.push(tag),
            None => rows.push(ImageRow {
                manifest: image.digest,
                manifest_size: images.documents(&image.id)?.1.len() as u64,
                config: image.id,
                layers: image.layers.iter().map(|layer| layer.digest).collect(),
                tags: vec![tag],
            }),
        }
    }
    for row in &mut rows {
        row.tags.sort();
        row.tags.dedup();
    }
    writer.add_bytes(&format!("{IMAGES}/oci-layout"), 0o644, oci::OCI_LAYOUT.as_bytes())?;
    writer.add_bytes(&format!("{IMAGES}/index.json"), 0o644, &oci::index_json(&rows))?;
    writer.add_bytes(&format!("{IMAGES}/manifest.json"), 0o644, &oci::docker_manifest(&rows))?;
    for image in &wanted {
        let (config, manifest) = images.documents(&image.id)?;
        writer.add_blob(image.id, config.len() as u64, || Ok(config))?;
        writer.add_blob(image.digest, manifest.len() as u64, || Ok(manifest))?;
        for layer in &image.layers {
            if layer.digest != layer.diff_id {
                return Err(Fault::new(
                    Code::BundleInvalid,
                    &image.reference,
                    "a layer is named by another digest",
                ));
            }
            writer.add_blob(layer.digest, layer.size, || images.open_layer(&layer.digest))?;
        }
    }
    Ok(())
}
