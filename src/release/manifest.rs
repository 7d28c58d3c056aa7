//! The manifest a source serves: three wire forms, one validated type.
//!
//! Whatever the form, what [`Manifest::from_json`] returns has been checked: versions parse, addresses are
//! absolute or stay below the manifest, hashes are hashes, and a patch's operations stay in the stack folder.

mod node;
mod read;
mod reference;
mod write;

use super::operations::Operations;
use std::collections::BTreeMap;

use super::info::Requires;
use super::{Arch, Digest, Version};
use crate::fault::{Code, Fault, Result};

/// The largest manifest that is read.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// What a source offers: one version and the packages that lead to it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The version offered.
    pub version: Version,
    /// When it was released, as the publisher wrote it.
    pub release_date: Option<String>,
    /// For people.
    pub release_notes: Option<String>,
    /// The channel it was published on.
    pub channel: Option<String>,
    /// The package for any architecture.
    pub full: Option<Package>,
    /// Packages for one architecture.
    pub platforms: BTreeMap<Arch, Package>,
    /// Patches for one architecture.
    pub patches: BTreeMap<Arch, Patch>,
    /// The patch for any architecture.
    pub patch_generic: Option<Patch>,
    /// What the version needs of the machine and of the version before.
    pub requires: Requires,
    /// The version before cannot read the data once this one has started; also told to those who skip it.
    pub migrates_data: bool,
    /// Versions the source can serve the manifest of.
    pub releases: Vec<Version>,
    /// The hash of the document this was read from, byte for byte; not part of equality.
    pub document: Digest,
}

/// A file that holds a release, or a patch to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Absolute (`http`, `https`, `file`) or relative to the manifest.
    pub url: String,
    /// What its content must hash to.
    pub hash: PackageHash,
    /// Bytes.
    pub size: Option<u64>,
    /// A signature, as the publisher wrote it.
    pub signature: Option<String>,
    /// Other addresses of the same file.
    pub mirrors: Vec<String>,
    /// The index of its members.
    pub index: Option<IndexRef>,
}

/// Where the hash of a file is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageHash {
    /// Here.
    Sha256(Digest),
    /// In signed metadata; the manifest itself promises nothing.
    External,
}

impl PackageHash {
    /// The hash, where the manifest has it.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::External => None,
        }
    }
}

/// Where the index of a bundle is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRef {
    /// As in [`Package::url`].
    pub url: String,
    /// What its content must hash to.
    pub hash: PackageHash,
}

/// A patch: the package and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The only version it applies to; see [`Manifest::patch_base`] for the default.
    pub from: Option<Version>,
    /// The file.
    pub package: Package,
    /// What it changes in the stack folder.
    pub operations: Operations,
    /// For people.
    pub notes: Option<String>,
}

impl Manifest {
    /// A manifest of `version` that offers nothing yet, for the publisher to fill.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            release_date: None,
            release_notes: None,
            channel: None,
            full: None,
            platforms: BTreeMap::new(),
            patches: BTreeMap::new(),
            patch_generic: None,
            requires: Requires::default(),
            migrates_data: false,
            releases: Vec::new(),
            document: Digest::of(b""),
        }
    }

    /// Reads any of the three forms; `origin` is the object named in errors.
    pub fn from_json(bytes: &[u8], origin: &str) -> Result<Self> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Fault::new(Code::ManifestTooLarge, origin, format!("{} bytes", bytes.len())));
        }
        read::manifest(bytes, origin)
    }

    /// The document in the third form; reading it gives this manifest again.
    pub fn to_json(&self) -> Vec<u8> {
        write::manifest(self)
    }

    /// The package for a machine: that of its architecture, else the one for any.
    pub fn package_for(&self, arch: Option<Arch>) -> Result<&Package> {
        let own = arch.and_then(|arch| self.platforms.get(&arch));
        own.or(self.full.as_ref()).ok_or_else(|| {
            let name = arch.map_or("an unknown architecture", Arch::name);
            let offered: Vec<_> = self.platforms.keys().map(|arch| arch.name()).collect();
            Fault::new(
                Code::NoPackage,
                name,
                format!("{} is offered for {}", self.version, offered.join(", ")),
            )
        })
    }

    /// The patch for a machine: that of its architecture, else the one for any.
    pub fn patch_for(&self, arch: Option<Arch>) -> Option<&Patch> {
        let own = arch.and_then(|arch| self.patches.get(&arch));
        own.or(self.patch_generic.as_ref())
    }

    /// The only version `patch` applies to: the one it names, else the level before this version.
    pub fn patch_base(&self, patch: &Patch) -> Option<Version> {
        patch.from.clone().or_else(|| self.version.level_before())
    }
}

impl PartialEq for Manifest {
    /// Compares what the documents say, not their bytes. Taken apart field by field so that a new field
    /// cannot be forgotten here.
    fn eq(&self, other: &Self) -> bool {
        let Self {
            version,
            release_date,
            release_notes,
            channel,
            full,
            platforms,
            patches,
            patch_generic,
            requires,
            migrates_data,
            releases,
            document: _,
        } = self;
        *version == other.version
            && *release_date == other.release_date
            && *release_notes == other.release_notes
            && *channel == other.channel
            && *full == other.full
            && *platforms == other.platforms
            && *patches == other.patches
            && *patch_generic == other.patch_generic
            && *requires == other.requires
            && *migrates_data == other.migrates_data
            && *releases == other.releases
    }
}

#[cfg(test)]
mod tests;
