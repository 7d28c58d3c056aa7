//! The images of a stack: which there are, and getting them out of the engine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ImageSaver;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::bundle::{Limits, fault_of};
use crate::release::dockersave::SavedImages;
use crate::release::info::ImageInfo;
use crate::release::oci::ImageName;

/// The images of all services, by the reference the Compose files use, with a service that uses each.
pub(super) fn references(model: &Value) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let services = model.get("services").and_then(Value::as_object);
    for (service, definition) in services.into_iter().flatten() {
        let Some(reference) = definition.get("image").and_then(Value::as_str) else {
            return Err(Fault::new(Code::ImageReference, service, "the service has no 'image:'"));
        };
        ImageName::parse(reference).map_err(|fault| {
            Fault::new(Code::ImageReference, service, format!("{reference}: {}", fault.detail()))
        })?;
        found.entry(reference.to_owned()).or_insert_with(|| service.clone());
    }
    Ok(found)
}

/// The saved images; the spool they are read from is removed with the value.
pub(super) struct Saved {
    pub images: SavedImages,
    pub infos: Vec<ImageInfo>,
    /// In OCI terms; `any` without images.
    pub arch: String,
    _spool: Option<Spool>,
}

struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Saves the images `references` through `saver`, spooling in the folder `out`.
pub(super) fn save(
    references: &BTreeMap<String, String>,
    saver: &dyn ImageSaver,
    out: &Path,
) -> Result<Saved> {
    let mut images = SavedImages::none();
    if references.is_empty() {
        return Ok(Saved { images, infos: Vec::new(), arch: "any".into(), _spool: None });
    }
    let names: Vec<ImageName> =
        references.keys().map(|text| ImageName::parse(text)).collect::<Result<_>>()?;
    let mut tagged: Vec<String> = names.iter().map(ImageName::familiar).collect();
    tagged.sort();
    tagged.dedup();
    let spool = Spool(out.join(format!(".saved.{}.part", std::process::id())));
    let mut stream = saver.save(&tagged)?;
    let mut file = File::create(&spool.0).at(&spool.0)?;
    io::copy(&mut stream, &mut file).map_err(|error| fault_of(error, "docker save"))?;
    images.add_archive(&spool.0, &Limits::default())?;
    let mut infos = Vec::new();
    let mut architectures = BTreeMap::new();
    for (reference, name) in references.keys().zip(&names) {
        let missing = || Fault::new(Code::ImageMissing, reference, "the engine did not save it");
        let image = images.named(name).ok_or_else(missing)?;
        infos.push(image.info(reference));
        architectures.insert(image.architecture.clone(), reference.clone());
    }
    let mut kinds = architectures.into_iter();
    let (arch, one) = kinds.next().unwrap_or_default();
    if let Some((other, two)) = kinds.next() {
        let cause = format!("{one} is for {arch}, {two} is for {other}");
        return Err(Fault::new(Code::Usage, "a release for several architectures", cause));
    }
    Ok(Saved { images, infos, arch, _spool: Some(spool) })
}
