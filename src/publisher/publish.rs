//! `client release publish`: adds a built release to a folder any static web server can serve.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::document;
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::info::is_safe_relative;
use crate::release::{Digest, Version};

/// The folder with one manifest per version.
const MANIFESTS: &str = "manifest";
const NEWEST: &str = "manifest.json";

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishReport {
    /// Always 1.
    pub schema: u32,
    /// The version.
    pub version: Version,
    /// The version `manifest.json` now leads to.
    pub newest: Version,
    /// All versions in the source, oldest first.
    pub releases: Vec<Version>,
    /// Files that were copied; empty where all were there already.
    pub copied: Vec<PathBuf>,
    /// Packages of other releases in the folder that are not in the source: only what was built last is published.
    pub left: Vec<PathBuf>,
}

/// Publishes what was built in `out` to the source folder `source`.
///
/// Packages come first, then their version's manifest, then `manifest.json`, so a device never reads a
/// manifest that names a file that is not there. The same release again changes nothing; another content
/// under a published name is refused before anything is written.
pub fn publish(out: &Path, source: &Path) -> Result<PublishReport> {
    let built = out.join(NEWEST);
    let missing = || Fault::new(Code::ManifestInvalid, built.display(), "nothing was built here");
    let mut fresh = document::read(&built)?.ok_or_else(missing)?;
    let version = version_of(&fresh, &built)?;
    let files = files_of(&mut fresh, &built)?;
    let todo = to_copy(&files, out, source)?;

    let manifests = source.join(MANIFESTS);
    let own = manifests.join(format!("{version}.json"));
    prefix_urls(&mut fresh, "../");
    let merged = match document::read(&own)? {
        None => fresh,
        Some(published) => merge(published, &fresh, &version)?,
    };

    fs::create_dir_all(&manifests).at(&manifests)?;
    for name in &todo {
        durable::copy_atomic(&out.join(name), &source.join(name))?;
    }
    write_if_new(&own, &merged)?;
    let releases = published(&manifests)?;
    let newest = releases.last().cloned().unwrap_or_else(|| version.clone());
    let path = manifests.join(format!("{newest}.json"));
    let mut top =
        document::read(&path)?.ok_or_else(|| Fault::new(Code::ManifestInvalid, path.display(), ""))?;
    prefix_urls(&mut top, "");
    top["releases"] = json!(releases);
    write_if_new(&source.join(NEWEST), &top)?;
    let copied = todo.iter().map(|name| source.join(name)).collect();
    let left = unpublished(out, source)?;
    Ok(PublishReport { schema: 1, version, newest, releases, copied, left })
}

/// The packages in `out` that `source` does not have.
fn unpublished(out: &Path, source: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(out).at(out)? {
        let path = entry.at(out)?.path();
        let is_package = path.extension().is_some_and(|ending| ending == "bundle" || ending == "patch");
        let name = path.file_name().unwrap_or_default();
        if is_package && !source.join(name).exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn version_of(document: &Value, path: &Path) -> Result<Version> {
    let text = document.get("version").and_then(Value::as_str);
    text.ok_or_else(|| Fault::new(Code::ManifestInvalid, path.display(), "it has no version"))?.parse()
}

/// The packages and indexes the manifest names, with their digests.
fn files_of(document: &mut Value, path: &Path) -> Result<Vec<(String, Digest)>> {
    let invalid = |cause: &str| Fault::new(Code::ManifestInvalid, path.display(), cause);
    let mut found = BTreeSet::new();
    for package in document::packages_mut(document) {
        for entry in [Some(&*package), package.get("index")].into_iter().flatten() {
            let url =
                entry.get("url").and_then(Value::as_str).ok_or_else(|| invalid("a package has no url"))?;
            let hash = entry.get("hash").and_then(Value::as_str).and_then(|text| text.parse().ok());
            let hash: Digest = hash.ok_or_else(|| invalid(&format!("{url} has no hash")))?;
            if !is_safe_relative(url) || url.contains('/') {
                return Err(invalid(&format!("{url} does not lie beside the manifest")));
            }
            found.insert((url.to_owned(), hash));
        }
    }
    Ok(found.into_iter().collect())
}

/// The files that are not in `source` yet; refuses one that is there with other content.
fn to_copy(files: &[(String, Digest)], out: &Path, source: &Path) -> Result<Vec<String>> {
    let mut todo = Vec::new();
    for (name, hash) in files {
        let built = out.join(name);
        let found = digest(&built)?.ok_or_else(|| Fault::io(&built, ErrorKind::NotFound.into()))?;
        if found != *hash {
            let cause = "it is not the file the manifest was written for; build the release again";
            return Err(Fault::new(Code::HashMismatch, built.display(), cause));
        }
        match digest(&source.join(name))? {
            None => todo.push(name.clone()),
            Some(there) if there == *hash => {}
            Some(_) => return Err(Fault::new(Code::ReleaseExists, name, source.display())),
        }
    }
    Ok(todo)
}

fn digest(path: &Path) -> Result<Option<Digest>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => Ok(Some(Digest::of_reader(other.at(path)?).at(path)?.0)),
    }
}

/// The published manifest with what `fresh` adds to it: other architectures, a patch.
fn merge(mut published: Value, fresh: &Value, version: &Version) -> Result<Value> {
    let exists = |what: &str| Err(Fault::new(Code::ReleaseExists, format!("{version} ({what})"), ""));
    let hash = |package: Option<&Value>| package.and_then(|package| package.get("hash")).cloned();
    let generic = |document: &Value| document.get("platforms").is_none();
    let full = |document: &Value| hash(document.pointer("/packages/full"));
    if (generic(&published) || generic(fresh)) && full(&published) != full(fresh) {
        return exists("full");
    }
    for section in document::PER_ARCH {
        let entries = fresh.get(section).and_then(Value::as_object);
        for (arch, entry) in entries.into_iter().flatten() {
            let there = published.get(section).and_then(|entries| entries.get(arch));
            if there.is_some() && hash(there) != hash(Some(entry)) {
                return exists(&format!("{section} {arch}"));
            }
        }
    }
    document::adopt(&mut published, fresh);
    Ok(published)
}

/// Makes relative package addresses lead from another folder: `../` for the manifests of single versions.
fn prefix_urls(document: &mut Value, prefix: &str) {
    let set = |entry: &mut Value| {
        if let Some(url) = entry.get("url").and_then(Value::as_str) {
            entry["url"] = format!("{prefix}{}", url.trim_start_matches("../")).into();
        }
    };
    for package in document::packages_mut(document) {
        set(package);
        if let Some(index) = package.get_mut("index") {
            set(index);
        }
    }
}

/// The versions that have a manifest, oldest first.
fn published(manifests: &Path) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(manifests).at(manifests)? {
        let name = entry.at(manifests)?.file_name();
        // Other names are none of ours: a web server's own files, editors' leftovers.
        if let Some(Ok(version)) = name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::parse) {
            versions.push(version);
        }
    }
    versions.sort();
    Ok(versions)
}

fn write_if_new(path: &Path, document: &Value) -> Result<()> {
    let bytes = document::bytes(document);
    match fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        _ => durable::write_atomic(path, &bytes),
    }
}
