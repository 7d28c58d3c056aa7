//! Which road leads from what is installed to what is offered: none, a patch or a full package.
//!
//! The first rule that holds decides, and is the reason that is told:
//!
//! | # | rule | strategy | reason |
//! |---|---|---|---|
//! | 1 | the installed version is newer and the offered one was not asked for by name | none | `installed_newer` |
//! | 2 | a full upgrade was demanded | full | `forced` |
//! | 3 | nothing is installed | full | `not_installed` |
//! | 4 | the release folder or its Compose file is missing | full | `compose_missing` |
//! | 5 | the engine's architecture is not the installed one | full | `arch_changed` |
//! | 6 | the installed files are not what was installed | full | `corrupted` |
//! | 7 | the versions are equal | none | `up_to_date` |
//! | 8 | the base version differs | full | `base_version_changed` |
//! | 9 | there is no patch for this architecture | full | `patch_missing` |
//! | 10 | the patch applies to another version than the installed one | full | `patches_skipped` |
//! | 11 | otherwise | patch | `patch_available` |
//!
//! Rule 1 stands before `forced` because a full upgrade is a demand about the road, not about the
//! destination: only naming the version may lead down. Rules 4 to 6 stand before `up_to_date` because an
//! installation that is damaged is not up to date, whatever its number.

use super::{Arch, Manifest, Version};

/// The road.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Nothing to do.
    None,
    /// The installed release with some files changed.
    Patch,
    /// A whole package.
    Full,
}

impl Strategy {
    /// The wire name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Patch => "patch",
            Self::Full => "full",
        }
    }
}

/// Why that road.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the module's table is the documentation
pub enum Reason {
    UpToDate,
    InstalledNewer,
    Forced,
    NotInstalled,
    ComposeMissing,
    ArchChanged,
    Corrupted,
    BaseVersionChanged,
    PatchAvailable,
    PatchMissing,
    PatchesSkipped,
}

impl Reason {
    /// The wire name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::InstalledNewer => "installed_newer",
            Self::Forced => "forced",
            Self::NotInstalled => "not_installed",
            Self::ComposeMissing => "compose_missing",
            Self::ArchChanged => "arch_changed",
            Self::Corrupted => "corrupted",
            Self::BaseVersionChanged => "base_version_changed",
            Self::PatchAvailable => "patch_available",
            Self::PatchMissing => "patch_missing",
            Self::PatchesSkipped => "patches_skipped",
        }
    }
}

/// What is known before deciding.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What is installed, if anything.
    pub installed: Option<Installed>,
    /// The architecture of the ENGINE, which may be another machine's.
    pub engine_arch: Arch,
    /// What the source offers.
    pub offered: &'a Manifest,
    /// A full upgrade was demanded.
    pub force_full: bool,
    /// The offered version was asked for by name.
    pub targeted: bool,
}

/// What is known of the installed release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its version.
    pub version: Version,
    /// The architecture it was installed for; none for a release without images, which fits any.
    pub arch: Option<Arch>,
    /// Its Compose files are there.
    pub compose_present: bool,
    /// Its folder is there.
    pub release_present: bool,
    /// Its files match their recorded hashes.
    pub intact: bool,
}

/// The road and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The road.
    pub strategy: Strategy,
    /// Why.
    pub reason: Reason,
}

/// Decides by the module's table.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let reason = reason(facts);
    let strategy = match reason {
        Reason::UpToDate | Reason::InstalledNewer => Strategy::None,
        Reason::PatchAvailable => Strategy::Patch,
        _ => Strategy::Full,
    };
    Decision { strategy, reason }
}

fn reason(facts: &Facts<'_>) -> Reason {
    let offered = &facts.offered.version;
    let Some(installed) = &facts.installed else {
        return if facts.force_full { Reason::Forced } else { Reason::NotInstalled };
    };
    if installed.version > *offered && !facts.targeted {
        return Reason::InstalledNewer;
    }
    if facts.force_full {
        return Reason::Forced;
    }
    if !installed.release_present || !installed.compose_present {
        return Reason::ComposeMissing;
    }
    if installed.arch.is_some_and(|arch| arch != facts.engine_arch) {
        return Reason::ArchChanged;
    }
    if !installed.intact {
        return Reason::Corrupted;
    }
    if installed.version == *offered {
        return Reason::UpToDate;
    }
    if installed.version.base() != offered.base() {
        return Reason::BaseVersionChanged;
    }
    let Some(patch) = facts.offered.patch_for(Some(facts.engine_arch)) else {
        return Reason::PatchMissing;
    };
    // A patch never leads down, even where one claims to.
    let applies = facts.offered.patch_base(patch).is_some_and(|base| base == installed.version);
    if applies && *offered > installed.version { Reason::PatchAvailable } else { Reason::PatchesSkipped }
}

#[cfg(test)]
mod tests;
