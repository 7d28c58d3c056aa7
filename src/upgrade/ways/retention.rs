//! Which bundles stay: those that releases here came from, and those that have the images the former lack.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::images::{candidates, holds, holds_or_describes};
use super::sparse_of;
use crate::fault::Result;
use crate::release::bundle::sparse::is_sparse_path;
use crate::release::info::ImageInfo;

/// The files in `folder` that must stay so that every one of `images` can be loaded again: `own`, and of the others as
/// few and as small ones as possible.
pub fn needed(folder: &Path, own: &BTreeSet<String>, images: &[ImageInfo]) -> Result<BTreeSet<String>> {
    let mut needed = own.clone();
    let mut left: Vec<ImageInfo> = images.to_vec();
    let mut others: Vec<(PathBuf, u64)> = Vec::new();
    let mut partial: Vec<(bool, PathBuf)> = Vec::new();
    for path in candidates(folder, None)? {
        let name = name_of(&path);
        let ours = own.contains(&name)
            || sparse_of(&name).is_some_and(|name| own.contains(&name))
            || name.strip_suffix(".converted").is_some_and(|name| own.contains(name));
        if is_sparse_path(&path) {
            partial.push((!ours, path.clone()));
        }
        if !ours {
            let size = path.metadata().map(|meta| meta.len()).unwrap_or(u64::MAX);
            others.push((path, size));
        } else if let Some((_, held)) = holds(&path, left.clone()) {
            left.retain(|image| !held.contains(image));
        }
    }
    while !left.is_empty() {
        let held = |path: &Path| holds(path, left.clone()).map(|(_, held)| held).unwrap_or_default();
        let best = others
            .iter()
            .map(|(path, size)| (held(path), *size, path))
            .filter(|(held, ..)| !held.is_empty())
            .max_by_key(|(held, size, _)| (held.len(), std::cmp::Reverse(*size)));
        let Some((held, _, path)) = best else { break };
        needed.insert(name_of(path));
        left.retain(|image| !held.contains(image));
    }
    // What is only described, the engine has. The description stays, or the whole would be fetched for want of it.
    // Those that stay anyway come first.
    partial.sort();
    for (extra, path) in partial {
        let Some((bundle, _)) = holds_or_describes(&path, left.clone()) else { continue };
        if extra {
            needed.insert(name_of(&path));
        }
        left.retain(|image| !bundle.describes(image));
    }
    Ok(needed)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
