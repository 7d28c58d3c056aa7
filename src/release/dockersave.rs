//! Reads what `docker save` writes, whichever engine wrote it, into one identity per image.
//!
//! Engines before 25 write `<id>/layer.tar` (some as links to another image's), later ones an OCI layout,
//! and the containerd store may leave layers compressed. All carry `manifest.json`, which leads to the
//! config and the layers. The config is kept byte for byte (its digest is the image's ID); layers are named
//! by their uncompressed digest, which must be the one the config promises; the image manifest is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::Digest;
use super::bundle::{Limits, Verified, fault_of};
use super::delta::Layer;
use super::info::{ImageInfo, LayerInfo};
use super::oci::{self, ImageName};
use super::tarball::{self, Section, TarEntry, TarKind};
use crate::fault::{Code, Fault, IoContext, Result};

/// An image of a saved archive.
#[derive(Debug, Clone)]
pub struct SavedImage {
    /// The config digest.
    pub id: Digest,
    /// The digest of the image manifest.
    pub digest: Digest,
    /// Its layers, base first.
    pub layers: Vec<LayerInfo>,
    /// The names it was saved under.
    pub tags: Vec<ImageName>,
    /// Its architecture in OCI terms (`amd64`).
    pub architecture: String,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl SavedImage {
    /// The image as `release.json` lists it.
    pub fn info(&self, reference: impl Into<String>) -> ImageInfo {
        ImageInfo {
            reference: reference.into(),
            id: self.id,
            digest: self.digest,
            layers: self.layers.clone(),
        }
    }
}

/// The images of one or more saved archives; layers are read out of the archives when they are wanted.
#[derive(Debug, Clone, Default)]
pub struct SavedImages {
    images: BTreeMap<Digest, SavedImage>,
    layers: BTreeMap<Digest, LayerSource>,
}

#[derive(Debug, Clone)]
struct LayerSource {
    section: Section,
    codec: Codec,
    size: u64,
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Plain,
    Gzip,
    Zstd,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestRow {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// One archive while it is read.
struct Archive<'a> {
    file: Arc<File>,
    name: String,
    entries: BTreeMap<String, TarEntry>,
    limits: &'a Limits,
}

impl SavedImages {
    /// No images.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds the images of the uncompressed archive `path`. Reads every layer once, to know its digest.
    pub fn add_archive(&mut self, path: &Path, limits: &Limits) -> Result<()> {
        let archive = Archive::open(path, limits)?;
        let rows: Vec<ManifestRow> = serde_json::from_slice(&archive.document("manifest.json")?)
            .map_err(|error| archive.invalid(format!("manifest.json: {error}")))?;
        // Layers that several images share are one place in the archive: hashed once.
        let mut known = BTreeMap::new();
        for row in rows {
            let image = self.read_image(&archive, row, &mut known)?;
            match self.images.get_mut(&image.id) {
                Some(same) => same.tags.extend(image.tags),
                None => {
                    self.images.insert(image.id, image);
                }
            }
        }
        Ok(())
    }

