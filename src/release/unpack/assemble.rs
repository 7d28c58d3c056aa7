//! Makes a release folder again out of whatever still has its files: every file is known by its digest, so it does
//! not matter where it comes from.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::bundle::STACK;
use super::super::info::FileInfo;
use super::super::tree;
use super::super::{Bundle, ReleaseInfo};
use super::{begin, check_declared, from_bundle, place, seal};
use crate::fault::{Code, Fault, IoContext, Result};

/// Something that may have files of a release.
#[derive(Debug)]
pub enum Origin {
    /// A folder that holds them under their paths.
    Folder(PathBuf),
    /// A bundle of this release or of another.
    Bundle(Bundle),
}

/// Makes the release `info` in `staging`, taking each file from the first of `origins` that has it as it must be.
pub fn assemble(info: &ReleaseInfo, origins: &[Origin], staging: &Path) -> Result<()> {
    check_declared(info)?;
    begin(staging)?;
    for file in &info.files {
        let mut causes = Vec::new();
        let mut taken = false;
        for origin in origins.iter().filter(|origin| origin.has(file)) {
            match origin.take(file, staging) {
                Ok(()) => {
                    taken = true;
                    break;
                }
                Err(fault) if matches!(fault.code(), Code::DiskFull | Code::DiskReadOnly) => {
                    return Err(fault);
                }
                Err(fault) => {
                    causes.push(fault.to_string());
                    let part = staging.join(&file.path);
                    if part.symlink_metadata().is_ok() {
                        fs::remove_file(&part).at(&part)?;
                    }
                }
            }
        }
        if !taken {
            let cause = match causes.is_empty() {
                true => format!("nothing here has its {}", file.path),
                false => format!("{}: {}", file.path, causes.join("; ")),
            };
            return Err(Fault::new(Code::ReleaseDamaged, &info.version, cause));
        }
    }
    seal(info, staging)
}

impl Origin {
    fn has(&self, file: &FileInfo) -> bool {
        match self {
            Self::Folder(folder) => {
                let found = folder.join(&file.path).symlink_metadata().is_ok();
                let same = |there: FileInfo| there.hash == file.hash && there.link == file.link;
                found && tree::describe(folder, &file.path).ok().flatten().is_some_and(same)
            }
            Self::Bundle(bundle) => {
                let same = |other: &&FileInfo| other.path == file.path && other.hash == file.hash;
                bundle.info().files.iter().any(|other| same(&other))
                    && bundle.entry(&format!("{STACK}/{}", file.path)).is_some()
            }
        }
    }

    fn take(&self, file: &FileInfo, staging: &Path) -> Result<()> {
        match self {
            Self::Folder(folder) => place::from_folder(folder, file, staging, false),
            Self::Bundle(bundle) => from_bundle(bundle, file, staging),
        }
    }
}
