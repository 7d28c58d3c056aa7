//! From what a user asks for to a decision: which version, from where, by which strategy.

use std::path::{Path, PathBuf};

use super::api::{Quarantined, UpgradeOptions};
use super::installation::Installation;
use super::releases;
use super::step::{Package as PackageStep, PackageIndex};
use super::{quarantine, running};
use crate::docker::Engine;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::progress::Progress;
use crate::release::bundle::Bundle;
use crate::release::manifest::{MAX_BYTES, Package, PackageHash};
use crate::release::operations::Operations;
use crate::release::strategy::{Decision, Facts, Installed, Strategy, decide};
use crate::release::tree::{Difference, verify_release};
use crate::release::{Arch, Digest, Manifest, ReleaseInfo, Version, legacy};
use crate::transfer::{Fetcher, Location, Source};

/// Releases that are looked at for one to take instead of one in quarantine.
const MOST_BETWEEN: usize = 50;

/// What can be had and what would be done with it.
pub struct Offer {
    /// The manifest it comes from.
    pub manifest: Manifest,
    /// The installed version.
    pub installed: Option<Version>,
    /// The strategy and its reason.
    pub decision: Decision,
    /// What would be fetched; none where there is nothing to do.
    pub package: Option<PackageStep>,
    /// For a patch: what it does.
    pub patch: Option<Operations>,
    /// Newer versions that are passed over because they are in quarantine.
    pub passed_over: Vec<Quarantined>,
    /// Releases on the way that migrate data and are skipped.
    pub skipped_migrations: Vec<Version>,
}

impl Offer {
    /// Bytes of the package, where known.
    pub fn bytes(&self) -> Option<u64> {
        self.package.as_ref().and_then(|package| package.size)
    }
}

/// Decides what to do for `options`.
pub async fn offer(
    installation: &Installation,
    engine: &Engine,
    options: &UpgradeOptions,
    progress: &Progress,
) -> Result<Offer> {
    let installed = running::installed(installation)?;
    let found = match &options.bundle {
        Some(path) => from_file(path, options.target.as_ref(), engine).await?,
        None => from_source(installation, engine, options, installed.as_ref(), progress).await?,
    };
    let arch = engine_arch(engine)?;
    let facts = Facts {
        installed: installed.as_ref().map(|version| look(installation, version)).transpose()?,
        engine_arch: arch,
        offered: &found.manifest,
        force_full: options.force_full,
        targeted: options.target.is_some(),
    };
    let decision = decide(&facts);
    let (package, patch) = match decision.strategy {
        Strategy::None => (None, None),
        Strategy::Patch => match found.manifest.patch_for(Some(arch)) {
            Some(patch) => (Some(&patch.package), Some(patch.operations.clone())),
            None => return Err(Fault::new(Code::NoPackage, arch, "the patch is missing")),
        },
        Strategy::Full => (Some(found.manifest.package_for(Some(arch))?), None),
    };
    let package = package
        .map(|package| fetchable(installation, &found, package, options, installed.is_some()))
        .transpose()?;
    if decision.strategy != Strategy::None {
        demands(engine, &found.manifest, installed.as_ref())?;
        let named = options.target.is_some() || options.bundle.is_some();
        if named && !options.force {
            let entry = quarantine::forbids(installation, &found.manifest, options.bundle.is_some())?;
            entry.map_or(Ok(()), |entry| Err(quarantine::refusal(&entry, "")))?;
        }
    }
    let Found { manifest, passed_over, mut skipped_migrations, .. } = found;
    skipped_migrations.retain(|version| *version < manifest.version);
    Ok(Offer { manifest, installed, decision, package, patch, passed_over, skipped_migrations })
}

/// A manifest and what its references are relative to.
struct Found {
    manifest: Manifest,
    document: Location,
    top: Location,
    passed_over: Vec<Quarantined>,
    skipped_migrations: Vec<Version>,
}

impl Found {
    fn new(manifest: Manifest, document: Location, top: Location) -> Self {
        Self { manifest, document, top, passed_over: Vec::new(), skipped_migrations: Vec::new() }
    }

    fn locate(&self, reference: &str) -> Result<Location> {
        self.document.join_of(&self.top, reference)
    }
}

