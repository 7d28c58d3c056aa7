//! `client release inspect`: what is in a bundle or patch, and whether it is sound.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::fault::{Class, Fault, IoContext, Result};
use crate::messages::Lang;
use crate::release::bundle::{Encoding, EntryKind, IMAGES, Index, STACK, fault_of, index_path};
use crate::release::oci::blob_path;
use crate::release::{Bundle, Digest, ReleaseInfo};

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedMember {
    /// Its path once decoded.
    pub path: String,
    /// Bytes in the bundle.
    pub stored: u64,
    /// Bytes once decoded; unknown where it cannot be.
    pub size: Option<u64>,
    /// How it is stored.
    pub encoding: Encoding,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedLayer {
    /// Its digest.
    pub digest: Digest,
    /// Bytes, uncompressed.
    pub size: u64,
    /// Bytes in the bundle; none where a patch leaves it out.
    pub stored: Option<u64>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedImage {
    /// The reference the Compose files use.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its ID.
    pub id: Digest,
    /// Whether it is in this file.
    pub included: bool,
    /// Its layers.
    pub layers: Vec<InspectedLayer>,
}

/// What is in a bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Always 1.
    pub schema: u32,
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub size: u64,
    /// Its digest.
    pub hash: Digest,
    /// Whether everything the release needs is in it; a patch leaves out what the version before has.
    pub complete: bool,
    /// Whether everything in it is what it claims to be.
    pub valid: bool,
    /// What is wrong.
    pub problems: Vec<String>,
    /// The gravest class of what is wrong.
    #[serde(skip)]
    pub class: Option<Class>,
    /// The release.
    pub release: ReleaseInfo,
    /// Its images.
    pub images: Vec<InspectedImage>,
    /// Its files.
    pub members: Vec<InspectedMember>,
}

/// Reads all of the bundle or patch `path` and its index, where there is one. A file that is no bundle at
/// all is an error; anything else that is wrong with it is listed.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let bundle = Bundle::open(path)?;
    let release = bundle.info().clone();
    let (hash, size) = Digest::of_reader(fs::File::open(path).at(path)?).at(path)?;
    let mut problems = Vec::new();
    let mut class = None;
    let mut note = |fault: Fault| {
        // What cannot be trusted weighs most.
        let of = fault.code().class();
        class = Some(class.filter(|class| *class == Class::Trust).unwrap_or(of));
        problems.push(fault.message(Lang::En));
    };
    let mut members = Vec::new();
    let layers: BTreeMap<Digest, u64> = release
        .images
        .iter()
        .flat_map(|image| &image.layers)
        .map(|layer| (layer.digest, layer.size))
        .collect();
    for (member, entry) in bundle.entries() {
        let EntryKind::File { length, encoding, .. } = entry.kind else { continue };
        let size = check(&bundle, member, length, &layers).map_err(&mut note).ok();
        members.push(InspectedMember { path: member.into(), stored: length, size, encoding });
    }
    let stored = |digest: &Digest| match bundle.entry(&format!("{IMAGES}/{}", blob_path(digest)))?.kind {
        EntryKind::File { length, .. } => Some(length),
        _ => None,
    };
    let mut complete =
        release.files.iter().all(|file| bundle.entry(&format!("{STACK}/{}", file.path)).is_some());
    let mut images = Vec::new();
    for image in &release.images {
        let layer = |layer: &crate::release::info::LayerInfo| InspectedLayer {
            digest: layer.digest,
            size: layer.size,
            stored: stored(&layer.digest),
        };
        let included = stored(&image.digest).is_some();
        complete &= included;
        if included && let Err(fault) = bundle.image_archive(&[(image.clone(), Vec::new())]) {
            note(fault);
        }
        let layers = image.layers.iter().map(layer).collect();
        images.push(InspectedImage { reference: image.reference.clone(), id: image.id, included, layers });
    }
    if let Err(fault) = check_index(&bundle, size) {
        note(fault);
    }
    let valid = problems.is_empty();
    let path = path.to_owned();
    Ok(Inspection { schema: 1, path, size, hash, complete, valid, problems, class, release, images, members })
}

/// Reads one file to its end; its decoded size.
fn check(bundle: &Bundle, member: &str, length: u64, layers: &BTreeMap<Digest, u64>) -> Result<u64> {
    let drain = |reader: &mut dyn io::Read| {
        io::copy(reader, &mut io::sink()).map_err(|error| fault_of(error, member))
    };
    if let Some(path) = member.strip_prefix(STACK).and_then(|rest| rest.strip_prefix('/')) {
        let undeclared =
            || Fault::new(crate::Code::BundleInvalid, member, "release.json does not declare it");
        let declared = bundle.info().file(path).ok_or_else(undeclared)?;
        return drain(&mut bundle.read(member, length, declared.hash)?);
    }
    let digest = member.rsplit_once("/blobs/sha256/").and_then(|(_, hex)| hex.parse::<Digest>().ok());
    match digest {
        Some(digest) => match layers.get(&digest) {
            Some(size) => drain(&mut bundle.blob(&digest, *size)?),
            None => Ok(bundle.small_blob(&digest)?.len() as u64),
        },
        None => Ok(length),
    }
}

/// The sidecar must describe this very file.
fn check_index(bundle: &Bundle, size: u64) -> Result<()> {
    let path = index_path(bundle.path());
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.at(&path)?,
    };
    let name = path.display().to_string();
    let index = Index::from_json(&bytes, size, &name)?;
    let listed: BTreeMap<&str, _> =
        index.members.iter().map(|m| (m.path.as_str(), (m.offset, m.length, m.encoding))).collect();
    let real: BTreeMap<&str, _> = bundle
        .entries()
        .filter_map(|(path, entry)| match entry.kind {
            EntryKind::File { offset, length, encoding } => Some((path, (offset, length, encoding))),
            _ => None,
        })
        .collect();
    match listed == real {
        true => Ok(()),
        false => {
            Err(Fault::new(crate::Code::IndexInvalid, name, "it lists other members than the bundle has"))
        }
    }
}
