//! Getting a bundle again from where releases come from, only if it still is the one that was installed.

use super::Keeper;
use super::images::blocking;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::manifest::{MAX_BYTES, Package};
use crate::release::{Arch, Bundle, Digest, Manifest, ReleaseInfo, legacy};
use crate::transfer::{Fetcher, FileRequest, Location, Policy, Seed, Source};

/// Which package of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The one it was installed from.
    Own,
    /// The one that has everything.
    Full,
}

impl Keeper<'_> {
    /// Fetches a package of the release `info`, which was installed from the package with the hash `own`; its name in
    /// `bundles/`.
    pub(super) async fn fetch(
        &self,
        info: &ReleaseInfo,
        own: Option<Digest>,
        which: Which,
    ) -> Result<String> {
        // Whoever upgrades must not wait long for what is only a precaution.
        let policy = Policy { attempts: 1, ..Policy::from(&self.installation.settings.download) };
        let fetcher = self.installation.fetcher_with(policy, &self.progress)?;
        let source = Source::parse(&self.installation.settings.source)?;
        let (manifest, at) = self.manifest(&fetcher, &source, info).await?;
        let arch = Arch::from_oci(self.engine.arch());
        let full = manifest.package_for(arch).ok();
        let patch = manifest.patch_for(arch).map(|patch| &patch.package);
        let is_own = |package: &&Package| own.is_some() && package.hash.digest() == own;
        let own_package = full.into_iter().chain(patch).find(is_own);
        if own.is_some() && own_package.is_none() {
            let cause = "the source offers another package of this version than was installed";
            return Err(Fault::new(Code::HashMismatch, &info.version, cause));
        }
        let package = match which {
            Which::Own => own_package,
            Which::Full => full,
        };
        let package = package
            .ok_or_else(|| Fault::new(Code::NoPackage, &info.version, "the source has no such package"))?;
        let hash = package.hash.digest().ok_or_else(|| {
            Fault::new(Code::HashMissing, &package.url, "what is fetched again must be what it was")
        })?;
        let locate = |reference: &str| at.join_of(&source.manifest(), reference);
        let mut locations = vec![locate(&package.url)?];
        for mirror in &package.mirrors {
            locations.push(locate(mirror)?);
        }
        let file = format!("{}.bundle", hash.hex());
        let folder = self.bundles();
        std::fs::create_dir_all(&folder).at(&folder)?;
        let destination = folder.join(&file);
        let request = FileRequest {
            locations,
            name: format!("{} {}", info.name, info.version),
            destination: destination.clone(),
            expect: Some(hash),
            size: package.size,
        };
        self.whole(&fetcher, &request, Seed::default()).await?;
        if which == Which::Full {
            let info = info.clone();
            blocking(move || same_release(&destination, &info)).await?;
        }
        Ok(file)
    }

    async fn manifest(
        &self,
        fetcher: &Fetcher,
        source: &Source,
        info: &ReleaseInfo,
    ) -> Result<(Manifest, Location)> {
        for at in [source.manifest_of(&info.version)?, source.manifest()] {
            let Some(bytes) = fetcher.document_if_present(&at, MAX_BYTES).await? else { continue };
            let manifest = Manifest::from_json(&bytes, &at.to_string())?;
            if manifest.version == info.version {
                return Ok((manifest, at));
            }
        }
        Err(Fault::new(Code::ReleaseUnknown, &info.version, "the source no longer has it"))
    }
}

/// A package that was not installed from must at least hold the same release.
fn same_release(path: &std::path::Path, info: &ReleaseInfo) -> Result<()> {
    if legacy::is_legacy(path)? {
        return Ok(());
    }
    let bundle = Bundle::open(path)?;
    if bundle.info().files == info.files && bundle.info().images == info.images {
        return Ok(());
    }
    std::fs::remove_file(path).at(path)?;
    let cause = "the source offers another release under this version than was installed";
    Err(Fault::new(Code::HashMismatch, &info.version, cause))
}
