//! Unpacks the parts of an archive beside the data they are to replace.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::entry::{Entry, EntryKind};
use super::extract::{Extractor, copy_sparse};
use super::meta::Node;
use super::selection::{Cover, Scope};
use super::swap::{FileSwap, FolderSwap};
use crate::fault::{Code, Fault, IoContext, Result};

/// Where a part is unpacked, and what of the present data there it replaces.
#[derive(Debug, Clone)]
pub struct Place {
    pub path: PathBuf,
    pub scope: Scope,
    pub cover: Cover,
}

/// A folder that takes the place of another.
pub struct StagedFolder {
    pub swap: FolderSwap,
    pub place: Place,
    /// What the folder itself becomes.
    pub root: Box<Entry>,
}

/// A part that is unpacked and waits for its exchange.
pub enum Staged {
    Folder(StagedFolder),
    File(FileSwap),
}

/// A part that is being unpacked.
pub enum Unpacking {
    Waiting(Place),
    Folder(StagedFolder, Box<Extractor>),
    File(FileSwap, Vec<String>),
    NotOnDisk,
}

impl Staged {
    /// Back to the former data.
    pub fn revert(self) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.swap.revert(),
            Self::File(swap) => swap.revert(),
        }
    }
}

/// One entry of part `name` onto the disk, beside the present data.
pub fn unpack(place: &mut Unpacking, id: &str, name: &str, entry: &Entry, body: &mut dyn Read) -> Result<()> {
    let relative = entry.path.strip_prefix(name).unwrap_or(&entry.path).to_owned();
    if let Unpacking::Waiting(wanted) = place {
        let wanted = wanted.clone();
        if !relative.as_os_str().is_empty() {
            return Err(Fault::new(Code::BackupCorrupt, name, "its first entry is not the part itself"));
        }
        *place = match entry.kind {
            EntryKind::Folder => begin_folder(wanted, id, entry)?,
            EntryKind::File => return begin_file(place, &wanted.path, id, entry, body),
            _ => return Err(Fault::new(Code::BackupCorrupt, name, "it is neither a file nor a folder")),
        };
        return Ok(());
    }
    match place {
        Unpacking::Folder(folder, _) if !folder.place.cover.wants(&relative) => Ok(()),
        Unpacking::Folder(_, extractor) => {
            let mut entry = entry.clone();
            if entry.kind == EntryKind::HardLink {
                entry.link = entry.link.strip_prefix(name).map(Path::to_owned).unwrap_or_default();
            }
            extractor.add(&relative, &entry, body)
        }
        Unpacking::File(..) => Err(Fault::new(Code::BackupCorrupt, name, "a file cannot hold other entries")),
        Unpacking::NotOnDisk | Unpacking::Waiting(_) => Ok(()),
    }
}

fn begin_folder(place: Place, id: &str, entry: &Entry) -> Result<Unpacking> {
    let target = &place.path;
    if target.exists() && !target.is_dir() {
        return Err(Fault::new(
            Code::RestoreFailed,
            target.display(),
            "there is a file where a folder belongs",
        ));
    }
    let swap = FolderSwap::begin(target, id)?;
    let extractor = Box::new(Extractor::new(swap.new_content()?, target.clone()));
    let root = Box::new(if place.cover.has_root() { entry.clone() } else { swap.former_root()? });
    Ok(Unpacking::Folder(StagedFolder { swap, place, root }, extractor))
}

fn begin_file(
    place: &mut Unpacking,
    target: &Path,
    id: &str,
    entry: &Entry,
    body: &mut dyn Read,
) -> Result<()> {
    if target.is_dir() {
        return Err(Fault::new(
            Code::RestoreFailed,
            target.display(),
            "there is a folder where a file belongs",
        ));
    }
    let swap = FileSwap::begin(target, id)?;
    let staged = swap.staged();
    *place = Unpacking::File(swap, Vec::new());
    let mut file = File::create_new(&staged).at(&staged)?;
    copy_sparse(body, &mut file).at(&staged)?;
    let Unpacking::File(_, lost) = place else { return Ok(()) };
    let applied = Node::Open(file.as_fd()).apply(entry, &mut |what| {
        lost.push(format!("{}: {what} could not be kept", target.display()));
    });
    applied.map_err(io::Error::from).at(&staged)?;
    file.sync_all().at(&staged)
}

/// All parts that were unpacked, and the first error in completing them.
pub fn finish_unpacking(plan: Vec<Unpacking>, warnings: &mut Vec<String>) -> (Vec<Staged>, Option<Fault>) {
    let mut staged = Vec::new();
    let mut failed = None;
    for place in plan {
        match place {
            Unpacking::Folder(folder, extractor) => {
                match extractor.finish() {
                    Ok(lost) => warnings.extend(lost),
                    Err(fault) => failed = failed.or(Some(fault)),
                }
                staged.push(Staged::Folder(folder));
            }
            Unpacking::File(swap, lost) => {
                warnings.extend(lost);
                staged.push(Staged::File(swap));
            }
            Unpacking::Waiting(_) | Unpacking::NotOnDisk => {}
        }
    }
    (staged, failed)
}
