//! From any wire form to the validated type.

use std::collections::BTreeMap;

use serde_json::Value;

use super::node::Node;
use super::{IndexRef, Manifest, Package, PackageHash, Patch, reference};
use crate::fault::{Code, Fault, Result};
use crate::release::info::{Requires, is_safe_relative};
use crate::release::operations::{Operations, Paths};
use crate::release::{Arch, Digest, Version};

/// Whether a package may leave its hash out.
#[derive(Clone, Copy, PartialEq)]
enum HashField {
    Required,
    Optional,
}

pub(super) fn manifest(bytes: &[u8], origin: &str) -> Result<Manifest> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Fault::from_error(Code::ManifestInvalid, origin, error))?;
    let root = Node::root(&value, origin);
    if let Some(schema) = root.get("schema")?
        && schema.number()? != 1
    {
        return Err(schema.invalid("is not known to this client, which reads schema 1"));
    }
    let mut manifest = Manifest::new(version(&root.need("version")?)?);
    manifest.document = Digest::of(bytes);
    manifest.release_date = text(&root, "release_date")?;
    manifest.release_notes = text(&root, "release_notes")?;
    manifest.channel = text(&root, "channel")?;
    if let Some(packages) = root.get("packages")? {
        let full = packages.get("full")?;
        manifest.full = full.map(|node| package(&node, HashField::Required)).transpose()?;
        let generic = packages.get("patch")?;
        manifest.patch_generic = generic.map(|node| patch(&node, HashField::Required)).transpose()?;
    }
    manifest.platforms = by_arch(&root, "platforms", |node| package(node, HashField::Optional))?;
    manifest.patches = by_arch(&root, "patch", |node| patch(node, HashField::Optional))?;
    if let Some(node) = root.get("requires")? {
        manifest.requires = requires(&node)?;
    }
    if let Some(node) = root.get("migrates_data")? {
        manifest.migrates_data = node.boolean()?;
    }
    if let Some(node) = root.get("releases")? {
        manifest.releases = node.elements()?.iter().map(version).collect::<Result<_>>()?;
    }
    if manifest.full.is_none() && manifest.platforms.is_empty() {
        return Err(root.invalid("offers no package: neither 'packages.full' nor a known one in 'platforms'"));
    }
    Ok(manifest)
}

/// The entries of `name` for known architectures. Other keys are unknown fields, which are accepted.
fn by_arch<T>(
    root: &Node<'_>,
    name: &str,
    read: impl Fn(&Node<'_>) -> Result<T>,
) -> Result<BTreeMap<Arch, T>> {
    let mut entries = BTreeMap::new();
    let Some(node) = root.get(name)? else { return Ok(entries) };
    for (key, entry) in node.fields()? {
        let Some(arch) = Arch::from_name(key) else { continue };
        if entries.insert(arch, read(&entry)?).is_some() {
            return Err(entry.invalid(format!("is a second entry for {arch}")));
        }
    }
    Ok(entries)
}

fn package(node: &Node<'_>, hash_field: HashField) -> Result<Package> {
    let hash_node = match hash_field {
        HashField::Required => Some(node.need("hash")?),
        HashField::Optional => node.get("hash")?,
    };
    Ok(Package {
        url: address(&node.need("url")?)?,
        hash: hash_node.map_or(Ok(PackageHash::External), |node| hash(&node))?,
        // The older publishers write 0 where they do not know.
        size: node.get("size")?.map(|size| size.number()).transpose()?.filter(|size| *size > 0),
        signature: text(node, "signature")?.filter(|signature| !signature.is_empty()),
        mirrors: list(node, "mirrors", address)?,
        index: node.get("index")?.map(|index| index_ref(&index)).transpose()?,
    })
}

fn index_ref(node: &Node<'_>) -> Result<IndexRef> {
    Ok(IndexRef { url: address(&node.need("url")?)?, hash: hash(&node.need("hash")?)? })
}

fn patch(node: &Node<'_>, hash_field: HashField) -> Result<Patch> {
    Ok(Patch {
        from: node.get("from")?.map(|from| version(&from)).transpose()?,
        package: package(node, hash_field)?,
        operations: node.get("operations")?.map_or(Ok(Operations::default()), |ops| operations(&ops))?,
        notes: text(node, "notes")?,
    })
}

fn operations(node: &Node<'_>) -> Result<Operations> {
    let paths = |name| node.get(name)?.map_or(Ok(Paths::default()), |set| path_set(&set));
    Ok(Operations { replace: paths("replace")?, delete: paths("delete")? })
}

fn path_set(node: &Node<'_>) -> Result<Paths> {
    Ok(Paths {
        files: list(node, "files", |file| inner_path(file, file.text()?))?,
        directories: list(node, "directories", |folder| {
            let text = folder.text()?;
            inner_path(folder, text.strip_suffix('/').unwrap_or(text))
        })?,
    })
}

fn inner_path(node: &Node<'_>, text: &str) -> Result<String> {
    let bare = text.strip_prefix("./").unwrap_or(text);
    if is_safe_relative(bare) {
        Ok(bare.to_owned())
    } else {
        Err(node.invalid(format!("the path '{}' does not stay in the stack folder", text.escape_debug())))
    }
}

fn requires(node: &Node<'_>) -> Result<Requires> {
    let from = node.get("from")?;
    if let Some(from) = &from {
        semver::VersionReq::parse(from.text()?).map_err(|error| from.invalid(error))?;
    }
    Ok(Requires {
        from: from.map(|from| from.text().map(str::to_owned)).transpose()?,
        floor: node.get("floor")?.map_or(Ok(false), |floor| floor.boolean())?,
        engine_api: text(node, "engine_api")?,
        disk_bytes: node.get("disk_bytes")?.map(|bytes| bytes.number()).transpose()?,
    })
}

fn version(node: &Node<'_>) -> Result<Version> {
    node.text()?.parse().map_err(|fault: Fault| {
        let place = format!("{} of {}: {}", node.path(), node.origin(), fault.detail());
        Fault::new(fault.code(), fault.object(), place)
    })
}

fn hash(node: &Node<'_>) -> Result<PackageHash> {
    match node.text()? {
        "" | "external" => Ok(PackageHash::External),
        text => text.parse().map(PackageHash::Sha256).map_err(|error| node.invalid(error)),
    }
}

fn address(node: &Node<'_>) -> Result<String> {
    reference::check(node.text()?).map_err(|cause| node.invalid(cause))
}

fn text(node: &Node<'_>, name: &str) -> Result<Option<String>> {
    node.get(name)?.map(|field| field.text().map(str::to_owned)).transpose()
}

fn list<T>(node: &Node<'_>, name: &str, read: impl Fn(&Node<'_>) -> Result<T>) -> Result<Vec<T>> {
    match node.get(name)? {
        Some(field) => field.elements()?.iter().map(read).collect(),
        None => Ok(Vec::new()),
    }
}
