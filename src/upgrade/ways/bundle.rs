//! The bundles: there, and what their names say.

use std::fs::File;

use rusqlite::params;

use super::images::{blocking, candidates, holds_or_describes};
use super::source::Which;
use super::{Keeper, recorded, sparse};
use crate::fault::{Fault, Result};
use crate::layout::Pointer;
use crate::release::bundle::sparse::sparse_path;
use crate::release::{Bundle, Digest, ReleaseInfo};
use crate::upgrade::{journal, pointers};

impl Keeper<'_> {
    /// The bundle a release came from, where it is missing or damaged, and its images that are in no bundle. Of a bundle
    /// that was fetched only in part, that part must be there, and the engine must have the images.
    pub(super) async fn bundle_lacks(&self, info: &ReleaseInfo) -> Result<Vec<String>> {
        let own = recorded(self.installation, &info.version)?;
        let (folder, images) = (self.bundles(), info.images.clone());
        let relied_on = self.relied_on(info).await?;
        blocking(move || {
            let mut lacking = Vec::new();
            let mut damaged = Vec::new();
            match &own {
                None => lacking.push("*.bundle".to_owned()),
                Some(file) => {
                    let (path, hash) = (folder.join(file), hash_of(file));
                    let part = sparse_path(&path);
                    let in_part = relied_on.is_some() && sparse::is_sound(&part, hash);
                    if !in_part && !is_sound(&path, hash)? {
                        lacking.push(file.clone());
                        damaged = vec![path, part];
                    }
                }
            }
            let relied_on = relied_on.unwrap_or_default();
            let mut left = images;
            for path in candidates(&folder, None)? {
                if left.is_empty() {
                    break;
                }
                if damaged.contains(&path) {
                    continue;
                }
                if let Some((bundle, held)) = holds_or_describes(&path, left.clone()) {
                    left.retain(|image| {
                        let relies = relied_on.contains(image) && bundle.describes(image);
                        !held.contains(image) && !relies
                    });
                }
            }
            lacking.extend(left.into_iter().map(|image| image.reference));
            Ok(lacking)
        })
        .await
    }

    /// Gets the bundle again: the same from the source, else one with everything, else one packed of what is here.
    pub(super) async fn refetch(&self, info: &ReleaseInfo) -> Result<()> {
        let own = recorded(self.installation, &info.version)?;
        let hash = own.as_deref().and_then(hash_of);
        let mut failures: Vec<Fault> = Vec::new();
        for way in [Way::Own, Way::Full, Way::Packed] {
            let got = match way {
                Way::Own if own.is_none() => continue,
                Way::Own => self.fetch(info, hash, Which::Own).await,
                Way::Full => self.fetch(info, hash, Which::Full).await,
                Way::Packed if !self.packs(info)? => continue,
                Way::Packed => self.pack(info).await,
            };
            match got {
                Ok(file) => self.record(info, &file)?,
                Err(fault) => {
                    failures.push(fault);
                    continue;
                }
            }
            if self.bundle_lacks(info).await?.is_empty() {
                return Ok(());
            }
        }
        match failures.into_iter().next() {
            Some(fault) => Err(fault),
            None => {
                let cause = "no package has all its images";
                Err(Fault::new(crate::fault::Code::NoPackage, &info.version, cause))
            }
        }
    }

    /// Packing reads and writes all images; only the last line of defence is worth that in the middle of an upgrade.
    fn packs(&self, info: &ReleaseInfo) -> Result<bool> {
        let factory = pointers::read(&self.installation.layout, Pointer::Factory)?;
        Ok(self.thorough || factory.as_ref() == Some(&info.version))
    }

    fn record(&self, info: &ReleaseInfo, file: &str) -> Result<()> {
        let text = String::from_utf8_lossy(&info.to_json()).into_owned();
        self.installation.store.with(|db| {
            db.execute(
                "INSERT INTO releases (version, info, bundle_hash, strategy, installed_at) VALUES (?1, ?2, ?3, 'full', ?4)
                 ON CONFLICT (version) DO UPDATE SET bundle_hash = ?3",
                params![info.version.to_string(), text, file, journal::now()],
            )
            .map(drop)
        })
    }
}

/// Where a bundle can come from, the best first.
#[derive(Debug, Clone, Copy)]
enum Way {
    Own,
    Full,
    Packed,
}

/// The hash a file in `bundles/` is named by; one that no hash vouches for is named otherwise.
pub(super) fn hash_of(file: &str) -> Option<Digest> {
    format!("sha256:{}", file.strip_suffix(".bundle")?).parse().ok()
}

/// Whether the file is there and is what its name says; without a hash it must at least be a bundle.
fn is_sound(path: &std::path::Path, hash: Option<Digest>) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Fault::io(path, error)),
    };
    match hash {
        None => Ok(Bundle::open(path).is_ok()),
        // A disk that cannot be read is damage.
        Some(hash) => Ok(Digest::of_reader(file).is_ok_and(|(found, _)| found == hash)),
    }
}