async fn from_source(
    installation: &Installation,
    engine: &Engine,
    options: &UpgradeOptions,
    installed: Option<&Version>,
    progress: &Progress,
) -> Result<Found> {
    let settings = &installation.settings;
    let source = Source::parse(&settings.source)?;
    let fetcher = installation.fetcher(progress)?;
    let newest = read(&fetcher, &source, source.manifest()).await?;
    let upto = options.target.clone().unwrap_or_else(|| newest.manifest.version.clone());
    let mut between: Vec<Version> = newest.manifest.releases.clone();
    between.retain(|version| installed.is_some_and(|installed| version > installed) && *version < upto);
    between.sort();
    // Only who insists on a version goes beyond a release that may not be skipped.
    let beyond = options.force && options.target.is_some();
    let Between { floor, skipped_migrations } = look_between(&fetcher, &source, &between, beyond).await?;
    if let Some(target) = &options.target {
        if let Some(first) = floor.filter(|_| !beyond) {
            let cause = format!("{} may not be skipped on the way", first.manifest.version);
            return Err(Fault::new(Code::RequiresFrom, target, cause));
        }
        let found = at_version(&fetcher, &source, newest, target).await?;
        return Ok(Found { skipped_migrations, ..found });
    }
    let Some(installed) = installed else { return Ok(newest) };
    // A release that may not be skipped comes first, by itself.
    let first = Found { skipped_migrations: skipped_migrations.clone(), ..floor.unwrap_or(newest) };
    if first.manifest.version <= *installed || options.force {
        return Ok(first);
    }
    let Some(entry) = quarantine::forbids(installation, &first.manifest, false)? else { return Ok(first) };
    between.retain(|version| *version < first.manifest.version);
    let permitted = |manifest: &Manifest| demands(engine, manifest, Some(installed)).is_ok();
    let found = newest_permitted(installation, &fetcher, &source, &between, entry, &permitted).await?;
    Ok(Found { skipped_migrations, ..found })
}

/// The newest of the releases `between` (oldest first) that is not in quarantine like the one after them, `entry`.
async fn newest_permitted(
    installation: &Installation,
    fetcher: &Fetcher,
    source: &Source,
    between: &[Version],
    entry: Quarantined,
    permitted: &dyn Fn(&Manifest) -> bool,
) -> Result<Found> {
    let mut passed_over = vec![entry];
    for version in between.iter().rev().take(MOST_BETWEEN) {
        let Some(found) = read_version(fetcher, source, version).await? else { continue };
        match quarantine::forbids(installation, &found.manifest, false)? {
            Some(entry) => passed_over.push(entry),
            None if permitted(&found.manifest) => return Ok(Found { passed_over, ..found }),
            None => {}
        }
    }
    Err(quarantine::refusal(&passed_over[0], "; the source has no other release that is permitted"))
}

async fn read(fetcher: &Fetcher, source: &Source, at: Location) -> Result<Found> {
    let bytes = fetcher.document(&at, MAX_BYTES).await.map_err(|fault| too_large(fault, &at))?;
    let manifest = Manifest::from_json(&bytes, &at.to_string())?;
    Ok(Found::new(manifest, at, source.manifest()))
}

fn too_large(fault: Fault, at: &Location) -> Fault {
    if fault.code() == Code::DocumentTooLarge { Fault::new(Code::ManifestTooLarge, at, "") } else { fault }
}

async fn at_version(fetcher: &Fetcher, source: &Source, newest: Found, target: &Version) -> Result<Found> {
    if newest.manifest.version == *target {
        return Ok(newest);
    }
    read_version(fetcher, source, target).await?.ok_or_else(|| match source.manifest_of(target) {
        Ok(at) => Fault::new(Code::ReleaseUnknown, target, format!("there is no {at}")),
        Err(fault) => fault,
    })
}

/// The manifest of one version; none where the source has none.
async fn read_version(fetcher: &Fetcher, source: &Source, version: &Version) -> Result<Option<Found>> {
    let at = source.manifest_of(version)?;
    let bytes = fetcher.document_if_present(&at, MAX_BYTES).await;
    let Some(bytes) = bytes.map_err(|fault| too_large(fault, &at))? else { return Ok(None) };
    let manifest = Manifest::from_json(&bytes, &at.to_string())?;
    if manifest.version != *version {
        let cause = format!("it is of version {}", manifest.version);
        return Err(Fault::new(Code::ManifestInvalid, at, cause));
    }
    Ok(Some(Found::new(manifest, at, source.manifest())))
}

/// What there is between the installed version and the one it may go to.
#[derive(Default)]
struct Between {
    /// The oldest release that may not be skipped.
    floor: Option<Found>,
    /// Those that migrate data.
    skipped_migrations: Vec<Version>,
}

/// Looks at the releases `between`, oldest first, up to the floor or `beyond` it.
async fn look_between(
    fetcher: &Fetcher,
    source: &Source,
    between: &[Version],
    beyond: bool,
) -> Result<Between> {
    let mut seen = Between::default();
    for version in between {
        let Some(found) = read_version(fetcher, source, version).await? else { continue };
        if found.manifest.migrates_data {
            seen.skipped_migrations.push(version.clone());
        }
        if found.manifest.requires.floor && seen.floor.is_none() {
            seen.floor = Some(found);
            if !beyond {
                break;
            }
        }
    }
    Ok(seen)
}

/// A manifest for a package the user names: offline, from one file.
async fn from_file(path: &Path, target: Option<&Version>, engine: &Engine) -> Result<Found> {
    let path = path.canonicalize().at(path)?;
    let location = Location::local(&path);
    let target = target.cloned();
    let arch = engine.arch().to_owned();
    let read = tokio::task::spawn_blocking(move || read_file(&path, target, &arch));
    let manifest = read.await.map_err(|error| Fault::from_error(Code::Io, &location, error))??;
    Ok(Found::new(manifest, location.clone(), location))
}

