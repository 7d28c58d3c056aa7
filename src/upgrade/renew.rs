//! A package whose signed address has had its time: the source is asked once for a new one.

use super::step;
use super::ways::Keeper;
use crate::fault::{Code, IoContext, Result};
use crate::release::manifest::{MAX_BYTES, Package};
use crate::release::{Arch, Manifest, Version};
use crate::transfer::{Fetcher, FileRequest, Location, Source};

/// Gets what is needed of a package of `version`; gives the bytes that came. What was fetched by an address that is no
/// longer accepted stays, and is continued where the new one leads to the same file.
pub async fn get(
    keeper: &Keeper<'_>,
    version: &Version,
    package: &step::Package,
    request: FileRequest,
) -> Result<u64> {
    let folder = keeper.installation().layout.bundles();
    std::fs::create_dir_all(&folder).at(&folder)?;
    let fetcher = keeper.installation().fetcher(keeper.progress())?;
    let expired = match keeper.get(&fetcher, package, &request).await {
        Err(fault) if fault.code() == Code::LinkExpired => fault,
        outcome => return outcome,
    };
    match new_locations(keeper, &fetcher, version, &request).await? {
        Some(locations) => keeper.get(&fetcher, package, &FileRequest { locations, ..request }).await,
        None => Err(expired),
    }
}

/// Where the source says now that the file of `request` is; none where that is nothing new.
async fn new_locations(
    keeper: &Keeper<'_>,
    fetcher: &Fetcher,
    version: &Version,
    request: &FileRequest,
) -> Result<Option<Vec<Location>>> {
    let source = Source::parse(&keeper.installation().settings.source)?;
    let arch = Arch::from_oci(keeper.engine().arch());
    for at in [source.manifest_of(version)?, source.manifest()] {
        let Some(bytes) = fetcher.document_if_present(&at, MAX_BYTES).await? else { continue };
        let manifest = Manifest::from_json(&bytes, &at.to_string())?;
        let Some(package) = same(&manifest, version, arch, request) else { continue };
        let mut locations = Vec::new();
        for reference in std::iter::once(&package.url).chain(&package.mirrors) {
            locations.push(at.join_of(&source.manifest(), reference)?);
        }
        if is_new(&locations, &request.locations) {
            return Ok(Some(locations));
        }
    }
    Ok(None)
}

/// The package that has the content which was to be fetched.
fn same<'a>(
    manifest: &'a Manifest,
    version: &Version,
    arch: Option<Arch>,
    request: &FileRequest,
) -> Option<&'a Package> {
    let wanted = request.expect.filter(|_| manifest.version == *version)?;
    let full = manifest.package_for(arch).ok();
    let patch = manifest.patch_for(arch).map(|patch| &patch.package);
    full.into_iter().chain(patch).find(|package| package.hash.digest() == Some(wanted))
}

fn is_new(found: &[Location], known: &[Location]) -> bool {
    found.iter().any(|location| !known.contains(location))
}
