//! Images of a bundle as the tar stream `docker load` takes, made on the way: no second copy on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read};

use serde::Deserialize;

use super::super::info::ImageInfo;
use super::super::oci::{self, ImageName, ImageRow};
use super::super::{Digest, oci::blob_path};
use super::writer::header;
use super::{Bundle, blob};
use crate::fault::{Code, Fault, Result};

/// A tar stream for `docker load`. A blob that is not what was promised ends it with an error that holds
/// a [`Fault`] (see [`super::fault_of`]), before the blob's end is handed out.
pub struct ImageArchive {
    bundle: Bundle,
    parts: VecDeque<Part>,
    current: Option<Box<dyn Read + Send>>,
    length: u64,
}

enum Part {
    Bytes(Vec<u8>),
    Blob(Digest, u64),
}

impl Bundle {
    /// The chosen images with the tags they are to get, as one archive; blobs they share are in it once.
    pub fn image_archive(&self, images: &[(ImageInfo, Vec<String>)]) -> Result<ImageArchive> {
        self.image_archive_without(images, &BTreeSet::new())
    }

    /// The same without the layers in `present`: those the engine already has.
    pub fn image_archive_without(
        &self,
        images: &[(ImageInfo, Vec<String>)],
        present: &BTreeSet<Digest>,
    ) -> Result<ImageArchive> {
        let mut rows = Vec::new();
        let mut documents = BTreeMap::new();
        let mut layers = BTreeMap::new();
        for (image, tags) in images {
            let manifest = self.small_blob(&image.digest)?;
            check_manifest(&manifest, image, self)?;
            let row = ImageRow {
                manifest: image.digest,
                manifest_size: manifest.len() as u64,
                config: image.id,
                layers: image.layers.iter().map(|layer| layer.digest).collect(),
                tags: tags.iter().map(|tag| ImageName::parse(tag)).collect::<Result<_>>()?,
            };
            documents.insert(image.digest, manifest);
            documents.insert(image.id, self.small_blob(&image.id)?);
            for layer in image.layers.iter().filter(|layer| !present.contains(&layer.digest)) {
                if !self.has_blob(&layer.digest) && self.is_sparse() {
                    return Err(self.lacking(&blob(&layer.digest)));
                }
                if !self.has_blob(&layer.digest) {
                    let cause = format!("layer {} of {} is not in it", layer.digest, image.reference);
                    return Err(Fault::new(Code::BundleInvalid, self.path().display(), cause));
                }
                layers.insert(layer.digest, layer.size);
            }
            rows.push(row);
        }
        let mut archive =
            ImageArchive { bundle: self.clone(), parts: VecDeque::new(), current: None, length: 0 };
        archive.document("oci-layout", oci::OCI_LAYOUT.as_bytes())?;
        archive.document("index.json", &oci::index_json(&rows))?;
        archive.document("manifest.json", &oci::docker_manifest(&rows))?;
        for (digest, bytes) in &documents {
            archive.document(&blob_path(digest), bytes)?;
        }
        for (digest, size) in layers {
            archive.head(&blob_path(&digest), size)?;
            archive.push(Part::Blob(digest, size));
            archive.pad(size);
        }
        archive.push(Part::Bytes(vec![0; 1024]));
        Ok(archive)
    }
}

impl ImageArchive {
    /// Bytes of the whole stream.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn document(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.head(path, bytes.len() as u64)?;
        self.push(Part::Bytes(bytes.to_vec()));
        self.pad(bytes.len() as u64);
        Ok(())
    }

    fn head(&mut self, path: &str, size: u64) -> Result<()> {
        let mut header = header(tar::EntryType::Regular, 0o644, size);
        header.set_path(path).map_err(|error| Fault::from_error(Code::BundleInvalid, path, error))?;
        header.set_cksum();
        self.push(Part::Bytes(header.as_bytes().to_vec()));
        Ok(())
    }

    fn pad(&mut self, size: u64) {
        let padding = size.next_multiple_of(512) - size;
        self.push(Part::Bytes(vec![0; padding as usize]));
    }

    fn push(&mut self, part: Part) {
        self.length += match &part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Blob(_, size) => *size,
        };
        self.parts.push_back(part);
    }
}

impl Read for ImageArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(current) = &mut self.current {
                match current.read(buffer)? {
                    0 => self.current = None,
                    count => return Ok(count),
                }
            }
            self.current = match self.parts.pop_front() {
                None => return Ok(0),
                Some(Part::Bytes(bytes)) => Some(Box::new(io::Cursor::new(bytes))),
                Some(Part::Blob(digest, size)) => {
                    Some(Box::new(self.bundle.blob(&digest, size).map_err(io::Error::other)?))
                }
            };
        }
    }
}

/// The image manifest must name the config and layers that `release.json` promises.
fn check_manifest(bytes: &[u8], image: &ImageInfo, bundle: &Bundle) -> Result<()> {
    #[derive(Deserialize)]
    struct Descriptor {
        digest: Digest,
        size: u64,
    }
    #[derive(Deserialize)]
    struct Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    }
    let invalid = |cause: String| Fault::new(Code::BundleInvalid, bundle.path().display(), cause);
    let manifest: Manifest = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("the manifest of {}: {error}", image.reference)))?;
    let named = manifest.layers.iter().map(|layer| (layer.digest, layer.size));
    let promised = image.layers.iter().map(|layer| (layer.digest, layer.size));
    if manifest.config.digest != image.id || !named.eq(promised) {
        return Err(invalid(format!("the manifest of {} is not that of release.json", image.reference)));
    }
    Ok(())
}
