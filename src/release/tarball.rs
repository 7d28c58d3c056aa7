//! Reads the table of contents of a tar file by hopping from header to header, without its data.
//!
//! Own code instead of the tar crate's iterator because a hostile or cut file must be told apart: that
//! iterator takes a file cut between two entries for a whole one, and reads long names without a limit.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::fault::{Code, Fault, Result};

const BLOCK: u64 = 512;
/// Longest path, link target or PAX record block; a real one is a few hundred bytes.
const LONGEST_NAME: u64 = 64 * 1024;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TarKind {
    File,
    Directory,
    Link(String),
    HardLink(String),
    /// A device, FIFO, sparse file …, by its type byte.
    Other(u8),
}

/// One entry: where its data is, and what the headers say.
#[derive(Debug, Clone)]
pub(crate) struct TarEntry {
    pub path: String,
    pub kind: TarKind,
    pub mode: u32,
    pub offset: u64,
    pub length: u64,
}

/// What extension headers say about the entry that follows them.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// All entries of `file`; `name` is the object of errors, `limit` the highest number of entries.
pub(crate) fn scan(file: &File, name: &str, limit: usize) -> Result<Vec<TarEntry>> {
    let invalid = |cause: String| Fault::new(Code::BundleInvalid, name, cause);
    let total = file.metadata().map_err(|error| Fault::io(name, error))?.len();
    let mut entries = Vec::new();
    let mut ahead = Ahead::default();
    let mut position = 0;
    loop {
        let header = read_header(file, name, position, total)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            let last = read_header(file, name, position + BLOCK, total)?;
            if last.as_bytes().iter().any(|byte| *byte != 0) {
                return Err(invalid("an empty block in the middle".into()));
            }
            return Ok(entries);
        }
        check(&header).map_err(|cause| match position {
            0 => invalid("it is not a tar archive".into()),
            _ => invalid(format!("at byte {position}: {cause}")),
        })?;
        let own_size = header.entry_size().map_err(|error| invalid(error.to_string()))?;
        // A PAX size is that of the file, not of another extension header in between.
        let extension = matches!(header.entry_type().as_byte(), b'L' | b'K' | b'x' | b'g');
        let length = if extension { own_size } else { ahead.size.take().unwrap_or(own_size) };
        let offset = position + BLOCK;
        let end = length
            .checked_next_multiple_of(BLOCK)
            .and_then(|padded| padded.checked_add(offset))
            .ok_or_else(|| invalid("an entry's size is out of range".into()))?;
        if end > total {
            return Err(Fault::new(Code::BundleTruncated, name, format!("{total} bytes, {end} are needed")));
        }
        position = end;
        match header.entry_type().as_byte() {
            b'L' => ahead.path = Some(long_name(file, name, offset, length)?),
            b'K' => ahead.link = Some(long_name(file, name, offset, length)?),
            b'x' => pax(&read_small(file, name, offset, length)?, &mut ahead).map_err(invalid)?,
            b'g' => {}
            kind => {
                if entries.len() == limit {
                    return Err(Fault::new(Code::BundleTooLarge, name, format!("more than {limit} entries")));
                }
                entries.push(entry(&header, kind, &mut ahead, offset, length).map_err(invalid)?);
            }
        }
    }
}

fn entry(
    header: &tar::Header,
    kind: u8,
    ahead: &mut Ahead,
    offset: u64,
    length: u64,
) -> Result<TarEntry, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "a name is not UTF-8".to_owned());
    let path = text(ahead.path.take().unwrap_or_else(|| header.path_bytes().into_owned()))?;
    let long_link = ahead.link.take();
    let link = |path: &str| match long_link {
        Some(bytes) => text(bytes),
        None => header
            .link_name_bytes()
            .map(|bytes| text(bytes.into_owned()))
            .unwrap_or_else(|| Err(format!("the link {path} has no target"))),
    };
    let kind = match kind {
        // Archives from before POSIX mark a directory only by the slash at the end of its name.
        b'\0' | b'0' | b'7' if path.ends_with('/') => TarKind::Directory,
        b'\0' | b'0' | b'7' => TarKind::File,
        b'5' => TarKind::Directory,
        b'2' => TarKind::Link(link(&path)?),
        b'1' => TarKind::HardLink(link(&path)?),
        other => TarKind::Other(other),
    };
    let mode = header.mode().map_err(|error| error.to_string())?;
    Ok(TarEntry { path, kind, mode, offset, length })
}

