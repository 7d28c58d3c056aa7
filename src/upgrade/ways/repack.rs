//! A bundle made of what is here, where it can be had nowhere else: an adopted release was never published.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::Keeper;
use super::images::blocking;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::publisher;
use crate::release::ReleaseInfo;
use crate::upgrade::effects::images::pin;
use crate::upgrade::releases;

/// Left free on the disk, whatever is packed.
const RESERVE: u64 = 256 << 20;

impl Keeper<'_> {
    /// Packs the release from its folder and the engine; the file's name in `bundles/`.
    pub(super) async fn pack(&self, info: &ReleaseInfo) -> Result<String> {
        let lacking = self.folder_lacks(info)?.into_iter().chain(self.images_lack(info).await?).next();
        if let Some(lacking) = lacking {
            return Err(Fault::new(
                Code::ReleaseDamaged,
                &info.version,
                format!("{lacking} is not there to be packed"),
            ));
        }
        let bundles = self.bundles();
        fs::create_dir_all(&bundles).at(&bundles)?;
        check_room(&bundles, info)?;
        let work = self.installation.layout.work(&format!("pack-{}", crate::upgrade::change::new_id()));
        let packed = self.pack_in(&work, info).await;
        fs::remove_dir_all(&work).at(&work)?;
        packed
    }

    async fn pack_in(&self, work: &Path, info: &ReleaseInfo) -> Result<String> {
        let stack = work.join("stack");
        fs::create_dir_all(&stack).at(&stack)?;
        let folder = self.installation.layout.release(&info.version.to_string());
        point_to_shipped(&folder, info, &stack)?;
        let names: Vec<String> = info.images.iter().map(|image| pin(self.project(), image)).collect();
        let out = work.join("packed.bundle");
        let summary = publisher::pack_installed(info, &stack, names, &out, &self.engine).await?;
        let file = format!("{}.bundle", summary.hash.hex());
        let place = self.bundles().join(&file);
        blocking({
            let place = place.clone();
            move || {
                // It may hold the operator's own files.
                fs::set_permissions(&out, fs::Permissions::from_mode(0o600)).at(&out)?;
                fs::rename(&out, &place).at(&place)
            }
        })
        .await?;
        Ok(file)
    }
}

/// A folder of links to the shipped form of every file: the release folder holds the operator's form of some.
fn point_to_shipped(folder: &Path, info: &ReleaseInfo, stack: &Path) -> Result<()> {
    for file in info.files.iter().filter(|file| file.link.is_none()) {
        let pristine = folder.join(releases::PRISTINE).join(&file.path);
        let source = if pristine.is_file() { pristine } else { folder.join(&file.path) };
        let link = stack.join(&file.path);
        releases::make_parent(&link)?;
        symlink(&source, &link).at(&link)?;
    }
    Ok(())
}

/// All layers twice: as the engine saves them, and in the bundle.
fn check_room(bundles: &Path, info: &ReleaseInfo) -> Result<()> {
    let mut seen = BTreeSet::new();
    let layers = info.images.iter().flat_map(|image| &image.layers);
    let bytes: u64 = layers.filter(|layer| seen.insert(layer.digest)).map(|layer| layer.size).sum();
    let need = bytes.saturating_mul(2).saturating_add(RESERVE);
    let stat = rustix::fs::statvfs(bundles).map_err(|error| Fault::io(bundles, error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < need {
        let cause = format!("packing {} needs {need} bytes, {free} are free", info.version);
        return Err(Fault::new(Code::DiskFull, bundles.display(), cause));
    }
    Ok(())
}
