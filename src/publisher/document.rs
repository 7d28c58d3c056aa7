//! The manifest a release is published with (form 3 of the contract), as JSON.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::ReleaseInfo;
use crate::release::bundle::BundleSummary;
use crate::release::operations::Operations;

/// What a manifest lists per architecture.
pub(super) const PER_ARCH: [&str; 2] = ["platforms", "patch"];

/// The patch of a release.
pub(super) struct PatchEntry<'a> {
    pub from: &'a ReleaseInfo,
    pub package: &'a BundleSummary,
    pub operations: &'a Operations,
}

/// The names the manifest's `platforms` and `patch` use for a release's architecture.
fn platforms(arch: &str) -> Vec<&str> {
    match arch {
        "any" => vec!["x86_64", "aarch64"],
        "amd64" => vec!["x86_64"],
        "arm64" => vec!["aarch64"],
        other => vec![other],
    }
}

/// The manifest of the release `info`, whose packages lie beside it.
pub(super) fn manifest(
    info: &ReleaseInfo,
    notes: &str,
    released_at: OffsetDateTime,
    full: &BundleSummary,
    patch: Option<PatchEntry<'_>>,
) -> Result<Value> {
    let date = released_at
        .replace_nanosecond(0)
        .map_err(|error| error.to_string())
        .and_then(|time| time.format(&Rfc3339).map_err(|error| error.to_string()))
        .map_err(|cause| Fault::new(Code::ManifestInvalid, "release_date", cause))?;
    let mut document = json!({
        "schema": 1,
        "version": info.version,
        "release_date": date,
        "release_notes": notes,
        "packages": {"full": package(full)?, "patch": null},
    });
    if info.arch != "any" {
        document["platforms"] = same_for_all(&info.arch, &package(full)?);
    }
    if let Some(PatchEntry { from, package: summary, operations }) = patch {
        let mut entry = json!({"from": from.version});
        for (key, value) in package(summary)?.as_object_mut().into_iter().flat_map(std::mem::take) {
            entry[key] = value;
        }
        entry["operations"] = serde_json::to_value(operations)
            .map_err(|error| Fault::from_error(Code::ManifestInvalid, "patch", error))?;
        entry["notes"] = notes.into();
        document["patch"] = same_for_all(&info.arch, &entry);
    }
    document["requires"] = serde_json::to_value(&info.requires)
        .map_err(|error| Fault::from_error(Code::ManifestInvalid, "requires", error))?;
    if info.migrates_data {
        document["migrates_data"] = true.into();
    }
    document["releases"] = json!([info.version]);
    Ok(document)
}

fn same_for_all(arch: &str, entry: &Value) -> Value {
    Value::Object(platforms(arch).into_iter().map(|name| (name.to_owned(), entry.clone())).collect())
}

fn package(summary: &BundleSummary) -> Result<Value> {
    Ok(json!({
        "url": file_name(&summary.path)?,
        "hash": summary.hash,
        "size": summary.size,
        "signature": "",
        "index": {"url": file_name(&summary.index_path)?, "hash": summary.index_hash},
    }))
}

fn file_name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| {
        Fault::new(Code::ManifestInvalid, path.display(), "it has no name that fits a manifest")
    })
}

/// Reads a manifest this module wrote; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Value>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.at(path)?,
    };
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Fault::from_error(Code::ManifestInvalid, path.display(), error))?;
    match document.is_object() {
        true => Ok(Some(document)),
        false => Err(Fault::new(Code::ManifestInvalid, path.display(), "it is not an object")),
    }
}

/// The document's bytes.
pub(super) fn bytes(document: &Value) -> Vec<u8> {
    format!("{document:#}\n").into_bytes()
}

/// Adds the architectures that only `older`, a manifest of the same version, has.
pub(super) fn adopt(document: &mut Value, older: &Value) {
    for section in PER_ARCH {
        let Some(entries) = older.get(section).and_then(Value::as_object) else { continue };
        if !document[section].is_object() {
            document[section] = Value::Object(Map::new());
        }
        for (arch, entry) in entries {
            if document[section].get(arch).is_none() {
                document[section][arch] = entry.clone();
            }
        }
    }
}

/// Every package of the manifest: `packages.full` and the entries per architecture.
pub(super) fn packages_mut(document: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    let Some(top) = document.as_object_mut() else { return found };
    for (key, value) in top.iter_mut() {
        if key == "packages" {
            found.extend(value.get_mut("full"));
        } else if PER_ARCH.contains(&key.as_str())
            && let Some(entries) = value.as_object_mut()
        {
            found.extend(entries.iter_mut().map(|(_, entry)| entry));
        }
    }
    found
}
