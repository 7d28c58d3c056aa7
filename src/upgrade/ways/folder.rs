//! The release folder: made again, file by file, out of whatever still has its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::Keeper;
use super::images::{blocking, candidates};
use crate::fault::{Fault, IoContext, Result};
use crate::layout::{Layout, Pointer};
use crate::messages::Say;
use crate::release::tree::{Difference, verify_release};
use crate::release::unpack::{Origin, assemble};
use crate::release::{Bundle, ReleaseInfo, Version};
use crate::settings::Settings;
use crate::upgrade::effects::edits::replaced_folder;
use crate::upgrade::installation::Installation;
use crate::upgrade::{edits, pointers, releases};

/// What a release consists of, by its folder, or where that cannot say, by the state.
pub fn info_of(installation: &Installation, version: &Version) -> Result<Option<ReleaseInfo>> {
    if let Ok(Some(info)) = releases::info(&installation.layout, version) {
        return Ok(Some(info));
    }
    let text: Option<String> = installation.store.with(|db| {
        use rusqlite::OptionalExtension;
        let sql = "SELECT info FROM releases WHERE version = ?1";
        db.query_row(sql, [version.to_string()], |row| row.get(0)).optional()
    })?;
    text.map(|text| ReleaseInfo::from_json(text.as_bytes(), "state.db")).transpose()
}

/// What a person changed stays in the folder that is about to be left: who leaves it sets that aside. In the others
/// only what was there when they were left is taken for an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Stays,
    IsSetAside,
}

impl Keeper<'_> {
    /// What is not there as it must be.
    pub(super) fn folder_lacks(&self, info: &ReleaseInfo) -> Result<Vec<String>> {
        let (layout, settings) = (&self.installation.layout, &self.installation.settings);
        let folder = layout.release(&info.version.to_string());
        if !folder.is_dir() {
            return Ok(vec![folder.display().to_string()]);
        }
        let changed = self.changed(&info.version)?;
        let mut lacking = Vec::new();
        if releases::info(layout, &info.version).ok().flatten().is_none() {
            lacking.push(releases::INFO.to_owned());
        }
        for deviation in verify_release(&folder, info, &releases::editable(info, settings))? {
            let bad = match deviation.difference {
                Difference::Extra => false,
                Difference::Missing | Difference::Mode => true,
                Difference::Changed => {
                    changed == Changed::IsSetAside
                        && !edits::is_known(layout, &info.version, &deviation.path)?
                }
            };
            if bad {
                lacking.push(deviation.path);
            }
        }
        // Which paths outlive releases can change with the settings, but what is linked must be.
        Ok(lacking)
    }

    fn changed(&self, version: &Version) -> Result<Changed> {
        let current = pointers::read(&self.installation.layout, Pointer::Current)?;
        Ok(if current.as_ref() == Some(version) { Changed::Stays } else { Changed::IsSetAside })
    }

    /// Makes the folder again and puts it in the place of the present one. Containers that were started from that
    /// still hold it: it stays beside, under the name they are recorded with from now on.
    pub(super) async fn remake(&self, info: &ReleaseInfo, id: &str) -> Result<()> {
        let job = Remake {
            layout: self.installation.layout.clone(),
            settings: self.installation.settings.clone(),
            changed: self.changed(&info.version)?,
            info: info.clone(),
            id: id.to_owned(),
        };
        let staging = job.staging();
        let version = info.version.to_string();
        let found = edits::by_hand(self.installation, &info.version)?;
        let (job, aside) = blocking(move || job.stage()).await?;
        self.note_edits(&found, aside);
        let former = replaced_folder(&info.version, id);
        let held = self.installation.store.with(|db| {
            let sql = "UPDATE containers SET release = ?2 WHERE release = ?1";
            db.execute(sql, [&version, &former])
        })?;
        blocking(move || job.exchange(&staging, held > 0)).await
    }
}

impl Keeper<'_> {
    fn note_edits(&self, found: &[edits::Edit], aside: Aside) {
        let mut says = self.edits.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, kept) in aside {
            says.extend(found.iter().find(|edit| edit.path == path).map(|edit| edit.say(edits::SHORT)));
            says.push(Say::ConfigSetAside { path, kept: kept.display().to_string() });
        }
    }
}

