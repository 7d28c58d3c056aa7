//! From the validated type to the third wire form.

use serde_json::{Map, Value, json};

use super::{Manifest, Package, PackageHash, Patch};
use crate::release::info::Requires;
use crate::release::operations::{Operations, Paths};

pub(super) fn manifest(manifest: &Manifest) -> Vec<u8> {
    let mut root = Map::new();
    root.insert("schema".into(), json!(1));
    root.insert("version".into(), json!(manifest.version));
    put(&mut root, "release_date", &manifest.release_date);
    put(&mut root, "release_notes", &manifest.release_notes);
    put(&mut root, "channel", &manifest.channel);
    root.insert(
        "packages".into(),
        json!({
            "full": manifest.full.as_ref().map(package),
            "patch": manifest.patch_generic.as_ref().map(patch),
        }),
    );
    if !manifest.platforms.is_empty() {
        let entries = manifest.platforms.iter().map(|(arch, entry)| (arch.name().to_owned(), package(entry)));
        root.insert("platforms".into(), Value::Object(entries.collect()));
    }
    if !manifest.patches.is_empty() {
        let entries = manifest.patches.iter().map(|(arch, entry)| (arch.name().to_owned(), patch(entry)));
        root.insert("patch".into(), Value::Object(entries.collect()));
    }
    if manifest.requires != Requires::default() {
        root.insert("requires".into(), json!(manifest.requires));
    }
    if manifest.migrates_data {
        root.insert("migrates_data".into(), json!(true));
    }
    if !manifest.releases.is_empty() {
        root.insert("releases".into(), json!(manifest.releases));
    }
    format!("{:#}\n", Value::Object(root)).into_bytes()
}

fn package(package: &Package) -> Value {
    Value::Object(package_fields(package))
}

fn package_fields(package: &Package) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("url".into(), json!(package.url));
    fields.insert("hash".into(), hash(&package.hash));
    put(&mut fields, "size", &package.size);
    fields.insert("signature".into(), json!(package.signature.as_deref().unwrap_or_default()));
    if !package.mirrors.is_empty() {
        fields.insert("mirrors".into(), json!(package.mirrors));
    }
    if let Some(index) = &package.index {
        fields.insert("index".into(), json!({ "url": index.url, "hash": hash(&index.hash) }));
    }
    fields
}

fn patch(patch: &Patch) -> Value {
    let mut fields = Map::new();
    put(&mut fields, "from", &patch.from);
    fields.extend(package_fields(&patch.package));
    if patch.operations != Operations::default() {
        let operations = &patch.operations;
        let sets = [("replace", &operations.replace), ("delete", &operations.delete)];
        let named = sets.into_iter().filter(|(_, set)| !set.is_empty());
        let sets = named.map(|(name, set)| (name.to_owned(), path_set(set))).collect();
        fields.insert("operations".into(), Value::Object(sets));
    }
    put(&mut fields, "notes", &patch.notes);
    Value::Object(fields)
}

fn path_set(set: &Paths) -> Value {
    json!({ "files": set.files, "directories": set.directories })
}

fn hash(hash: &PackageHash) -> Value {
    match hash {
        PackageHash::Sha256(digest) => json!(digest),
        PackageHash::External => json!("external"),
    }
}

fn put<T: serde::Serialize>(fields: &mut Map<String, Value>, name: &str, value: &Option<T>) {
    if let Some(value) = value {
        fields.insert(name.into(), json!(value));
    }
}
