//! `client release build`: from a stack folder to bundle, patch, indexes and manifest.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::deltas::{DeltaReport, Deltas};
use super::document::{self, PatchEntry};
use super::patch::{self, PatchBase};
use super::settings::{RELEASE_TOML, ReleaseToml};
use super::{ImageSaver, StackReader, images, stack};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::bundle::{BundleSummary, pack_with};
use crate::release::info::FileInfo;
use crate::release::operations::Operations;
use crate::release::{Digest, ReleaseInfo, Version};
use crate::settings::Piece;

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The folder with the Compose files.
    pub stack: PathBuf,
    /// The version it becomes.
    pub version: Version,
    /// Paths that outlive releases, besides those that `release.toml` names.
    pub persist: Vec<String>,
    /// Where the result goes; created where missing.
    pub out: PathBuf,
    /// The architecture the images must have (`amd64`, `x86_64`, `arm64`, `aarch64`); also goes into the
    /// bundle's name, so that one folder can hold several.
    pub arch: Option<String>,
    /// Also a patch from this release.
    pub patch_from: Option<PatchBase>,
    /// Also deltas from the layers of these releases, whose bundles are in the output folder.
    pub delta_from: Vec<Version>,
    /// The manifest's `release_date`.
    pub released_at: OffsetDateTime,
}

/// Where a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Compose reads the stack.
    Reading,
    /// The engine saves so many images.
    Saving(usize),
    /// The layers of older releases are read, to find out which of them the new ones are like.
    Comparing,
    /// The bundle is being written.
    Packing(PathBuf),
    /// The patch is being written.
    Patching(PathBuf),
}

/// A package that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageReport {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub size: u64,
    /// Its digest.
    pub hash: Digest,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// Always 1.
    pub schema: u32,
    /// The product.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The images' architecture, in OCI terms, or `any`.
    pub arch: String,
    /// The full bundle.
    pub bundle: PackageReport,
    /// The patch and the version it starts from.
    pub patch: Option<(Version, PackageReport)>,
    /// The deltas that are in the packages.
    pub deltas: Vec<DeltaReport>,
    /// The manifest.
    pub manifest: PathBuf,
    /// Files of the stack folder.
    pub files: usize,
    /// Images.
    pub images: usize,
}

/// Builds a release. Every file appears complete or not at all, the manifest last.
pub fn build(
    request: &BuildRequest,
    reader: &dyn StackReader,
    saver: &dyn ImageSaver,
    notify: &dyn Fn(Stage),
) -> Result<BuildReport> {
    let BuildRequest { stack: folder, out, .. } = request;
    fs::read_dir(folder).at(folder)?;
    fs::create_dir_all(out).at(out)?;
    let mut settings = ReleaseToml::read(folder)?;
    settings.persist.extend(request.persist.iter().cloned());
    let compose = stack::compose_files(folder, &settings)?;
    notify(Stage::Reading);
    let model = reader.model(folder, &compose)?;
    check_services(folder, &settings, &model)?;
    check_data(folder, &settings, &model)?;
    let references = images::references(&model)?;
    let files = stack::files(folder, out, &settings, &compose)?;
    notify(Stage::Saving(references.len()));
    let saved = images::save(&references, saver, out)?;
    check_arch(request.arch.as_deref(), &saved.arch)?;
    let info = ReleaseInfo {
        schema: 1,
        name: product_name(folder, &settings, &model)?,
        version: request.version.clone(),
        arch: saved.arch.clone(),
        compose,
        persist: settings.persist(),
        config: settings.config.clone(),
        images: saved.infos.clone(),
        health: settings.health(),
        backup: settings.backup(),
        hooks: Default::default(),
        services: settings.services(),
        files,
        migrates_data: settings.migrates_data,
        requires: settings.requires(),
    };
    let base = request.patch_from.as_ref().map(|base| patch::base(base, out, &info)).transpose()?;
    let stem = match &request.arch {
        Some(_) => format!("{}-{}-{}", info.name, info.version, info.arch),
        None => format!("{}-{}", info.name, info.version),
    };
    let mut deltas = Deltas::new(&saved.images, out);
    for version in &request.delta_from {
        notify(Stage::Comparing);
        deltas.compare(version, &info)?;
    }
    let mut make = |layer: &Digest, stored| deltas.to(layer, stored);
    let path = out.join(format!("{stem}.bundle"));
    notify(Stage::Packing(path.clone()));
    let full = pack_with(&path, &info, folder, |_| true, &saved.images, &mut make)?;
    let patch = match &base {
        None => None,
        Some(old) => {
            let path = out.join(format!("{stem}-from-{}.patch", old.version));
            notify(Stage::Patching(path.clone()));
            let fresh = saved.images.clone();
            let fresh = fresh.retain(|image| !old.images.iter().any(|known| known.id == image.id));
            let ships = |file: &FileInfo| patch::ships(old, &info, file);
            let package = pack_with(&path, &info, folder, ships, &fresh, &mut make)?;
            Some((old, package, patch::operations(old, &info)))
        }
    };
    let manifest = write_manifest(request, &settings, &info, &full, patch.as_ref())?;
    Ok(BuildReport {
        schema: 1,
        bundle: report(&full),
        patch: patch.map(|(old, package, _)| (old.version.clone(), report(&package))),
        deltas: deltas.made(),
        manifest,
        files: info.files.len(),
        images: info.images.len(),
        name: info.name,
        version: info.version,
        arch: info.arch,
    })
}

