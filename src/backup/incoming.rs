//! Takes a tar stream from the engine's archive API into the archive, entry by entry.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::decode::TarReader;
use super::entry::EntryKind;
use super::outgoing::NOTES;
use super::selection::Filter;
use super::write::{ArchiveWriter, Sink, Source};
use crate::fault::{Code, Fault, Result};

/// Adds the entries of `stream`, which all lie below one top folder (or are one file), as the part `name`.
pub fn add(writer: &mut ArchiveWriter<'_>, name: &str, stream: &mut dyn Read, filter: &Filter) -> Result<()> {
    let source = Stream(name);
    let mut reader = TarReader::new(stream);
    let mut root = None;
    while let Some(mut entry) = reader.advance().map_err(|error| source.fault(error))? {
        let path = below(name, &entry.path)?;
        if path.strip_prefix(name) == Ok(Path::new(NOTES)) {
            let mut notes = String::new();
            reader.read_to_string(&mut notes).map_err(|error| source.fault(error))?;
            notes.lines().for_each(|note| writer.warn(note.to_owned()));
            continue;
        }
        let is_root = path.as_os_str() == name;
        match root {
            None if is_root && matches!(entry.kind, EntryKind::File | EntryKind::Folder) => {
                root = Some(entry.kind);
            }
            Some(EntryKind::Folder) => {}
            _ => {
                let cause = format!("the stream is not one folder or file, it has {:?}", entry.path);
                return Err(Fault::new(Code::BackupFailed, name, cause));
            }
        }
        if !is_root && is_left_out(filter, path.strip_prefix(name).unwrap_or(&path), entry.kind) {
            continue;
        }
        entry.path = path;
        match entry.kind {
            EntryKind::Device => {
                writer.warn(format!("{} is a device and was left out", entry.path.display()));
                continue;
            }
            EntryKind::HardLink => {
                entry.link = below(name, &entry.link)?;
                // The stream has the content under the first name only.
                if !filter.chooses(entry.link.strip_prefix(name).unwrap_or(&entry.link)) {
                    let cause = format!("it is another name of {}, which is left out", entry.link.display());
                    return Err(Fault::new(Code::BackupFailed, entry.path.display(), cause));
                }
            }
            _ => {}
        }
        if !writer.append(&entry, &mut reader, &source)? {
            return Err(source.fault(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    if root.is_none() {
        return Err(Fault::new(Code::BackupFailed, name, "the stream is empty"));
    }
    // The sender may pad; if it is not read to its end, the engine reports a broken connection.
    io::copy(&mut reader.into_inner(), &mut io::sink()).map_err(|error| source.fault(error))?;
    Ok(())
}

fn is_left_out(filter: &Filter, path: &Path, kind: EntryKind) -> bool {
    match kind {
        EntryKind::Folder => filter.leaves_out(path),
        _ => !filter.chooses(path),
    }
}

struct Stream<'a>(&'a str);

impl Source for Stream<'_> {
    fn fault(&self, error: io::Error) -> Fault {
        Fault::from_error(Code::BackupFailed, self.0, error)
    }
}

/// `top/a/b` becomes `name/a/b`.
fn below(name: &str, path: &Path) -> Result<PathBuf> {
    let mut parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    let first = parts.next();
    let mut out = PathBuf::from(name);
    if first.is_none_or(|first| first.is_empty() || first == b"..") {
        return Err(Fault::new(Code::BackupFailed, name, format!("the stream has the name {path:?}")));
    }
    for part in parts {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(Fault::new(
                    Code::BackupFailed,
                    name,
                    format!("the stream has the name {path:?}"),
                ));
            }
            part => out.push(OsStr::from_bytes(part)),
        }
    }
    Ok(out)
}