fn read_header(file: &File, name: &str, position: u64, total: u64) -> Result<tar::Header> {
    if position + BLOCK > total {
        return Err(Fault::new(Code::BundleTruncated, name, format!("it has only {total} bytes")));
    }
    let mut header = tar::Header::new_old();
    file.read_exact_at(header.as_mut_bytes(), position).map_err(|error| Fault::io(name, error))?;
    Ok(header)
}

fn check(header: &tar::Header) -> Result<(), String> {
    let bytes = header.as_bytes();
    let sum: u32 =
        bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    match header.cksum() {
        Ok(declared) if declared == sum => Ok(()),
        _ => Err("the header's checksum is wrong".into()),
    }
}

fn read_small(file: &File, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
    if length > LONGEST_NAME {
        return Err(Fault::new(Code::BundleTooLarge, name, "a name of an entry is too long"));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset).map_err(|error| Fault::io(name, error))?;
    Ok(bytes)
}

fn long_name(file: &File, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = read_small(file, name, offset, length)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn pax(records: &[u8], ahead: &mut Ahead) -> Result<(), String> {
    for record in tar::PaxExtensions::new(records) {
        let record = record.map_err(|error| error.to_string())?;
        match record.key_bytes() {
            b"path" => ahead.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => ahead.link = Some(record.value_bytes().to_vec()),
            b"size" => {
                let size = record.value().ok().and_then(|text| text.parse().ok());
                ahead.size = Some(size.ok_or("a PAX size is not a number")?);
            }
            key if key.starts_with(b"GNU.sparse") => return Err("a sparse file".into()),
            _ => {}
        }
    }
    Ok(())
}

/// Reads until `buffer` is full or the end; says how much it got.
pub(crate) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// A stretch of a shared file as a reader with a position of its own.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Section {
    pub(crate) fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self { file, position: offset, end: offset + length }
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        if room == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(room);
        match self.file.read_at(&mut buffer[..wanted], self.position)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.position += count as u64;
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn scanned(bytes: &[u8]) -> Result<Vec<TarEntry>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        scan(&file, "test", 100)
    }

    fn sample() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let long = format!("a/{}", "long/".repeat(60));
        for path in ["short", &format!("{long}name"), "after"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o640);
            tar.append_data(&mut header, path, &b"abc"[..]).unwrap();
        }
        tar.append_pax_extensions([("path", "from-pax".as_bytes()), ("size", b"4")]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o600);
        tar.append_data(&mut header, "ignored", &b"abcd"[..]).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn long_names_and_pax_records_are_read() {
        let entries = scanned(&sample()).unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.path.len(), entry.length, entry.mode)).collect();
        assert_eq!(seen, [(5, 3, 0o640), (306, 3, 0o640), (5, 3, 0o640), (8, 4, 0o600)]);
        assert_eq!(entries[3].path, "from-pax");
    }

    #[test]
    fn a_name_without_end_is_refused_before_it_is_read() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(LONGEST_NAME + 1);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(bytes.len() + 2 * LONGEST_NAME as usize, b'a');
        assert_eq!(scanned(&bytes).unwrap_err().code(), Code::BundleTooLarge);
    }

    proptest! {
        #[test]
        fn no_input_panics_and_entries_lie_inside(flips in proptest::collection::vec((0usize..8192, any::<u8>()), 0..12)) {
            let mut bytes = sample();
            let length = bytes.len();
            for (at, value) in flips {
                bytes[at % length] = value;
                // Half of the time a valid checksum, so that the fields behind it are reached.
                if value % 2 == 0 {
                    let block = at % length / 512 * 512;
                    let mut header = tar::Header::from_byte_slice(&bytes[block..block + 512]).clone();
                    header.set_cksum();
                    bytes[block..block + 512].copy_from_slice(header.as_bytes());
                }
            }
            if let Ok(entries) = scanned(&bytes) {
                prop_assert!(entries.iter().all(|entry| entry.offset + entry.length <= length as u64));
            }
        }
    }
}