fn report(summary: &BundleSummary) -> PackageReport {
    PackageReport { path: summary.path.clone(), size: summary.size, hash: summary.hash }
}

fn write_manifest(
    request: &BuildRequest,
    settings: &ReleaseToml,
    info: &ReleaseInfo,
    full: &BundleSummary,
    patch: Option<&(&ReleaseInfo, BundleSummary, Operations)>,
) -> Result<PathBuf> {
    let patch = patch.map(|(from, package, operations)| PatchEntry { from, package, operations });
    let notes = settings.notes.as_deref().unwrap_or_default();
    let mut document = document::manifest(info, notes, request.released_at, full, patch)?;
    let path = request.out.join("manifest.json");
    // A second architecture of the same version joins the first, when both are named.
    if let Some(older) = document::read(&path)?.filter(|_| request.arch.is_some())
        && older.get("version") == document.get("version")
    {
        document::adopt(&mut document, &older);
    }
    durable::write_atomic(&path, &document::bytes(&document))?;
    Ok(path)
}

fn check_services(folder: &Path, settings: &ReleaseToml, model: &Value) -> Result<()> {
    let services = model.get("services").and_then(Value::as_object);
    let known = |name: &str| services.is_some_and(|services| services.contains_key(name));
    match settings.named_services().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, place)) => {
            let cause = format!("{place}: there is no service {name}");
            Err(Fault::new(Code::ConfigInvalid, folder.join(RELEASE_TOML).display(), cause))
        }
    }
}

fn check_data(folder: &Path, settings: &ReleaseToml, model: &Value) -> Result<()> {
    let volumes = model.get("volumes").and_then(Value::as_object);
    let persist = settings.persist();
    let volumes = volumes.into_iter().flat_map(|volumes| volumes.keys());
    let pieces = volumes.map(|key| Piece::Volume(key)).chain(persist.iter().map(|path| Piece::Path(path)));
    let pieces: Vec<Piece<'_>> = pieces.collect();
    let known = |name: &str| pieces.iter().any(|piece| piece.is_named(name));
    match settings.named_data().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, place)) => {
            let cause = format!("{place}: {name} is neither a named volume nor a persist path");
            Err(Fault::new(Code::ConfigInvalid, folder.join(RELEASE_TOML).display(), cause))
        }
    }
}

fn check_arch(asked: Option<&str>, found: &str) -> Result<()> {
    let asked = asked.map(|asked| match asked {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    });
    match asked {
        Some(asked) if asked != found => {
            Err(Fault::new(Code::Usage, format!("--arch {asked}"), format!("the images are for {found}")))
        }
        _ => Ok(()),
    }
}

/// `name` of `release.toml`, else the Compose project's, else the folder's.
fn product_name(folder: &Path, settings: &ReleaseToml, model: &Value) -> Result<String> {
    let of_folder = || Some(folder.canonicalize().ok()?.file_name()?.to_str()?.to_lowercase());
    let of_model = || model.get("name").and_then(Value::as_str).map(str::to_owned);
    let name = settings.name.clone().or_else(of_model).or_else(of_folder).unwrap_or_default();
    let sane = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins_well && name.len() <= 64 && name.chars().all(sane) {
        true => Ok(name),
        false => {
            let cause = format!("name: {name:?} must be letters, digits, '.', '_' and '-'");
            Err(Fault::new(Code::ConfigInvalid, folder.join(RELEASE_TOML).display(), cause))
        }
    }
}
