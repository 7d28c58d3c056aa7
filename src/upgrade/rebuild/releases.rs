//! The releases whose folders are here, and the files in `bundles/` they came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::params;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::words::Loss;
use crate::fault::{IoContext, Result};
use crate::layout::Layout;
use crate::release::bundle::Bundle;
use crate::release::{Digest, ReleaseInfo, Version};
use crate::state::Store;
use crate::upgrade::releases::{self, INFO};
use crate::upgrade::ways::sparse_of;

/// What a bundle that was converted from a package of the older kind ends in.
const CONVERTED: &str = ".converted";

/// A file in `bundles/` and what it says it is.
struct Found {
    file: String,
    size: u64,
    info: ReleaseInfo,
}

/// Adds a row for each release folder.
pub fn fill(store: &Store, layout: &Layout, losses: &mut Vec<Loss>) -> Result<()> {
    if !layout.releases().is_dir() {
        return Ok(());
    }
    let bundles = bundles(&layout.bundles())?;
    for version in releases::versions(layout)? {
        let folder = layout.release(&version.to_string());
        let info = match releases::info(layout, &version) {
            Ok(Some(info)) => info,
            Ok(None) => {
                losses.push(Loss::Release { folder: folder.display().to_string() });
                continue;
            }
            Err(fault) => {
                tracing::warn!(%fault, "a release folder cannot be read");
                losses.push(Loss::Release { folder: folder.display().to_string() });
                continue;
            }
        };
        let bundle = bundle_of(&bundles, &info);
        if bundle.is_none() {
            losses.push(Loss::Bundle { version: version.to_string() });
        }
        let text = String::from_utf8_lossy(&info.to_json()).into_owned();
        let at = unpacked_at(layout, &version)?.format(&Rfc3339).unwrap_or_default();
        let content = bundle.and_then(content_of);
        store.with(|db| {
            db.execute(
                "INSERT OR REPLACE INTO releases (version, info, bundle_hash, strategy, installed_at, content)
                 VALUES (?1, ?2, ?3, 'full', ?4, ?5)",
                params![version.to_string(), text, bundle, at, content],
            )
            .map(drop)
        })?;
    }
    Ok(())
}

/// When the folder of `version` was made.
pub fn unpacked_at(layout: &Layout, version: &Version) -> Result<OffsetDateTime> {
    let path = layout.release(&version.to_string()).join(INFO);
    Ok(fs::metadata(&path).and_then(|file| file.modified()).at(&path)?.into())
}

/// A package's file is called after its hash, which is also what quarantine knows the release by.
fn content_of(file: &str) -> Option<String> {
    let hex = file.strip_suffix(".bundle")?;
    format!("sha256:{hex}").parse::<Digest>().ok().map(|hash| hash.to_string())
}

/// All bundles here by the version they hold. What is none (a patch of the older kind, a part of a download) is
/// passed over.
fn bundles(folder: &Path) -> Result<BTreeMap<Version, Vec<Found>>> {
    let mut found: BTreeMap<Version, Vec<Found>> = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let sparse = sparse_of(&name).filter(|_| name.ends_with(".sparse"));
        let file = sparse.as_deref().unwrap_or(name.strip_suffix(CONVERTED).unwrap_or(&name));
        let meta = entry.metadata().at(entry.path())?;
        if !meta.is_file() || !file.ends_with(".bundle") {
            continue;
        }
        match Bundle::open(entry.path()) {
            Ok(bundle) => {
                let info = bundle.info().clone();
                let one = Found { file: file.to_owned(), size: meta.len(), info };
                found.entry(one.info.version.clone()).or_default().push(one);
            }
            Err(fault) => tracing::debug!(%fault, "not a bundle"),
        }
    }
    Ok(found)
}

/// The file a release came from: of those with its version one that says exactly what its folder says, and of these
/// the largest, since a patch has less in it than the whole.
fn bundle_of<'b>(bundles: &'b BTreeMap<Version, Vec<Found>>, info: &ReleaseInfo) -> Option<&'b str> {
    let candidates = bundles.get(&info.version)?;
    let same = |found: &&Found| found.info.files == info.files && found.info.images == info.images;
    candidates.iter().filter(same).max_by_key(|found| found.size).map(|found| found.file.as_str())
}