fn read_file(path: &PathBuf, target: Option<Version>, arch: &str) -> Result<Manifest> {
    let version = if legacy::is_legacy(path)? {
        let cause = "a package of the older kind does not say which version it is; name it with --target";
        target.ok_or_else(|| Fault::new(Code::BundleInvalid, path.display(), cause))?
    } else {
        let bundle = Bundle::open(path)?;
        let info = bundle.info();
        if info.arch != "any" && info.arch != arch {
            let cause = format!("it is for {}, and this engine is {arch}", info.arch);
            return Err(Fault::new(Code::NoPackage, path.display(), cause));
        }
        if target.is_some_and(|target| target != info.version) {
            return Err(Fault::new(
                Code::ReleaseUnknown,
                path.display(),
                format!("it holds {}", info.version),
            ));
        }
        info.version.clone()
    };
    let (hash, size) = std::fs::File::open(path).and_then(Digest::of_reader).at(path)?;
    let mut manifest = Manifest::new(version);
    manifest.full = Some(Package {
        url: path.display().to_string(),
        hash: PackageHash::Sha256(hash),
        size: Some(size),
        signature: None,
        mirrors: Vec::new(),
        index: None,
    });
    Ok(manifest)
}

fn fetchable(
    installation: &Installation,
    found: &Found,
    package: &Package,
    options: &UpgradeOptions,
    installed: bool,
) -> Result<PackageStep> {
    let mut locations = match &options.bundle {
        Some(_) => vec![found.document.clone()],
        None => vec![found.locate(&package.url)?],
    };
    for mirror in &package.mirrors {
        locations.push(found.locate(mirror)?);
    }
    let hash = package.hash.digest();
    if hash.is_none() && !installation.settings.insecure {
        return Err(Fault::new(
            Code::HashMissing,
            &locations[0],
            "its hash is external, and nothing signed gives it",
        ));
    }
    // The first release is the last line of defence, a file that a person names is here as a whole, and who wants
    // everything anew gets everything.
    let may_be_sparse = installed && options.bundle.is_none() && !options.force_full && hash.is_some();
    let file = match hash {
        Some(hash) => format!("{}.bundle", hash.hex()),
        None => format!("unverified-{}.bundle", found.manifest.version),
    };
    Ok(PackageStep {
        locations: locations.iter().map(Location::to_text).collect(),
        hash,
        size: package.size,
        file,
        index: if may_be_sparse { index(found, package)? } else { None },
    })
}

/// The index of a package, where the manifest vouches for it.
fn index(found: &Found, package: &Package) -> Result<Option<PackageIndex>> {
    let Some(index) = &package.index else { return Ok(None) };
    let Some(hash) = index.hash.digest() else { return Ok(None) };
    Ok(Some(PackageIndex { location: found.locate(&index.url)?.to_text(), hash }))
}

/// What the strategy needs to know of the installed release.
fn look(installation: &Installation, version: &Version) -> Result<Installed> {
    let layout = &installation.layout;
    let folder = layout.release(&version.to_string());
    let info: Option<ReleaseInfo> = releases::info(layout, version)?;
    let compose_present = info.as_ref().is_some_and(|info| {
        !info.compose.is_empty() && info.compose.iter().all(|file| folder.join(file).is_file())
    });
    let intact = match &info {
        Some(info) => {
            let deviations =
                verify_release(&folder, info, &releases::editable(info, &installation.settings))?;
            // Something a container or a person added does not make the release wrong.
            deviations.iter().all(|deviation| deviation.difference == Difference::Extra)
        }
        None => false,
    };
    Ok(Installed {
        version: version.clone(),
        arch: info.as_ref().and_then(|info| Arch::from_oci(&info.arch)),
        compose_present,
        release_present: info.is_some(),
        intact,
    })
}

fn engine_arch(engine: &Engine) -> Result<Arch> {
    let cause = "this client knows packages for x86_64 and aarch64";
    Arch::from_oci(engine.arch()).ok_or_else(|| Fault::new(Code::NoPackage, engine.arch(), cause))
}

/// Refuses a release whose demands this machine, or the installed version, does not meet.
fn demands(engine: &Engine, manifest: &Manifest, installed: Option<&Version>) -> Result<()> {
    let requires = &manifest.requires;
    if let Some(api) = requires.engine_api.as_ref().filter(|api| !engine.speaks_version(api)) {
        let cause =
            format!("version {} needs API {api}, it speaks {}", manifest.version, engine.api_version());
        return Err(Fault::new(Code::EngineTooOld, engine.endpoint(), cause));
    }
    if let (Some(from), Some(installed)) = (&requires.from, installed) {
        let range = semver::VersionReq::parse(from)
            .map_err(|error| Fault::from_error(Code::ManifestInvalid, &manifest.version, error))?;
        if !range.matches(installed.base()) && *installed != manifest.version {
            let cause = format!("it needs {from}, and {installed} is installed");
            return Err(Fault::new(Code::RequiresFrom, &manifest.version, cause));
        }
    }
    Ok(())
}