struct Remake {
    layout: Layout,
    settings: Settings,
    changed: Changed,
    info: ReleaseInfo,
    id: String,
}

/// Paths that were set aside, and where they are kept.
type Aside = Vec<(String, PathBuf)>;

impl Remake {
    fn staging(&self) -> PathBuf {
        self.layout.releases().join(format!(".{}.mended", self.info.version))
    }

    fn place(&self) -> PathBuf {
        self.layout.release(&self.info.version.to_string())
    }

    fn stage(self) -> Result<(Self, Aside)> {
        let staging = self.staging();
        if staging.exists() {
            fs::remove_dir_all(&staging).at(&staging)?;
        }
        assemble(&self.info, &self.origins()?, &staging)?;
        releases::adopt_shared(&self.layout, &staging, &self.info, &self.settings)?;
        let aside = self.carry(&staging)?;
        let folder = fs::File::open(&staging).at(&staging)?;
        rustix::fs::syncfs(&folder).map_err(|error| Fault::io(&staging, error.into()))?;
        Ok((self, aside))
    }

    /// The folder itself, what it keeps of the shipped files, every bundle, every other release.
    fn origins(&self) -> Result<Vec<Origin>> {
        let place = self.place();
        let mut origins = vec![Origin::Folder(place.join(releases::PRISTINE)), Origin::Folder(place)];
        let bundles = candidates(&self.layout.bundles(), None)?;
        origins.extend(bundles.iter().filter_map(|path| Bundle::open(path).ok()).map(Origin::Bundle));
        for other in releases::versions(&self.layout)? {
            let folder = self.layout.release(&other.to_string());
            origins.extend([Origin::Folder(folder.join(releases::PRISTINE)), Origin::Folder(folder)]);
        }
        Ok(origins)
    }

    /// Takes what is the operator's over into the new folder, and sets the rest of what was changed aside.
    fn carry(&self, staging: &Path) -> Result<Aside> {
        let place = self.place();
        let mut aside = Vec::new();
        if !place.is_dir() {
            return Ok(aside);
        }
        for path in &self.info.config {
            copy(&place.join(path), &staging.join(path))?;
        }
        let version = &self.info.version;
        for deviation in verify_release(&place, &self.info, &releases::editable(&self.info, &self.settings))?
        {
            let path = deviation.path;
            match deviation.difference {
                Difference::Missing | Difference::Mode => {}
                Difference::Extra => copy(&place.join(&path), &staging.join(&path))?,
                Difference::Changed => {
                    if self.changed == Changed::Stays || edits::is_known(&self.layout, version, &path)? {
                        copy(&place.join(&path), &staging.join(&path))?;
                    } else if let Some(kept) = edits::set_aside(&self.layout, version, &place, &path)? {
                        aside.push((path, kept));
                    }
                }
            }
        }
        Ok(aside)
    }

    fn exchange(&self, staging: &Path, held: bool) -> Result<()> {
        let reinstall = self.place().exists();
        releases::put_in_place(&self.layout, staging, &self.info.version)?;
        if reinstall && held {
            let former = self.layout.releases().join(replaced_folder(&self.info.version, &self.id));
            fs::rename(staging, &former).at(&former)
        } else if reinstall {
            fs::remove_dir_all(staging).at(staging)
        } else {
            Ok(())
        }
    }
}

/// Copies a file or a link over whatever is there; anything else is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(from) else { return Ok(()) };
    if !meta.is_file() && !meta.is_symlink() {
        return Ok(());
    }
    releases::make_parent(to)?;
    if fs::symlink_metadata(to).is_ok_and(|there| !there.is_dir()) {
        fs::remove_file(to).at(to)?;
    }
    if meta.is_symlink() {
        let target = fs::read_link(from).at(from)?;
        return std::os::unix::fs::symlink(target, to).at(to);
    }
    fs::copy(from, to).at(to)?;
    use std::os::unix::fs::MetadataExt;
    std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid())).at(to)
}