    fn read_image(
        &mut self,
        archive: &Archive<'_>,
        row: ManifestRow,
        known: &mut BTreeMap<u64, Digest>,
    ) -> Result<SavedImage> {
        let config_bytes = archive.document(&row.config)?;
        let config: Config = serde_json::from_slice(&config_bytes)
            .map_err(|error| archive.invalid(format!("{}: {error}", row.config)))?;
        let paths = row.layers.unwrap_or_default();
        if paths.len() != config.rootfs.diff_ids.len() {
            let counts = (paths.len(), config.rootfs.diff_ids.len());
            return Err(archive.invalid(format!("{} of {} layers are listed", counts.0, counts.1)));
        }
        let mut layers = Vec::new();
        for (path, promised) in paths.iter().zip(&config.rootfs.diff_ids) {
            let entry = archive.file(path)?;
            let found = match known.get(&entry.offset) {
                Some(digest) => *digest,
                None => {
                    let (digest, source) = archive.layer(path, entry)?;
                    known.insert(entry.offset, digest);
                    self.layers.entry(digest).or_insert(source);
                    digest
                }
            };
            if found != *promised {
                return Err(archive.invalid(format!("layer {path} is {found}, the config says {promised}")));
            }
            let size = self.layers.get(&found).map_or(0, |source| source.size);
            layers.push(LayerInfo { diff_id: found, digest: found, size });
        }
        let id = Digest::of(&config_bytes);
        let manifest = oci::image_manifest(&id, config_bytes.len() as u64, &layers);
        let tags = row.repo_tags.unwrap_or_default();
        Ok(SavedImage {
            id,
            digest: Digest::of(&manifest),
            layers,
            tags: tags.iter().map(|tag| ImageName::parse(tag)).collect::<Result<_>>()?,
            architecture: config.architecture,
            config: config_bytes,
            manifest,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// All of them, by ID.
    pub fn iter(&self) -> impl Iterator<Item = &SavedImage> {
        self.images.values()
    }

    /// Whether the image with this ID is among them.
    pub fn contains(&self, id: &Digest) -> bool {
        self.images.contains_key(id)
    }

    /// The image that was saved under `name`.
    pub fn named(&self, name: &ImageName) -> Option<&SavedImage> {
        self.images.values().find(|image| image.tags.contains(name))
    }

    /// Only the images `keep` wants.
    pub fn retain(mut self, keep: impl Fn(&SavedImage) -> bool) -> Self {
        self.images.retain(|_, image| keep(image));
        self
    }

    /// The distinct architectures.
    pub fn architectures(&self) -> BTreeSet<&str> {
        self.images.values().map(|image| image.architecture.as_str()).collect()
    }

    /// The config and the image manifest of the image `id`.
    pub fn documents(&self, id: &Digest) -> Result<(&[u8], &[u8])> {
        let image =
            self.images.get(id).ok_or_else(|| Fault::new(Code::ImageMissing, id, "it was not saved"))?;
        Ok((&image.config, &image.manifest))
    }

    /// The uncompressed layer `digest`.
    pub fn open_layer(&self, digest: &Digest) -> Result<Box<dyn Read + Send>> {
        let missing = || Fault::new(Code::BundleInvalid, digest, "the layer was not saved");
        let source = self.layers.get(digest).ok_or_else(missing)?;
        decoded(source.section.clone(), source.codec).map_err(|error| fault_of(error, &digest.to_string()))
    }
}

/// The uncompressed layer `digest` out of what `docker save` writes (Engine 25 and later), spooled in `folder`; none where
/// it is not in there, or only compressed.
pub fn layer_in(saved: impl Read, digest: &Digest, folder: &Path) -> Result<Option<Layer>> {
    let name = oci::blob_path(digest);
    let wrong = |error| fault_of(error, &name);
    for entry in tar::Archive::new(saved).entries().map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        if entry.path_bytes() == name.as_bytes() {
            let size = entry.size();
            return Layer::spooled(folder, Verified::new(entry, &name, size, *digest), &name).map(Some);
        }
    }
    Ok(None)
}

impl<'a> Archive<'a> {
    fn open(path: &Path, limits: &'a Limits) -> Result<Self> {
        let name = path.display().to_string();
        let file = Arc::new(File::open(path).at(path)?);
        let mut entries = BTreeMap::new();
        for entry in tarball::scan(&file, &name, limits.entries)? {
            let path = entry.path.strip_prefix("./").unwrap_or(&entry.path).to_owned();
            entries.insert(path, entry);
        }
        Ok(Self { file, name, entries, limits })
    }

    fn invalid(&self, cause: impl std::fmt::Display) -> Fault {
        Fault::new(Code::BundleInvalid, &self.name, cause)
    }

    /// The file at `path`, also through a link: `docker save` before 25 links a layer that several images have.
    fn file(&self, path: &str) -> Result<&TarEntry> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            let entry = self.entries.get(&path).ok_or_else(|| self.invalid(format!("{path} is missing")))?;
            match &entry.kind {
                TarKind::File => return Ok(entry),
                TarKind::Link(target) => {
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    path = resolve(folder, target);
                }
                TarKind::HardLink(target) => path = target.clone(),
                _ => return Err(self.invalid(format!("{path} is not a file"))),
            }
        }
        Err(self.invalid(format!("{path}: too many links")))
    }

    fn document(&self, path: &str) -> Result<Vec<u8>> {
        let entry = self.file(path)?;
        if entry.length > self.limits.document {
            return Err(Fault::new(Code::BundleTooLarge, path, &self.name));
        }
        let mut bytes = Vec::new();
        self.section(entry).read_to_end(&mut bytes).map_err(|error| fault_of(error, path))?;
        Ok(bytes)
    }

    fn section(&self, entry: &TarEntry) -> Section {
        Section::new(self.file.clone(), entry.offset, entry.length)
    }

    fn layer(&self, path: &str, entry: &TarEntry) -> Result<(Digest, LayerSource)> {
        let wrong = |error| fault_of(error, path);
        let section = self.section(entry);
        let mut magic = [0; 4];
        let count = section.clone().read(&mut magic).map_err(wrong)?;
        let codec = match &magic[..count] {
            [0x1f, 0x8b, ..] => Codec::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Codec::Zstd,
            _ => Codec::Plain,
        };
        let reader = decoded(section.clone(), codec).map_err(wrong)?;
        let (digest, size) = Digest::of_reader(reader.take(self.limits.member + 1)).map_err(wrong)?;
        if size > self.limits.member {
            return Err(Fault::new(Code::BundleTooLarge, path, &self.name));
        }
        Ok((digest, LayerSource { section, codec, size }))
    }
}

fn decoded(section: Section, codec: Codec) -> std::io::Result<Box<dyn Read + Send>> {
    Ok(match codec {
        Codec::Plain => Box::new(section),
        Codec::Gzip => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(section))),
        Codec::Zstd => Box::new(zstd::Decoder::new(section)?),
    })
}

/// The path a link in `folder` leads to, inside the archive.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}
